"""The joint sampler beside its honest rival: a fast full raster with the same inference, at equal dose.

Counts are drawn and weighed without devices (`simulation.evidence`); charge is converted by what a nC brings on the
soft microscope, dead time included. Time is that of points with `VISIT_S` besides the dwell for ours, of a raster of
`PIXEL_S` besides its dwell for the rival.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...devices.sim.soft import soft_microscope
from ...grid import ScanGrid
from ...phantom import Phantom, make_object
from ...phantom.paper_results import PAPER
from ...progress import Progress, no_progress
from ...sampling.joint.infer import infer_map
from ...sampling.joint.mapper import EvidenceMapper
from ...sampling.joint.model import shipped_joint_model
from ...sampling.joint.reference import JointPosterior, denoise
from ...sampling.joint.sampler import JointSampler
from ...simulation.evidence import EvidenceSource
from ...simulation.models import prepare_models
from ..figures import Figure, at_least, at_most, measured

__all__ = ["DOSES_NC", "GOALS_NC", "counts_per_nc", "joint_figures", "measure_object"]

GOALS_NC = {"pbsn-128": 2.5, "powder-256": 3.0, "pbsn-1024": 70.0, "powder-1024": 25.0}
"""Dose for the paper's distortion, nC, as issue 17 states it."""
DOSES_NC = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Doses at which the raster is compared."""
VISIT_S = 0.011
"""A point's time besides its dwell, over Channel Access (README's table)."""
PIXEL_S = 1e-4
"""A raster pixel's time besides its dwell."""
SURE = 0.999
SPARSE_COUNTS = 8.0
"""Counts of a visit before it is known what one count brings."""


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


def measure_object(
    name: str, seed: int, *, doses_nc: Sequence[float] = DOSES_NC, progress: Progress = no_progress
) -> dict[str, Any]:
    """Compare the two ways to spend a dose on one object.

    Parameters
    ----------
    name : str
        A key of `PAPER`.
    seed : int
        Of object, training spectra, counts and start.
    doses_nc : sequence of float
        Total doses, ascending.
    progress : callable, optional
        Called as ``progress(stage, fraction)``.

    Returns
    -------
    dict
        JSON: ``rows`` of dose with the distortion of each method, and ``ours`` with what the sampler took for the
        paper's distortion.
    """
    phantom = make_object(name, seed)
    classifier: Any = prepare_models(name, sampler="learned", classifier="likelihood", seed=seed).classifier
    per_nc = counts_per_nc(phantom)
    mapper = EvidenceMapper(shipped_joint_model())
    limits = [dose * per_nc for dose in doses_nc]
    ours = _sample(phantom, EvidenceSource(phantom, classifier, seed), limits, PAPER[name].td, seed, progress)
    rows = []
    for i, dose in enumerate(doses_nc):
        progress(f"{name}: rasters", i / len(doses_nc))
        counts = dose * per_nc / phantom.truth.size
        source = EvidenceSource(phantom, classifier, seed + 1000)
        evidence = source.raster(counts)
        field, best = denoise(evidence), infer_map(evidence, mapper)
        rows.append(
            {
                "dose_nc": dose,
                "raster_counts": counts,
                "raster_alone": _wrong(evidence.argmax(axis=2) + 1, phantom),
                "raster_reference": _score(field, phantom),
                "raster_best": _score(best, phantom),
                "raster_s": phantom.truth.size * (counts / source.rate_cps + PIXEL_S),
                **({} if ours["at"][i] is None else {"ours": ours["at"][i]}),
            }
        )
    return {
        "object": name,
        "seed": seed,
        "counts_per_nc": per_nc,
        "rows": rows,
        "ours": {
            **ours["reached"],
            "decision_us": ours["decision_us"],
            "dose_nc": None if ours["reached"]["counts"] is None else ours["reached"]["counts"] / per_nc,
        },
    }


def _wrong(labels: NDArray[Any], phantom: Phantom) -> float:
    return float((labels != phantom.truth).mean())


def _score(found: JointPosterior, phantom: Phantom) -> dict[str, float]:
    """Distortion, what was expected of it, how many pixels are stated as sure and how many of these are wrong."""
    wrong = found.labels != phantom.truth
    sure = found.probability.max(axis=2) >= SURE
    error = found.error
    return {
        "td": float(wrong.mean()),
        "expected": float(error.expected),
        "low": float(error.low),
        "high": float(error.high),
        "sure": float(sure.mean()),
        "sure_wrong": float(wrong[sure].mean()) if sure.any() else 0.0,
    }


