"""Maps of specimens whose boundaries an interaction volume mixes, against the truth in three ways.

A loop over soft devices without a RunEngine: the agent suggests, the detector acquires and classifies, and the agent
ingests what an Event would hold.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...devices.sim.soft import soft_microscope
from ...phantom import Imperfections, make_object
from ...phantom.imperfections import ALL
from ...progress import Progress, no_progress
from ...sampling.learned.mixed import MixedSampler
from ...simulation.models import Models, prepare_models
from ...simulation.run import make_agent
from ...spectra.dwell import adaptive_dwell
from ...spectra.dwell_mixed import mixture_dwell
from ...spectra.likelihood.classifier import PhaseClassifier
from ..figures import Figure, at_most, measured
from .trials import Report, Store, Trial, make_trials

__all__ = ["IMPERFECT", "Row", "classifier_of", "map_once", "measure_rows", "mixed_figures", "summarise"]

Dwell = Literal["fixed", "label", "position"]
POSITION_SD = {"label": 0.2, "position": 0.025}
"""Of `spectra.dwell_mixed`: how well a boundary is located by one spectrum, in σ."""
CLEAR = 0.6
"""Abundance over which a wrong label counts as a misclassification."""
AGREED = 0.0015
"""Distortion of the paper's pbsn-128."""
ON_ITS_OWN: dict[str, tuple[str, ...]] = {
    "topography": ("topography",),
    "contamination": ("contamination",),
    "scatter": ("scatter",),
    "gradient": ("gradient",),
    "energy drift": ("gain_per_h", "offset_ev_per_h"),
    "beam drift": ("beam_drift_px_per_h",),
}
"""Imperfections that are switched on one by one, and the options that each is made of."""
IMPERFECT = ("all", *ON_ITS_OWN)
SHARP_BEFORE = {"pbsn-128": (0.0010, 11.0)}
"""Distortion and dose, nC, of sharp specimens before the system knew mixtures, as the issue states them."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    object_name: str
    sigma_px: float
    dwell: Dwell
    imperfect: str = ""
    """Which of `IMPERFECT` the specimen has; empty: none."""

    @property
    def name(self) -> str:
        """Name of its figures."""
        what = "sharp" if self.sigma_px == 0 else f"σ = {self.sigma_px:g}"
        more = {"": "", "all": ", all imperfections"}.get(self.imperfect, f", {self.imperfect}")
        dwell = "adaptive" if self.sigma_px == 0 and self.dwell != "fixed" else f"{self.dwell} dwell"
        return f"{self.object_name}, {what}, {dwell}{more}"

    @property
    def imperfections(self) -> Imperfections:
        """What its specimens have."""
        if self.imperfect == "all":
            return replace(ALL, blur_px=self.sigma_px)
        options = {name: getattr(ALL, name) for name in ON_ITS_OWN.get(self.imperfect, ())}
        return Imperfections(blur_px=self.sigma_px or None, **options)


def map_once(
    row: Row,
    seed: int,
    fraction: float,
    *,
    models: Models | None = None,
    error: float = 1e-3,
    looks: Sequence[float] = (),
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Map one specimen and compare it with the truth.

    Parameters
    ----------
    row : Row
    seed : int
        Of the specimen and of the sampler.
    fraction : float
        Part of the pixels to measure.
    models : Models, optional
        By default trained, or from the cache.
    error : float
        ε of the adaptive dwells.
    looks : sequence of float
        Fractions, ascending, at which the distortion is measured on the way.
    progress : callable, optional

    Returns
    -------
    dict
        Figures; JSON only.
    """
    phantom = make_object(row.object_name, seed, row.imperfections)
    used = models or prepare_models(row.object_name, sampler="learned", classifier="likelihood")
    agent = make_agent(phantom, used, fraction=fraction, seed=seed)
    sampler = agent.sampler
    make_rule = adaptive_dwell if row.sigma_px == 0 else mixture_dwell
    options = {} if row.sigma_px == 0 or row.dwell == "fixed" else {"position_sd": POSITION_SD[row.dwell]}
    rule = make_rule(used.classifier, 0.0 if row.dwell == "fixed" else error, 10.0, **options)
    beam, eds, _ = soft_microscope(phantom, used.classifier, stop_rule=rule)
    eds.configure({"live_time": 10.0, "abundances": row.sigma_px > 0})
    eds.stage()
    truth, abundances, n_wanted = phantom.majority, phantom.abundances, round(fraction * phantom.truth.size)
    labels, verdicts, pixels, counts = [], [], [], 0
    checked: list[dict[str, float]] = []
    left, deciding = list(looks), 0.0
    while True:
        before = time.perf_counter()
        if agent.should_stop():
            break
        suggestion = agent.suggest()[0]
        deciding += time.perf_counter() - before
        beam.set(agent.grid.position(suggestion.pixel))
        eds.trigger().wait(10)
        data = {key: entry["value"] for key, entry in eds.read().items()}
        before = time.perf_counter()
        agent.ingest({"data": {"scan_pixel": suggestion.pixel, **data}})
        deciding += time.perf_counter() - before
        pixels.append(suggestion.pixel)
        counts += int(data["eds_counts"])
        labels.append(int(data.get("eds_majority", data["eds_label"])))
        verdicts.append(str(data["eds_verdict"]))
        while left and len(pixels) >= left[0] * phantom.truth.size:
            wrong = float((sampler.reconstruct() != truth).mean())
            checked.append({"fraction": left.pop(0), "td_majority": wrong})
        progress(f"{row.name}, seed {seed}", len(pixels) / n_wanted)
    found = sampler.reconstruct()
    part = abundances.reshape(len(phantom.phases), -1)[:, pixels]
    clear = (part.max(axis=0) > CLEAR) & (phantom.labels.ravel()[pixels] > 0)
    wrong_labels = np.array(labels)[clear] != truth.ravel()[pixels][clear]
    figures: dict[str, Any] = {
        "seed": seed,
        "n": len(pixels),
        "td_majority": float((found != truth).mean()),
        "td_sharp": float((found != phantom.truth).mean()),
        "misclassification": float(wrong_labels.mean()),
        "dose_nc": float(beam.sem.dose_nc),
        "counts": counts,
        "mixed": verdicts.count("mixed"),
        "refused": sum(verdicts.count(v) for v in ("unknown", "ill"))
        - int((phantom.labels.ravel()[pixels] == 0).sum()),
        "area_error": _area_error(found, phantom.truth, len(phantom.phases)),
        "boundary_px": None,
        "decision_ms": 1e3 * deciding / len(pixels),
        "looks": checked,
    }
    if isinstance(sampler, MixedSampler):
        deconvolved = sampler.deconvolved()
        figures["td_sharp"] = float((deconvolved.sharp != phantom.truth).mean())
        areas = [float((phantom.truth == label).mean()) for label in range(1, len(phantom.phases) + 1)]
        figures["area_error"] = float(np.abs(deconvolved.areas - areas).max())
        figures["boundary_px"] = boundary_error(deconvolved.abundances, abundances)
        figures["stated_error"] = float(deconvolved.uncertainty.mean())
    return figures


