"""Two ways to spend electrons on one simulated object: the joint sampler's visits, and a fast raster of every pixel.

Counts are drawn and weighed without devices (`simulation.evidence`); charge is converted by what a nC brings on the
soft microscope, dead time included. A raster spends nothing but its dwell, which favours it; a visit of the sampler
costs `POINT_S` besides its dwell point by point over Channel Access, or the beam's settle time in point lists.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ...agent_settings import LIST_OVERHEAD_S as LIST_S
from ...agent_settings import POINT_OVERHEAD_S as POINT_S
from ...devices.sim.soft import soft_microscope
from ...grid import ScanGrid
from ...phantom import Phantom, make_object
from ...sampling.joint.infer import TURNS, infer_map
from ...sampling.joint.mapper import EvidenceMapper
from ...sampling.joint.model import shipped_joint_model
from ...sampling.joint.reference import JointPosterior, combine, denoise
from ...sampling.joint.sampler import JointSampler
from ...simulation.evidence import EvidenceSource
from ...simulation.models import prepare_models

__all__ = ["SURE", "Way", "counts_per_nc", "dose_for", "measure_raster", "measure_sampler"]

Report = Callable[[float], None]
Way = Literal["dose", "lists", "points", "oracle"]
"""What the sampler minimises: dose; time by point lists; time point by point; dose, knowing the truth."""

COUPLINGS = (0.4, 0.7, 1.0, 1.5, 2.5)
"""Strengths of the mean-field Potts model that is tuned with the truth."""
SURE = 0.999
SPARSE_COUNTS = 8.0
"""Counts of a visit before it is known what one count brings."""
BANDS = np.array([0.0, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0 + 1e-9])
"""Of the probability of a label, for its reliability."""
LARGEST_TUNED, MOST_TUNED = 256 * 256, 12.0
"""Pixels of a map, and counts a pixel, up to which the mean-field reference is tuned with the truth."""
RIGHT = 3e-5
"""Distortion at which a run ends, whatever dose is left: nothing is left to gain."""
LARGE = 512
"""Side from which on the network looks at a raster once, not at four turned copies of it."""


class _Oracle(JointSampler):
    """Knows how probable a wrong label is by the truth, (rows, columns) labels; all else is the sampler's own."""

    truth: NDArray[np.uint8]

    def _uncertainty(self, posterior: JointPosterior) -> NDArray[np.float32]:
        right = np.take_along_axis(posterior.probability, self.truth[..., None].astype(np.intp) - 1, axis=2)
        return np.asarray(1.0 - right[..., 0], np.float32)


def counts_per_nc(phantom: Phantom, pixels: int = 16) -> float:
    """Return the counts that a charge of 1 nC brings, mean over pixels, dead time included."""
    beam, eds, _ = soft_microscope(phantom)
    grid = ScanGrid(phantom.shape)
    eds.configure({"live_time": 0.5})
    counts = charge = 0.0
    for pixel in np.linspace(0, grid.n_pixels - 1, pixels).astype(int):
        beam.set(grid.position(int(pixel)))
        eds.trigger()
        assert eds.reading is not None
        counts += float(eds.reading.counts.sum())
        charge += eds.reading.real_s * beam.sem.current_na
    return counts / charge


def _prepared(name: str, seed: int, counts_seed: int) -> tuple[Phantom, EvidenceSource, float]:
    """Object, source of its evidence, and counts that a nC brings."""
    phantom = make_object(name, seed)
    classifier: Any = prepare_models(name, sampler="learned", classifier="likelihood", seed=seed).classifier
    return phantom, EvidenceSource(phantom, classifier, counts_seed), counts_per_nc(phantom)


