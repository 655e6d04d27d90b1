"""The methods on measured maps: how much of a recorded map would have been enough to know it.

The whole map, classified pixel by pixel, is what a full raster would have given: the reference. A method measures a
part of the pixels, through the plan and the soft devices. Its map is compared with the reference at those pixels that
the full raster was sure of: elsewhere the reference is the vote of their neighbours.

A full raster has wrong labels of its own, and a map that reproduces them is no better for it. Where the same field
was measured a second time, that measurement is the judge: each of its spectra is classified by itself into the phases
of the reference, and maps are compared with it where it is sure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...sampling import initial_pixels
from ...sampling.learned.model import shipped_model
from ...sampling.slads.model import SladsModel
from ...sampling.slads.training import default_radius
from ...simulation.models import Models
from ...simulation.run import make_agent, run_map
from ...spectra import PhaseClassifier, load_classifier
from ...spectra.io.maps import SpectrumMap, read_map
from ..figures import Figure, at_least, at_most, measured
from ..spectra.map_segmentation import classify_like, find_phases
from .curves import DistortionCurve, checkpoints
from .recorded import RecordedMap, full_map, learn_phases
from .trial import reconstructor

__all__ = [
    "AGREEMENTS",
    "JUDGED_AGREEMENTS",
    "JUDGED_FRACTION",
    "JUDGED_METHODS",
    "REAL_METHODS",
    "RealMethod",
    "map_real",
    "real_figures",
    "real_identity",
    "real_rows",
]

AGREEMENTS = (0.99, 0.98, 0.95)
"""Parts of the pixels, without those that the full map is unsure of, that shall agree with it."""
JUDGED_AGREEMENTS = (0.97, 0.96, 0.95)
"""The same with a judge: two measurements of a field do not agree in more."""
JUDGED_METHODS = ("low-discrepancy", "slads", "ours")
JUDGED_FRACTION = 0.25
"""Of the pixels, at most, that a map has which a second measurement judges."""
JUDGED_AT = 0.08
"""Fraction of the pixels at which such a map is to agree with the judge in the first of `JUDGED_AGREEMENTS`."""
MOST_POINTS = 50_000
"""Of a larger map, at most so many pixels are measured."""


@dataclass(frozen=True)
class RealMethod:
    """A way to map a recorded specimen."""

    title: str
    sampler: str
    error: float | None = None
    """Accepted error of a label, for adaptive dwell; None for all counts that were recorded."""


REAL_METHODS = {
    "low-discrepancy": RealMethod("low-discrepancy mask", "low-discrepancy"),
    "slads": RealMethod("SLADS", "slads"),
    "ours": RealMethod("ours", "learned"),
    # the full map's labels are ok from 0.95 on; what differs from them there limits how far one may agree
    "adaptive": RealMethod("ours, adaptive dwell, ε = 0.05", "learned", error=0.05),
    "strict": RealMethod("ours, adaptive dwell, ε = 0.01", "learned", error=0.01),
}


@dataclass(frozen=True)
class _Compared:
    """What maps of a recorded specimen are compared with."""

    truth: NDArray[np.uint8]
    """(rows, columns) labels 1 … L."""
    counted: NDArray[np.bool_]
    """(rows, columns): where."""
    agreements: tuple[float, ...]
    fraction: float
    """Of the pixels, at most, that are measured."""


def map_real(path: Path, seed: int = 0, n_phases: int = 4, judge: Path | None = None) -> dict[str, Any]:
    """Map a recorded map by each of `REAL_METHODS`; with a judge, by `JUDGED_METHODS`.

    The phases are those of a classifier's file of the same name (``NAME.safetensors``), else those of a segmentation
    that came with the map, else found in its spectra.

    Parameters
    ----------
    path : Path
        A file that `spectra.io.maps.read_map` reads.
    seed : int
        Of the training pixels, the thinning and the start masks.
    n_phases : int
        Phases to look for, where nothing names them.
    judge : Path, optional
        A second measurement of the same field, pixel by pixel: maps are compared with it.

    Returns
    -------
    dict
        JSON: the map's own figures, and under ``methods`` for each what `_agreement_curve` gives. With a judge its
        name, the part of its pixels that it is sure of (``judged``), and in which part of these the full map agrees
        with it (``full``).

    Raises
    ------
    ConfigError, DataError
        Naming the file and what is wrong with it.
    """
    found = read_map(path)
    classifier, source = _classifier(found, seed, n_phases)
    reference, labels = full_map(found, classifier)
    specimen = RecordedMap(path.stem, seed, reference, labels, classifier.phases, found)
    own = found.labels
    # where the full map itself is unsure it holds a vote, which is not a measurement
    compared = _Compared(reference, labels > 0, AGREEMENTS, 1.0)
    by_judge: dict[str, Any] = {}
    if judge is not None:
        sure, counted = classify_like(read_map(judge), reference)
        compared = _Compared(sure, counted, JUDGED_AGREEMENTS, JUDGED_FRACTION)
        by_judge = {
            "judge": judge.name,
            "judged": float(counted.mean()),
            "full": float((reference == sure)[counted].mean()),
        }
    names = REAL_METHODS if judge is None else JUDGED_METHODS
    return {
        **by_judge,
        "map": path.name,
        "shape": list(found.shape),
        "channels": found.axis.n_channels,
        "counts_per_pixel": float(found.spectra.sum(axis=1, dtype=np.int64).mean()),
        "phases": list(classifier.phases),
        "phases_from": source,
        "boundary_fraction": specimen.boundary_fraction,
        "not_ok": float((labels == 0).mean()),
        "agrees_with_its_labels": None
        if own is None or int(own.max()) != len(classifier.phases)
        else float((reference == own).mean()),
        "seed": seed,
        "methods": {key: _run(REAL_METHODS[key], specimen, classifier, compared) for key in names},
    }


def real_identity(path: Path, n_phases: int, judge: Path | None = None) -> str:
    """Hash of what a map's results depend on besides the program: its files, `n_phases`, and the judge's file."""
    digest = hashlib.sha256(str(n_phases).encode())
    for file in (path, path.with_suffix(".safetensors"), judge):
        if file is not None and file.is_file():
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


def _classifier(found: SpectrumMap, seed: int, n_phases: int) -> tuple[PhaseClassifier, str]:
    file = found.path.with_suffix(".safetensors")
    if file.is_file():
        loaded = load_classifier(file)
        if not isinstance(loaded, PhaseClassifier):
            raise DataError(
                f"{file}: holds the paper's networks; real maps are mapped by the likelihood classifier"
            )
        return loaded, f"the classifier {file.name}"
    if found.labels is not None:
        return learn_phases(found, found.labels, seed), "the segmentation in its file"
    return learn_phases(found, find_phases(found, n_phases), seed), "its own spectra"


def _run(
    how: RealMethod, specimen: RecordedMap, classifier: PhaseClassifier, compared: _Compared
) -> dict[str, Any]:
    n_pixels = specimen.truth.size
    fraction = min(compared.fraction, MOST_POINTS / n_pixels)
    if how.sampler == "low-discrepancy":
        pixels = initial_pixels(specimen.shape, fraction, seed=specimen.seed)
        curve = DistortionCurve(
            compared.truth, pixels, specimen.labels.ravel()[pixels], counted=compared.counted
        )
        return _agreement_curve(how, curve, np.ones(pixels.size), compared.agreements)
    learned = shipped_model()
    model: Any = learned
    if how.sampler == "slads":
        # trained on generated images of many kinds: there is no image of like material to train it on
        phases = tuple(range(1, len(classifier.phases) + 1))
        model = SladsModel(learned.fallback, phases, radius=default_radius(n_pixels))
    models = Models(how.sampler, model, classifier)
    agent = make_agent(specimen, models, fraction=fraction, seed=specimen.seed)
    result = run_map(
        specimen,
        models,
        agent,
        soft=True,
        subscribers=[],
        dwell_s=specimen.full_dwell_s,
        error=how.error,
    )
    chosen = result.statistics.pixels
    curve = DistortionCurve(
        compared.truth,
        chosen,
        result.measured.ravel()[chosen],
        reconstruct=reconstructor(agent, models),
        counted=compared.counted,
    )
    dwells = result.statistics.live_times_s / specimen.full_dwell_s
    return _agreement_curve(how, curve, dwells, compared.agreements)


def _agreement_curve(
    how: RealMethod, curve: DistortionCurve, dwells: NDArray[np.float64], agreements: Sequence[float]
) -> dict[str, Any]:
    """Find after how many pixels, and at what dose, the map agreed with what it is compared with.

    Returns
    -------
    dict
        ``reached``: for each of `agreements`, as text, the ``fraction`` of the pixels and the part of the full
        map's ``dose``, or None; ``fraction``, ``dose`` and ``agreement`` at the end; ``curve``, rows of fraction,
        dose, agreement; ``dwell``, the mean part of a recorded spectrum that was taken.
    """
    n_pixels = curve.n_pixels
    dose = np.cumsum(dwells) / n_pixels
    numbers = checkpoints(n_pixels, dwells.size, 40)
    agreement = 1.0 - curve.curve(numbers)
    reached: dict[str, Any] = {}
    for wanted in agreements:
        n = curve.first_at(1.0 - wanted + 1e-12, numbers)
        reached[f"{wanted:g}"] = None if n is None else {"fraction": n / n_pixels, "dose": float(dose[n - 1])}
    return {
        "title": how.title,
        "reached": reached,
        "fraction": dwells.size / n_pixels,
        "dose": float(dose[-1]),
        "dwell": float(dwells.mean()),
        "agreement": float(agreement[-1]),
        f"at_{JUDGED_AT:g}": 1.0 - curve.at(max(1, min(round(JUDGED_AT * n_pixels), dwells.size))),
        "curve": [
            [int(n) / n_pixels, float(dose[n - 1]), float(a)] for n, a in zip(numbers, agreement, strict=True)
        ],
    }


def real_rows(results: dict[str, Any]) -> list[Sequence[str]]:
    """Lines of the table of one map: method, then for each agreement asked for pixels and dose, then the end."""
    lines: list[Sequence[str]] = []
    for found in results["methods"].values():
        cells = []
        for at in found["reached"].values():
            cells.append(
                "not reached" if at is None else f"{_percent(at['fraction'])}, {_percent(at['dose'])}"
            )
        end = f"{_percent(found['agreement'])} at {_percent(found['fraction'])}, {_percent(found['dose'])}"
        lines.append([found["title"], *cells, end])
    return lines


def real_figures(results: dict[str, Any]) -> list[Figure]:
    """Return the figures of a map that a second measurement judged; none of another."""
    if "judge" not in results:
        return []
    name, wanted = f"{results['map']} judged by {results['judge']}", JUDGED_AGREEMENTS[0]
    figures = []
    for found in results["methods"].values():
        about, reached = f"{name}, {found['title']}", found["reached"][f"{wanted:g}"]
        at = None if reached is None else reached["fraction"]
        figures.append(at_most(f"{about}: part of the pixels for {wanted:.0%}", at, JUDGED_AT))
        figures.append(
            at_least(f"{about}: agreement from {JUDGED_AT:.0%}", found[f"at_{JUDGED_AT:g}"], wanted)
        )
    return [*figures, measured(f"{name}: the full map agrees in", results["full"])]


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"
