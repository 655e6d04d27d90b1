"""Which pixels to visit next and with how many counts, from what all counts so far say of the map. Pure.

A candidate is a pixel and a dose. Its worth is the uncertainty that the counts resolve, at it and, by the distance to
the nearest evidence, around it, over what they cost.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..picks import pick_batch
from .planes import evidence_distances, strength
from .reference import JointPosterior
from .worth import best_doses

__all__ = [
    "FAVOURED",
    "FIRST_NATS",
    "LEAST_COUNTS_SEEN",
    "Known",
    "Plan",
    "first_nats",
    "information",
    "plan_visits",
]

FLOOR = 3e-3
"""Uncertainty granted to every pixel besides: small grains hide in gaps that the network is sure of."""
REACH = 2.0
"""Power of the distance to the nearest evidence: a visit speaks for an area."""
FIRST_NATS = 2.7
"""Information that the first visits are to bring."""
SMALL_NATS = 0.8
"""Dose of a visit that costs nothing besides, where the pixel may be visited again."""
CLEAR = 0.95
"""Probability from which on a pixel's label is taken for known when information is learnt from it."""
FAVOURED = 0.6
"""Part of what few counts say for the label that they favour that is meant by them: the rest is chance."""
LEAST_COUNTS_SEEN = 30.0
"""Counts from which on the information of one count is learnt from the evidence."""
NEAREST = 0.7
"""Least distance to evidence, pixels: that of a pixel with evidence of its own."""


class Known(NamedTuple):
    """What was known when a batch was due, for each pixel, flat."""

    evidence: NDArray[np.float32]
    """(n, L): log-likelihoods, the greatest 0."""
    visits: NDArray[np.int32]
    labelled: NDArray[np.bool_]
    """Pixels that were given a label without counts."""
    spent: NDArray[np.float64]
    """Counts."""
    overhead: float
    """Counts that a visit costs besides its own."""


class Plan(NamedTuple):
    """Where to measure next."""

    picks: NDArray[np.int64]
    """Flat pixels, best first."""
    erd: NDArray[np.float64]
    """(n,): expected reduction in distortion of a visit, pixels."""
    nats: NDArray[np.float32]
    """(n,): information that the visit is to bring."""
    information: float
    """Nats that one count brings; NaN while that is not known."""


def first_nats(cost_nats: float) -> float:
    """Return the information that the first visits are to bring, where a visit costs `cost_nats` besides its counts.

    Examples
    --------
    >>> first_nats(0.0), first_nats(20.0) > first_nats(1.0)
    (2.7, True)
    """
    if not (np.isfinite(cost_nats) and cost_nats > 0):
        return FIRST_NATS
    return max(FIRST_NATS, float(best_doses(np.array([0.5]), cost_nats)[0][0]))


def information(probability: NDArray[np.floating], known: Known) -> float:
    """Return the nats that one count brings: evidence for the labels of sure pixels, over their counts.

    Parameters
    ----------
    probability : (n, L) float array
        Posterior of each pixel.
    known : Known

    Returns
    -------
    float
        NaN under `LEAST_COUNTS_SEEN` counts.
    """
    sure = (known.spent > 0) & (probability.max(axis=1) > CLEAR)
    counts = float(known.spent[sure].sum())
    if counts < LEAST_COUNTS_SEEN or known.evidence.shape[1] < 2:
        return float("nan")
    rows = known.evidence[sure].astype(np.float64)
    label = probability[sure].argmax(axis=1)
    own = rows[np.arange(len(rows)), label]
    rows[np.arange(len(rows)), label] = -np.inf
    return max(float((own - rows.max(axis=1)).sum()) / counts, 1e-3)


def plan_visits(
    known: Known,
    posterior: JointPosterior,
    uncertainty: NDArray[np.float32],
    allowed: NDArray[np.bool_],
    n: int,
    *,
    revisits: bool,
) -> Plan:
    """Plan the next visits.

    Parameters
    ----------
    known : Known
    posterior : JointPosterior
        By it.
    uncertainty : (rows, columns) float32 array
        Probability that each label is wrong.
    allowed : (rows, columns) bool array
        Where may be measured.
    n : int
        Visits wanted; more begin with the same.
    revisits : bool
        Whether visited pixels may be visited again; one that was given a label never is.

    Returns
    -------
    Plan
    """
    shape = allowed.shape
    top = np.sort(known.evidence, axis=1)
    gap = (top[:, -1] - top[:, -2] if top.shape[1] > 1 else np.zeros(len(top))).reshape(shape)
    s = strength(gap)
    distance = np.maximum(np.sqrt(evidence_distances(s)[0].astype(np.float32)), np.float32(NEAREST))
    brings = information(posterior.probability.reshape(known.evidence.shape), known)
    cost = known.overhead * brings if np.isfinite(brings) else 0.0
    granted = uncertainty + np.float32(FLOOR) * (np.float32(1.0) - s)
    # a pixel that may be visited again needs no more than pays for the visit
    nats, share = best_doses(granted, cost, SMALL_NATS + 2.0 * cost if revisits else np.inf)
    score = granted * distance ** np.float32(REACH) * share
    closed = ~allowed | (s >= 0.999) | known.labelled.reshape(shape)
    if not revisits:
        closed |= known.visits.reshape(shape) > 0
    score = np.where(closed, -np.inf, score).astype(np.float32)
    picks = pick_batch(score, np.maximum(distance, np.float32(1.0)), n)
    return Plan(picks, (uncertainty * distance).ravel().astype(np.float64), nats.ravel(), brings)