def measure_raster(
    name: str, seed: int, doses: Sequence[float], report: Report, *, in_counts: bool = False
) -> dict[str, Any]:
    """Spend doses on a fast raster, and infer its map in each way.

    Parameters
    ----------
    name : str
        Of the object.
    seed : int
        Of object, training spectra and counts.
    doses : sequence of float
        Total doses, nC.
    report : callable
        Called with the fraction done.
    in_counts : bool
        Whether `doses` are counts a pixel.

    Returns
    -------
    dict
        JSON: ``rows``, for each dose the counts a pixel, the time, and the score of each pixel alone (``alone``), of
        the Potts reference (``reference``), of the best mean-field Potts map by the truth (``tuned``, None on large
        maps), and of our best inference (``best``); ``counts_per_nc``.
    """
    phantom, source, per_nc = _prepared(name, seed, seed + 1000)
    mapper, turns = EvidenceMapper(shipped_joint_model()), 1 if max(phantom.shape) >= LARGE else TURNS
    rows = []
    for i, given in enumerate(doses):
        report(i / len(doses))
        dose = given * phantom.truth.size / per_nc if in_counts else given
        counts = dose * per_nc / phantom.truth.size
        evidence = source.raster(counts)
        tuned = None
        if phantom.truth.size <= LARGEST_TUNED and counts <= MOST_TUNED:
            tuned = min(wrong(labels, phantom) for labels in mean_field_maps(evidence))
        rows.append(
            {
                "dose_nc": dose,
                "counts": counts,
                "time_s": dose * per_nc / source.rate_cps,
                "alone": wrong(evidence.argmax(axis=2) + 1, phantom),
                "tuned": tuned,
                "reference": score(denoise(evidence), phantom),
                "best": score(infer_map(evidence, mapper, turns=turns), phantom),
            }
        )
    return {"counts_per_nc": per_nc, "rows": rows}


def mean_field_maps(evidence: NDArray[np.floating]) -> list[NDArray[np.uint8]]:
    """Label maps by mean-field iterations of a Potts model, one of each of `COUPLINGS`.

    Parameters
    ----------
    evidence : (rows, columns, L) float array
    """
    kernel, out = np.array([[0.5, 1, 0.5], [1, 0, 1], [0.5, 1, 0.5]])[..., None], []
    nothing = np.zeros(evidence.shape, np.float32)
    for coupling in COUPLINGS:
        belief = combine(4.0 * ndimage.gaussian_filter(evidence, (1.0, 1.0, 0.0)), nothing)
        for _ in range(25):
            neighbours = ndimage.convolve(belief, kernel, mode="nearest")
            belief = combine(coupling * neighbours, evidence)
        out.append(np.asarray(belief.argmax(axis=2) + 1, np.uint8))
    return out


