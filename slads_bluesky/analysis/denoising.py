"""A whole map of spectra as one posterior: each pixel's counts, and what those around it say.

Pure but for reading the file: counts and a classifier in, probabilities out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..progress import Progress, no_progress
from ..protocols import Classifier
from ..sampling.joint.evidence import robust
from ..sampling.joint.infer import infer_map
from ..sampling.joint.mapper import EvidenceMapper
from ..sampling.joint.reference import JointPosterior
from ..spectra.io.maps import SpectrumMap, read_map
from ..spectra.io.measured import MeasuredSpectra
from ..spectra.reconcile import on_axis

__all__ = ["DenoisedMap", "denoise_map", "evidence_of"]


@dataclass(frozen=True, eq=False)
class DenoisedMap:
    """A map, pixel by pixel and as a whole."""

    phases: tuple[str, ...]
    counts: float
    """Mean counts a pixel."""
    alone: NDArray[np.uint8]
    """(rows, columns): the label that each pixel's counts give by themselves."""
    posterior: JointPosterior
    """What all counts give."""

    @property
    def labels(self) -> NDArray[np.uint8]:
        """(rows, columns): the most probable label of each pixel, given all counts."""
        return self.posterior.labels

    def agreement(self, other: NDArray[np.uint8]) -> tuple[float, float]:
        """Part of the pixels whose label is that of `other`, (rows, columns): alone, and denoised."""
        return float((self.alone == other).mean()), float((self.labels == other).mean())

    def to_json(self) -> dict[str, Any]:
        """Figures of the map; JSON only."""
        error = self.posterior.error
        shares = np.bincount(self.labels.ravel(), minlength=len(self.phases) + 1)[1:] / self.labels.size
        return {
            "shape": list(self.labels.shape),
            "counts_per_pixel": self.counts,
            "phases": dict(zip(self.phases, shares.tolist(), strict=True)),
            "changed": float((self.labels != self.alone).mean()),
            "expected_error": error.expected,
            "expected_error_interval": [error.low, error.high],
            "strength": self.posterior.strength,
        }


def evidence_of(
    found: SpectrumMap, classifier: Classifier, *, rebin: bool = False, progress: Progress = no_progress
) -> NDArray[np.float64]:
    """Return what each pixel's counts say of the phases, (rows, columns, L).

    Raises
    ------
    ConfigError
        If the classifier has no log-likelihoods.
    DataError
        If the map's channels are not the classifier's.
    """
    weigh = getattr(classifier, "log_likelihoods", None)
    if weigh is None:
        raise ConfigError(
            "denoise needs a classifier with log-likelihoods (train: likelihood); the paper's networks have none"
        )
    spectra: NDArray[Any] = found.spectra
    axis = getattr(classifier, "axis", found.axis)
    if found.axis != axis:
        measured = MeasuredSpectra(
            spectra.astype(np.float64), found.axis, None, None, None, None, None, found.path.stem, found.path
        )
        spectra = on_axis(measured, axis, str(found.path), force=rebin).counts
    n = len(spectra)
    out = np.empty((n, len(classifier.phases) + 1))
    for i, counts in enumerate(spectra):
        if i % 500 == 0:
            progress("weighing the spectra", i / n)
        out[i] = weigh(counts)
    return robust(out).reshape(*found.shape, -1)


def denoise_map(
    path: Path,
    classifier: Classifier,
    *,
    mapper: EvidenceMapper | None,
    rebin: bool = False,
    seed: int = 0,
    progress: Progress = no_progress,
) -> DenoisedMap:
    """Read a full raster and infer the phase of every pixel from all of its counts.

    Parameters
    ----------
    path : Path
        A file that `spectra.io.maps.read_map` reads.
    classifier : Classifier
        With ``log_likelihoods``.
    mapper : EvidenceMapper, optional
        The evidence network; None for the Potts field alone.
    rebin : bool
        Whether spectra of another detector's energy scale are rebinned; those of one detector always are.
    seed : int
        Of the pixels that are hidden to choose the field's strength.
    progress : callable, optional
        Called as ``progress(stage, fraction)``.

    Raises
    ------
    ConfigError, DataError
        Naming the file and what is wrong with it.
    """
    found = read_map(path)
    evidence = evidence_of(found, classifier, rebin=rebin, progress=progress)
    progress("inferring the map", 0.0)
    posterior = infer_map(evidence, mapper, seed=seed)
    alone = np.asarray(evidence.argmax(axis=2) + 1, np.uint8)
    counts = float(found.spectra.sum(axis=1, dtype=np.int64).mean())
    return DenoisedMap(tuple(classifier.phases), counts, alone, posterior)