def boundary_error(found: NDArray[np.float32], truth: NDArray[np.float32]) -> float:
    """Root mean square of the distance between true and found boundaries, pixels.

    A difference of abundance, divided by the slope of the true abundance, is a distance where that is near one half.
    """
    squares: list[NDArray[np.float64]] = []
    for ours, theirs in zip(found.astype(np.float64), truth.astype(np.float64), strict=True):
        slope = np.hypot(*np.gradient(theirs))
        at = (np.abs(theirs - 0.5) < 0.2) & (slope > 0.05)
        squares.append(((ours - theirs)[at] / slope[at]) ** 2)
    every = np.concatenate(squares)
    return float(np.sqrt(every.mean())) if every.size else math.nan


def _area_error(found: NDArray[np.uint8], truth: NDArray[np.uint8], n_labels: int) -> float:
    return max(abs(float((found == v).mean() - (truth == v).mean())) for v in range(1, n_labels + 1))


def measure_rows(
    rows: Sequence[Row],
    seeds: int,
    fraction: float | None,
    *,
    looks: Sequence[float] = (),
    store: Store | None = None,
    progress: Progress = no_progress,
) -> list[dict[str, Any]]:
    """Map each row's specimen with `seeds` seeds; `fraction` None: 10 % of pbsn, 7 % of powder.

    Maps that the `store` holds are not measured again.
    """
    trials = [_trial(row, seed, _fraction(row, fraction), looks) for row in rows for seed in range(seeds)]
    found = list(make_trials(trials, store, progress).values())
    results = []
    for number, row in enumerate(rows):
        maps = found[number * seeds : (number + 1) * seeds]
        results.append(
            {"row": row.name, "fraction": _fraction(row, fraction), **vars(row), "maps": maps}
            | summarise(maps)
        )
    return results


def _fraction(row: Row, fraction: float | None) -> float:
    if fraction is not None:
        return fraction
    return 0.07 if row.object_name.startswith("powder") else 0.1


def _trial(row: Row, seed: int, fraction: float, looks: Sequence[float]) -> Trial:
    title = f"{row.name}, seed {seed}"
    words = [row.object_name, f"{row.sigma_px:g}", row.dwell, row.imperfect.replace(" ", "_") or "none", seed]
    key = "-".join(map(str, [*words, f"{fraction:g}", *(f"{look:g}" for look in looks)]))
    work = 1.0 + 3.0 * (row.sigma_px > 0) * (4.0 if row.object_name.startswith("powder") else 1.0)
    return Trial(key, title, work, partial(_measure, row, seed, fraction, tuple(looks)))


def _measure(
    row: Row, seed: int, fraction: float, looks: tuple[float, ...], report: Report
) -> dict[str, Any]:
    models = _models(row.object_name)
    return map_once(row, seed, fraction, models=models, looks=looks, progress=lambda _, part: report(part))


def classifier_of(object_name: str) -> PhaseClassifier:
    """Return the classifier that `measure_rows` maps objects of a name with."""
    classifier = _models(object_name).classifier
    assert isinstance(classifier, PhaseClassifier)
    return classifier