def measure_sampler(
    name: str,
    seed: int,
    doses_nc: Sequence[float],
    target: float,
    report: Report,
    *,
    way: Way = "dose",
    to_the_end: bool = True,
) -> dict[str, Any]:
    """Let the joint sampler choose its visits, and look at its map when it has spent what a raster spends.

    Parameters
    ----------
    name : str
        Of the object.
    seed : int
        Of object, training spectra, counts and start.
    doses_nc : sequence of float
        Total doses, ascending. For the ways ``lists`` and ``points``, the raster's time at each of them counts.
    target : float
        Distortion whose dose is asked for.
    report : callable
        Called with the fraction done.
    way : {"dose", "lists", "points", "oracle"}
    to_the_end : bool
        Whether it continues once it has the target distortion.

    Returns
    -------
    dict
        JSON: ``at``, its score, dose and time at each of `doses_nc` (None where it did not come there; where it ended
        before with nothing wrong, that of its end); ``reached``, dose, visits and pixels of the target distortion,
        None where it was not reached; ``decision_us``.
    """
    phantom, source, per_nc = _prepared(name, seed, seed)
    visit_s = POINT_S if way == "points" else LIST_S
    timed = way in ("lists", "points")
    options: dict[str, Any] = {"labels": len(phantom.phases), "seed": seed}
    if timed:
        options |= {"minimise": "time", "overhead_counts": visit_s * source.rate_cps}
    sampler = (_Oracle if way == "oracle" else JointSampler)(phantom.shape, **options)
    if isinstance(sampler, _Oracle):
        sampler.truth = phantom.truth
    at: list[dict[str, Any] | None] = [None] * len(doses_nc)
    counts, deciding, below, right = 0.0, 0.0, 0, 0
    nothing: dict[str, Any] = {"dose_nc": None, "visits": None, "pixels": None}
    reached = dict(nothing)
    while any(row is None for row in at) and (to_the_end or below < 3) and right < 3:
        began = time.process_time()
        chosen = sampler.suggest(max(1, sampler.left_in_batch))
        deciding += time.process_time() - began
        if not chosen:
            break
        doses = np.array([suggestion.counts or SPARSE_COUNTS for suggestion in chosen])
        said, came = source.visit(np.array([suggestion.pixel for suggestion in chosen]), doses)
        began = time.process_time()
        for suggestion, values, number in zip(chosen, said, came, strict=True):
            sampler.ingest_evidence(suggestion.pixel, values, counts=float(number), visit=suggestion.visit)
        deciding += time.process_time() - began
        counts += float(came.sum())
        posterior = sampler.posterior()
        dwell = counts / source.rate_cps
        spent = (dwell + sampler.n_visits * visit_s) * source.rate_cps / per_nc if timed else counts / per_nc
        report(min(1.0, spent / doses_nc[-1]))
        bad = wrong(posterior.labels, phantom)
        right = right + 1 if bad <= RIGHT else 0
        for i, limit in enumerate(doses_nc):
            if at[i] is None and (spent >= limit or right == 3):
                at[i] = {
                    **score(posterior, phantom),
                    "dose_nc": counts / per_nc,
                    "points_s": dwell + sampler.n_visits * POINT_S,
                    "lists_s": dwell + sampler.n_visits * LIST_S,
                    "visits": sampler.n_visits,
                    "pixels": sampler.n_measured,
                }
        if bad <= target:
            below += 1
            if reached["dose_nc"] is None:
                reached = {
                    "dose_nc": counts / per_nc,
                    "visits": sampler.n_visits,
                    "pixels": sampler.n_measured,
                }
        else:
            below, reached = 0, dict(nothing)
    return {"at": at, "reached": reached, "decision_us": 1e6 * deciding / max(1, sampler.n_visits)}


def wrong(labels: NDArray[Any], phantom: Phantom) -> float:
    """Part of the pixels whose label is not the true one."""
    return float((labels != phantom.truth).mean())


def score(found: JointPosterior, phantom: Phantom) -> dict[str, Any]:
    """Score a posterior by the truth.

    Returns
    -------
    dict
        ``td``; ``expected``, ``low`` and ``high`` of it by the map itself; ``sure``, the part of pixels stated at
        `SURE` or more, and ``sure_wrong``, the part of these that is wrong; ``bands``, for each of `BANDS` the
        number of pixels, the sum of their probabilities and the number of right ones.
    """
    error, bad = found.error, found.labels != phantom.truth
    top = found.probability.max(axis=2)
    sure = top >= SURE
    band = np.clip(np.digitize(top.ravel(), BANDS) - 1, 0, BANDS.size - 2)
    sums = [
        np.bincount(band, weights=weights, minlength=BANDS.size - 1).tolist()
        for weights in (np.ones(top.size), top.ravel().astype(np.float64), ~bad.ravel())
    ]
    return {
        "td": float(bad.mean()),
        "expected": float(error.expected),
        "low": float(error.low),
        "high": float(error.high),
        "sure": float(sure.mean()),
        "sure_wrong": float(bad[sure].mean()) if sure.any() else 0.0,
        "bands": sums,
    }


def dose_for(rows: Sequence[Mapping[str, Any]], key: str, target: float) -> float | None:
    """Dose at which a raster's distortion is `target`, nC; None where none of its doses reached it."""
    for before, after in pairwise(rows):
        high, low = before[key]["td"], after[key]["td"]
        if high > target >= low:
            part = np.log(high / target) / np.log(high / max(low, 1e-9))
            return float(before["dose_nc"] * (after["dose_nc"] / before["dose_nc"]) ** part)
    return float(rows[0]["dose_nc"]) if rows[0][key]["td"] <= target else None
