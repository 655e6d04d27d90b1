"""Spectra and maps from files, classified: what ``slads-bluesky classify`` shows and writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..protocols import Classifier
from .axis import EnergyAxis
from .io.formats import read_signals
from .io.maps import read_map
from .io.measured import MeasuredSpectra
from .reconcile import on_axis

__all__ = ["ClassifiedSignal", "classify_file"]


@dataclass(frozen=True, eq=False)
class ClassifiedSignal:
    """A spectrum, or a map of spectra, with what a classifier says of each.

    Parameters
    ----------
    path : Path
    title : str
    counts : (n,) int64
        Sum of each spectrum.
    labels : (n,) uint8
    probability : (n,) float64
    verdicts : (n,) str
    abundances : (L,) float64 or None
        Fractions of the counts by phase, of a single spectrum or, of a map, of the sum of all; None if the classifier
        does not give any, or there are no counts.
    phases : tuple of str
    """

    path: Path
    title: str
    counts: NDArray[np.int64]
    labels: NDArray[np.uint8]
    probability: NDArray[np.float64]
    verdicts: NDArray[np.str_]
    abundances: NDArray[np.float64] | None
    phases: tuple[str, ...]

    def name_of(self, label: int) -> str:
        """Phase of a label, ``""`` for none."""
        return self.phases[label - 1] if label else ""

    def to_json(self) -> dict[str, Any]:
        """Plain values; every number is finite."""
        out: dict[str, Any] = {"file": str(self.path), "title": self.title, "n_spectra": len(self.labels)}
        if self.abundances is not None:
            out["abundances"] = dict(zip(self.phases, map(float, self.abundances), strict=True))
        if len(self.labels) == 1:
            out |= {
                "counts": int(self.counts[0]),
                "label": int(self.labels[0]),
                "phase": self.name_of(int(self.labels[0])),
                "probability": float(self.probability[0]),
                "verdict": str(self.verdicts[0]),
            }
        else:
            out |= {
                "counts": self.counts.tolist(),
                "labels": self.labels.tolist(),
                "phases": list(self.phases),
                "probabilities": self.probability.tolist(),
                "verdicts": [str(verdict) for verdict in self.verdicts],
            }
        return out


def classify_file(path: Path, classifier: Classifier, *, rebin: bool = False) -> Iterator[ClassifiedSignal]:
    """Classify every signal of a file.

    Parameters
    ----------
    path : Path
        A spectrum, a project of several, or a map; ``.npz`` as `io.maps` has it.
    classifier : Classifier
    rebin : bool
        Whether spectra of another detector's energy scale are rebinned; those of one detector always are.

    Raises
    ------
    ConfigError, DataError
        Naming the file and what is wrong with it.
    """
    axis: EnergyAxis = getattr(classifier, "axis")  # noqa: B009
    for signal in _signals(path):
        expected = getattr(getattr(classifier, "settings", None), "beam_energy_kev", None)
        found = signal.beam_energy_kev
        if expected is not None and found is not None and abs(found - expected) > 0.02 * expected:
            raise DataError(f"{path}: beam energy {found:g} keV, the classifier is for {expected:g} keV")
        counts = on_axis(signal, axis, str(path), force=rebin).counts
        labels, probability, verdicts = classifier.classify_batch(counts)
        total = counts.sum(axis=0)
        fractions = None
        if hasattr(classifier, "abundances") and total.any():
            fractions = np.asarray(classifier.abundances(total))[: len(classifier.phases)]
        yield ClassifiedSignal(
            path,
            signal.title,
            counts.sum(axis=1).astype(np.int64),
            labels,
            probability,
            verdicts,
            fractions,
            classifier.phases,
        )


def _signals(path: Path) -> list[MeasuredSpectra]:
    if path.suffix.lower() != ".npz":
        return read_signals(path)
    found = read_map(path)
    counts = found.spectra.astype(np.float64)
    return [MeasuredSpectra(counts, found.axis, None, None, None, None, None, path.stem, path)]