@cache
def _models(object_name: str) -> Models:
    return prepare_models(object_name, sampler="learned", classifier="likelihood")


def summarise(maps: Sequence[dict[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Median and worst of each figure of a row's maps, and the fraction at which the paper's distortion is held."""
    out: dict[str, dict[str, float | None]] = {}
    for key in (
        "td_majority",
        "td_sharp",
        "misclassification",
        "dose_nc",
        "counts",
        "mixed",
        "refused",
        "area_error",
        "boundary_px",
        "decision_ms",
    ):
        known = all(one[key] is not None for one in maps)
        values = [float(one[key]) for one in maps] if known else []
        out[key] = {
            "median": float(np.median(values)) if known else None,
            "worst": float(np.max(values)) if known else None,
        }
    reached = [_reached(one["looks"]) for one in maps]
    if any(one["looks"] for one in maps):
        every = all(r is not None for r in reached)
        out["fraction_needed"] = {
            "median": float(np.median([r for r in reached if r is not None])) if every else None,
            "worst": max(r for r in reached if r is not None) if every else None,
        }
    return out


def _reached(looks: Sequence[dict[str, float]]) -> float | None:
    """First fraction from which on the distortion stays at `AGREED` or under."""
    found = None
    for look in reversed(looks):
        if look["td_majority"] > AGREED:
            break
        found = look["fraction"]
    return found


LIMITS: dict[tuple[str, float, bool], tuple[float, float]] = {
    ("pbsn", 1.0, True): (0.0010, 0.0015),
    ("pbsn", 1.0, False): (0.0015, 0.0015),
    ("pbsn", 2.0, True): (0.0020, 0.005),
    ("pbsn", 2.0, False): (0.0030, 0.005),
    ("powder", 1.0, True): (0.006, math.inf),
    ("powder", 1.0, False): (0.006, math.inf),
}
"""Goals of the issue by kind, σ and whether the dwell is fixed: against the majority phase, and the sharp map."""


def mixed_figures(results: Sequence[dict[str, Any]], error: float = 1e-3) -> list[Figure]:
    """Figures of `measure_rows` with the issue's goals; those of rows without one are measured only."""
    sharp = {r["object_name"]: r for r in results if r["sigma_px"] == 0 and r["dwell"] != "fixed"}
    figures = []
    for r in results:
        kind = r["object_name"].split("-")[0]
        limits = LIMITS.get((kind, r["sigma_px"], r["dwell"] == "fixed"))
        factor = 2.0 if r["imperfect"] else 1.0
        if r["sigma_px"] == 0 and r["dwell"] != "fixed" and r["object_name"] in SHARP_BEFORE:
            td, dose = SHARP_BEFORE[r["object_name"]]
            name = f"{r['row']}, median"
            figures.append(
                at_most(f"{name}: distortion against before", r["td_majority"]["median"], 1.05 * td)
            )
            figures.append(at_most(f"{name}: dose against before", r["dose_nc"]["median"], 1.05 * dose, "nC"))
        for which in ("median", "worst"):
            name = f"{r['row']}, {which}"
            value, at_sharp = r["td_majority"][which], r["td_sharp"][which]
            if limits is None:
                figures.append(measured(f"{name}: distortion, majority phase", value))
                continue
            figures.append(at_most(f"{name}: distortion, majority phase", value, factor * limits[0]))
            if math.isfinite(limits[1]):
                figures.append(at_most(f"{name}: distortion, sharp map", at_sharp, factor * limits[1]))
            figures.append(at_most(f"{name}: area error", r["area_error"][which], factor * 0.002))
            figures.append(
                at_most(f"{name}: boundary position, rms", r["boundary_px"][which], factor * 0.25, "px")
            )
            if r["dwell"] != "fixed":
                wrong = r["misclassification"][which]
                figures.append(at_most(f"{name}: majority misclassified", wrong, factor * 2.0 * error))
        if limits is not None and r["dwell"] != "fixed" and r["object_name"] in sharp:
            ratio = r["dose_nc"]["median"] / sharp[r["object_name"]]["dose_nc"]["median"]
            figures.append(at_most(f"{r['row']}: dose against the sharp case", ratio, factor * 3.0, "×"))
        figures.append(measured(f"{r['row']}: dose, median", r["dose_nc"]["median"], "nC"))
        figures.append(measured(f"{r['row']}: decision, median", r["decision_ms"]["median"], "ms"))
        if r["imperfect"]:
            rate = r["refused"]["worst"] / max(one["n"] for one in r["maps"])
            figures.append(at_most(f"{r['row']}: good spectra refused, worst", rate, 0.02))
        if "fraction_needed" in r:
            needed = r["fraction_needed"]["median"]
            of_sharp = sharp.get(r["object_name"], {}).get("fraction_needed", {}).get("median")
            name = f"{r['row']}: fraction for {AGREED:g}, median"
            if r["sigma_px"] == 1.0 and of_sharp is not None:
                figures.append(at_most(name, needed, of_sharp))
            else:
                figures.append(measured(name, needed))
    return figures
