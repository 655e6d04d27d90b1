"""The methods on measured maps: how much of a recorded map would have been enough to know it.

The whole map, classified pixel by pixel, is what a full raster would have given: the reference. A method measures a
part of the pixels, through the plan and the soft devices. Its map is compared with the reference at those pixels that
the full raster was sure of: elsewhere the reference is the vote of their neighbours.
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
from ..spectra.map_segmentation import find_phases
from .curves import DistortionCurve, checkpoints
from .recorded import RecordedMap, full_map, learn_phases
from .trial import reconstructor

__all__ = ["AGREEMENTS", "REAL_METHODS", "RealMethod", "map_real", "real_identity", "real_rows"]

AGREEMENTS = (0.99, 0.98, 0.95)
"""Parts of the pixels, without those that the full map is unsure of, that shall agree with it."""
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


def map_real(path: Path, seed: int = 0, n_phases: int = 4) -> dict[str, Any]:
    """Map a recorded map by each of `REAL_METHODS`.

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

    Returns
    -------
    dict
        JSON: the map's own figures, and under ``methods`` for each what `_agreement_curve` gives.

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
    return {
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
        "methods": {key: _run(how, specimen, classifier) for key, how in REAL_METHODS.items()},
    }


def real_identity(path: Path, n_phases: int) -> str:
    """Hash of what a map's results depend on besides the program: its file, its classifier's file, `n_phases`."""
    digest = hashlib.sha256(str(n_phases).encode())
    for file in (path, path.with_suffix(".safetensors")):
        if file.is_file():
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


def _run(how: RealMethod, specimen: RecordedMap, classifier: PhaseClassifier) -> dict[str, Any]:
    n_pixels = specimen.truth.size
    # where the full map itself is unsure it holds a vote, which is not a measurement
    sure = specimen.labels > 0
    fraction = min(1.0, MOST_POINTS / n_pixels)
    if how.sampler == "low-discrepancy":
        pixels = initial_pixels(specimen.shape, fraction, seed=specimen.seed)
        curve = DistortionCurve(specimen.truth, pixels, specimen.labels.ravel()[pixels], counted=sure)
        return _agreement_curve(how, curve, np.ones(pixels.size))
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
    measured = result.statistics.pixels
    curve = DistortionCurve(
        specimen.truth,
        measured,
        result.measured.ravel()[measured],
        reconstruct=reconstructor(agent, models),
        counted=sure,
    )
    return _agreement_curve(how, curve, result.statistics.live_times_s / specimen.full_dwell_s)


def _agreement_curve(how: RealMethod, curve: DistortionCurve, dwells: NDArray[np.float64]) -> dict[str, Any]:
    """Find after how many pixels, and at what dose, the map agreed with the reference.

    Returns
    -------
    dict
        ``reached``: for each of `AGREEMENTS`, as text, the ``fraction`` of the pixels and the part of the full
        map's ``dose``, or None; ``fraction``, ``dose`` and ``agreement`` at the end; ``curve``, rows of fraction,
        dose, agreement; ``dwell``, the mean part of a recorded spectrum that was taken.
    """
    n_pixels = curve.n_pixels
    dose = np.cumsum(dwells) / n_pixels
    numbers = checkpoints(n_pixels, dwells.size, 40)
    agreement = 1.0 - curve.curve(numbers)
    reached: dict[str, Any] = {}
    for wanted in AGREEMENTS:
        n = curve.first_at(1.0 - wanted + 1e-12, numbers)
        reached[f"{wanted:g}"] = None if n is None else {"fraction": n / n_pixels, "dose": float(dose[n - 1])}
    return {
        "title": how.title,
        "reached": reached,
        "fraction": dwells.size / n_pixels,
        "dose": float(dose[-1]),
        "dwell": float(dwells.mean()),
        "agreement": float(agreement[-1]),
        "curve": [
            [int(n) / n_pixels, float(dose[n - 1]), float(a)] for n, a in zip(numbers, agreement, strict=True)
        ],
    }


def real_rows(results: dict[str, Any]) -> list[Sequence[str]]:
    """Lines of the table of one map: method, then for each of `AGREEMENTS` pixels and dose, then the end."""
    lines: list[Sequence[str]] = []
    for found in results["methods"].values():
        cells = []
        for wanted in AGREEMENTS:
            at = found["reached"][f"{wanted:g}"]
            cells.append(
                "not reached" if at is None else f"{_percent(at['fraction'])}, {_percent(at['dose'])}"
            )
        end = f"{_percent(found['agreement'])} at {_percent(found['fraction'])}, {_percent(found['dose'])}"
        lines.append([found["title"], *cells, end])
    return lines


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"