def _sample(
    phantom: Phantom,
    source: EvidenceSource,
    limits: Sequence[float],
    target: float,
    seed: int,
    progress: Progress,
) -> dict[str, Any]:
    """Let the joint sampler spend its counts: its map at each of `limits`, and when it had the target distortion."""
    sampler = JointSampler(phantom.shape, labels=len(phantom.phases), seed=seed)
    at: list[dict[str, float] | None] = [None] * len(limits)
    spent, decisions, deciding, below = 0.0, 0, 0.0, 0
    reached: dict[str, Any] = {"counts": None, "visits": None, "pixels": None}
    while spent < limits[-1] and below < 3:
        began = time.process_time()
        chosen = sampler.suggest(max(1, sampler.left_in_batch))
        if not chosen:
            break
        doses = np.array([suggestion.counts or SPARSE_COUNTS for suggestion in chosen])
        deciding += time.process_time() - began
        said, counts = source.visit(np.array([suggestion.pixel for suggestion in chosen]), doses)
        began = time.process_time()
        for suggestion, values, number in zip(chosen, said, counts, strict=True):
            sampler.ingest_evidence(suggestion.pixel, values, counts=float(number), visit=suggestion.visit)
        deciding += time.process_time() - began
        decisions += len(chosen)
        spent += float(counts.sum())
        posterior = sampler.posterior()
        progress(f"{phantom.name}: sampling", min(1.0, spent / limits[-1]))
        for i, limit in enumerate(limits):
            if at[i] is None and spent >= limit:
                dwell = spent / source.rate_cps
                at[i] = {**_score(posterior, phantom), "time_s": dwell + sampler.n_visits * VISIT_S}
        if _wrong(posterior.labels, phantom) <= target:
            below += 1
            if reached["counts"] is None:
                reached = {"counts": spent, "visits": sampler.n_visits, "pixels": sampler.n_measured}
        else:
            below, reached = 0, dict.fromkeys(reached)
    return {"at": at, "reached": reached, "decision_us": 1e6 * deciding / max(1, decisions)}


def joint_figures(results: Sequence[dict[str, Any]]) -> list[Figure]:
    """Figures of issue 17 from results of `measure_object`: medians over the seeds, and the worst of what is sure."""
    found: list[Figure] = []
    for name in dict.fromkeys(result["object"] for result in results):
        own = [result for result in results if result["object"] == name]
        doses = [result["ours"]["dose_nc"] for result in own]
        known = sorted(np.inf if dose is None else dose for dose in doses)
        found.append(
            at_most(
                f"{name}: dose for the paper's distortion, median",
                float(np.median(known)),
                GOALS_NC[name],
                "nC",
            )
        )
        found.append(measured(f"{name}: dose for the paper's distortion, worst", float(known[-1]), "nC"))
        for i, row in enumerate(own[0]["rows"]):
            rows = [result["rows"][i] for result in own]
            if all("ours" in each for each in rows):
                ratio = [each["ours"]["td"] / max(each["raster_best"]["td"], 1e-9) for each in rows]
                found.append(
                    at_most(
                        f"{name}, {row['dose_nc']:g} nC: ours / raster with our best inference",
                        float(np.median(ratio)),
                        0.5,
                    )
                )
            ratio = [each["raster_reference"]["td"] / max(each["raster_best"]["td"], 1e-9) for each in rows]
            found.append(
                at_least(
                    f"{name}, {row['raster_counts']:.2g} counts a raster pixel: reference / our best inference",
                    float(np.median(ratio)),
                    1.5,
                )
            )
        sure = [
            score["sure_wrong"]
            for result in own
            for row in result["rows"]
            for score in (row["raster_best"], *([row["ours"]] if "ours" in row else []))
        ]
        found.append(at_most(f"{name}: wrong of the pixels stated at ≥ {SURE}, worst", max(sure), 2e-3))
        inside = [
            score["low"] <= score["td"] <= score["high"]
            for result in own
            for row in result["rows"]
            for score in (
                row["raster_best"],
                row["raster_reference"],
                *([row["ours"]] if "ours" in row else []),
            )
        ]
        found.append(at_least(f"{name}: distortion inside its interval of 90 %", float(np.mean(inside)), 0.9))
        decision = float(np.median([result["ours"]["decision_us"] for result in own]))
        found.append(at_most(f"{name}: a decision, amortised, processor time", decision, 1000.0, "µs"))
    return found
