"""Whether a frame helps, and which planes of it with which weights: hold-out validation on the measured pixels.

A part of the measured pixels is hidden. What the labels of the rest say of them is combined with the evidence of the
frame as a logarithmic opinion pool (Genest and Zidek, Stat. Sci. 1 (1986) 114), log P = log P_labels + Σ w_t log p_t,
the densities p_t learnt from the rest as well. The weights are those under which the hidden labels are most probable:
the logarithm of that is concave, so there is one maximum, and planes that say the same share their weight. The frame
is used if weights that one half of the hidden labels gives make the other half more probable than the labels alone
do, by more than chance.

The labels' own part has no weight: the hidden pixels were measured because they were hard to predict, and a weight
that suits them is too low for the rest of the map (`bench image`: pbsn-128 needs 5.1 % of the pixels with, 4.7 %
without).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from ...protocols import UNMEASURED
from .evidence import BINS, AlignedPlanes, Term, grey_tables

__all__ = ["NETWORK", "Predict", "choose_terms"]

Predict = Callable[[NDArray[np.int16], NDArray[np.int64]], tuple[NDArray[np.uint8], NDArray[np.float32]]]
"""From measured labels and flat pixels (n,): the labels that can be predicted, (L,), their probabilities (L, n)."""

NETWORK = "network"
"""The term of a network that sees the frame; the others are planes of it."""
MOST_WEIGHT = 3.0
SHRINKAGE = 1.0
"""The sum of squared weights costs so much of the logarithm of the likelihood."""
LEAST_WEIGHT = 0.05
"""A plane of less is left out."""
LEAST = 24
"""With fewer labelled pixels the frame is not used."""
SHARE = 0.2
"""Of the labelled pixels that are hidden at once."""
ENOUGH = 300
"""Hidden pixels from which no more are hidden; before, other parts are hidden in their turn."""
BEYOND_CHANCE = 2.5
"""Standard errors of the mean gain above which the frame is used."""
_LEAST_P = 1e-4
"""A hidden label counts for no less than this probability, so that one wrong label does not decide."""
_NEVER = 1e-3
"""Probability of a label that was not among the rest."""


def choose_terms(
    predict: Predict,
    measured: NDArray[np.int16],
    aligned: AlignedPlanes,
    rng: np.random.Generator,
    seeing: Predict | None = None,
) -> tuple[tuple[Term, ...], float]:
    """Choose planes and weights.

    Parameters
    ----------
    predict : callable
        What the labels alone say.
    measured : (rows, columns) int16
        Labels, 0 where unclassified, -1 where unmeasured.
    aligned : AlignedPlanes
        The frame's planes.
    rng : numpy.random.Generator
        Decides what is hidden.
    seeing : callable, optional
        What a network says that sees the frame as it is aligned. Its weight w, of the term `NETWORK`, is taken from
        the labels' own: (1 - w) log P_labels + w log P_network. Whether the frame helps is for its planes alone to
        show: two networks together predict better than one, whatever the frame shows.

    Returns
    -------
    terms : tuple of Term
        Empty where the frame does not help.
    gain : float
        Mean gain in the logarithm of the probability of a hidden label.
    """
    pixels = np.flatnonzero(measured.reshape(-1) > 0)
    if pixels.size < LEAST:
        return (), 0.0
    labels = measured.reshape(-1)[pixels].astype(np.int64)
    known, position = np.unique(labels, return_inverse=True)
    if known.size < 2:
        return (), 0.0
    own, greys = _hidden(predict, measured, aligned, pixels, labels, known, rng, seeing)
    truth = np.concatenate([position[part] for part in own.parts])
    alone, frame = own.log_probability, np.stack(list(greys.values()))
    most = [1.0 if name == NETWORK else MOST_WEIGHT for name in greys]
    planes = np.array([name != NETWORK for name in greys])
    if not _helps(_gains(alone, frame[planes], truth, [MOST_WEIGHT] * int(planes.sum()))):
        return (), 0.0
    gain = _gains(alone, frame, truth, most)
    weights = _fitted(alone, frame, truth, most)
    terms = tuple(
        Term(name, float(weight))
        for name, weight in zip(greys, weights, strict=True)
        if weight >= LEAST_WEIGHT
    )
    return terms, float(gain.mean()) if terms else 0.0


def _gains(
    alone: NDArray[np.float64],
    frame: NDArray[np.float64],
    truth: NDArray[np.int64],
    most: Sequence[float],
) -> NDArray[np.float64]:
    """Gain in log probability of each hidden label, by the weights that the other half of them gives; (n,)."""
    gain = np.empty(truth.size)
    for half in (np.arange(truth.size) % 2 == 0, np.arange(truth.size) % 2 == 1):
        weights = _fitted(alone[:, ~half], frame[:, :, ~half], truth[~half], most)
        pooled = alone[:, half] + np.tensordot(weights, frame[:, :, half], 1)
        gain[half] = _score(pooled, truth[half]) - _score(alone[:, half], truth[half])
    return gain


def _helps(gain: NDArray[np.float64]) -> bool:
    """Whether a mean gain is more than chance."""
    chance = float(gain.std()) / math.sqrt(gain.size)
    return float(gain.mean()) > max(BEYOND_CHANCE * chance, 1e-6)


def _fitted(
    alone: NDArray[np.float64],
    frame: NDArray[np.float64],
    truth: NDArray[np.int64],
    most: Sequence[float],
) -> NDArray[np.float64]:
    """Weights (T,) of the planes' logarithms (T, L, n), added to those of the labels alone (L, n).

    Those under which the labels at rows `truth` (n,) are most probable; none is over `most`.
    """
    places = np.arange(truth.size)
    at_truth, alone_at_truth = frame[:, truth, places], float(alone[truth, places].sum())

    def cost(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        pooled = alone + np.tensordot(weights, frame, 1)
        total = np.logaddexp.reduce(pooled, axis=0)
        expected = (np.exp(pooled - total) * frame).sum(axis=1)
        likelihood = alone_at_truth + float((weights @ at_truth - total).sum())
        slope = (expected - at_truth).sum(axis=1) + 2 * SHRINKAGE * weights
        return SHRINKAGE * float(weights @ weights) - likelihood, slope

    bounds = [(0.0, largest) for largest in most]
    found = optimize.minimize(cost, np.zeros(len(frame)), jac=True, method="L-BFGS-B", bounds=bounds)
    return np.asarray(found.x, np.float64)


class _Own:
    """What the labels alone say of the hidden pixels."""

    def __init__(self) -> None:
        self.parts: list[NDArray[np.int64]] = []
        self.rows: list[NDArray[np.float64]] = []

    @property
    def log_probability(self) -> NDArray[np.float64]:
        return np.concatenate(self.rows, axis=1)


def _hidden(
    predict: Predict,
    measured: NDArray[np.int16],
    aligned: AlignedPlanes,
    pixels: NDArray[np.int64],
    labels: NDArray[np.int64],
    known: NDArray[np.int64],
    rng: np.random.Generator,
    seeing: Predict | None,
) -> tuple[_Own, dict[str, NDArray[np.float64]]]:
    """Predict each hidden part from the rest, by the labels and by each plane."""
    n = max(1, int(SHARE * pixels.size))
    order = rng.permutation(pixels.size)
    folds = min(int(1 / SHARE), math.ceil(ENOUGH / n))
    own = _Own()
    names = [*aligned.bins, *(() if seeing is None else (NETWORK,))]
    greys: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
    counts = {name: np.bincount(plane.reshape(-1), minlength=BINS) for name, plane in aligned.bins.items()}
    for fold in range(folds):
        part = order[fold * n : (fold + 1) * n]
        rest = np.setdiff1d(order, part)
        seen = measured.copy()
        seen.reshape(-1)[pixels[part]] = UNMEASURED
        values, probability = predict(seen, pixels[part])
        at = np.searchsorted(known, values)
        logs = np.full((known.size, part.size), math.log(_NEVER))
        logs[at] = np.log(np.maximum(probability, 1e-6))
        own.parts.append(part)
        own.rows.append(logs)
        if seeing is not None:
            by_network = np.full((known.size, part.size), math.log(_NEVER))
            by_network[at] = np.log(np.maximum(seeing(seen, pixels[part])[1], 1e-6))
            greys[NETWORK].append(by_network - logs)
        for name, plane in aligned.bins.items():
            flat = plane.reshape(-1)
            table = grey_tables(
                flat[pixels[rest]], aligned.width[name], counts[name], labels[rest], values.astype(np.int64)
            )
            found = np.full((known.size, part.size), math.log(_NEVER))
            found[at] = table[:, flat[pixels[part]]]
            greys[name].append(found)
    return own, {name: np.concatenate(rows, axis=1) for name, rows in greys.items()}


def _score(logs: NDArray[np.float64], truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Logarithm of the probability of each hidden label."""
    normalised = logs - np.logaddexp.reduce(logs, axis=0)
    found = normalised[truth, np.arange(truth.size)]
    return np.asarray(np.maximum(found, math.log(_LEAST_P)))
