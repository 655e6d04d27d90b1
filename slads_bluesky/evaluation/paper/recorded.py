"""A measured EDS map as a specimen: a pixel gives the counts that were recorded there, or a part of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ...errors import DataError
from ...images.distortion import boundary_fraction
from ...phantom.acquisition import Acquisition
from ...sampling.slads.reconstruct import knn_reconstruct
from ...spectra import PhaseClassifier
from ...spectra.axis import EnergyAxis
from ...spectra.io.maps import SpectrumMap

__all__ = ["RecordedMap", "full_map", "learn_phases"]

SPECTRA_PER_PHASE = 24
"""As many as the paper takes to train its classifier (3.1.3)."""
RESOLUTION_EV = 130.0


def learn_phases(found: SpectrumMap, labels: NDArray[np.uint8], seed: int) -> PhaseClassifier:
    """Train the classifier on `SPECTRA_PER_PHASE` pixels of each phase of a segmentation.

    They are drawn at random among pixels that have only their own phase around them, as an operator would choose
    them; where a phase has too few of these, among those with the most such neighbours.

    Parameters
    ----------
    found : SpectrumMap
    labels : (rows, columns) uint8 array
        Labels 1 … L.
    seed : int
        Other seeds choose other pixels.

    Raises
    ------
    DataError
        If a phase has fewer pixels.
    """
    rng = np.random.default_rng([seed, 0xDAC])
    spectra = {}
    for label in np.unique(labels):
        of_phase = labels == label
        if of_phase.sum() < SPECTRA_PER_PHASE:
            raise DataError(
                f"{found.path}: phase {label} has {of_phase.sum()} pixels, {SPECTRA_PER_PHASE} are needed to train on"
            )
        alike = ndimage.convolve(of_phase.astype(np.int64), np.ones((3, 3), np.int64), mode="nearest")
        alike[~of_phase] = 0
        by_likeness = np.sort(alike, axis=None)[::-1]
        enough = by_likeness[min(2 * SPECTRA_PER_PHASE, int(of_phase.sum())) - 1]
        chosen = rng.choice(np.flatnonzero(alike >= enough), SPECTRA_PER_PHASE, replace=False)
        spectra[f"phase {label}"] = found.spectra[np.sort(chosen)].astype(np.float64)
    return PhaseClassifier.from_spectra(spectra, found.axis, resolution_ev=RESOLUTION_EV)


def full_map(found: SpectrumMap, classifier: PhaseClassifier) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Map all pixels of a recorded map, as a full raster would.

    Returns
    -------
    reference : (rows, columns) uint8 array
        Labels 1 … L. A pixel whose verdict is not ``ok`` has the label that its neighbours vote for.
    labels : (rows, columns) uint8 array
        The same with 0 at those pixels.
    """
    found.axis.require(classifier.axis, str(found.path))
    labels, _, verdicts = classifier.classify_batch(found.spectra)
    labels = np.where(verdicts == "ok", labels, 0).astype(np.uint8).reshape(found.shape)
    if not (labels > 0).any():
        raise DataError(f"{found.path}: the classifier finds no spectrum of its phases in it")
    return knn_reconstruct(labels.astype(np.int16)), labels


@dataclass(frozen=True, eq=False)
class RecordedMap:
    """A recorded map under the beam; a specimen for the devices and for `simulation.run.run_map`.

    The unit of time is the dwell of the recording: at 1 s of live time a pixel has given all its counts. A pixel that
    is measured again gives the same counts.
    """

    name: str
    seed: int
    truth: NDArray[np.uint8]
    """(rows, columns): the phase map of the full map, 1 … L."""
    labels: NDArray[np.uint8]
    """(rows, columns): the same, 0 where the full map's own spectrum is not ``ok``."""
    phases: tuple[str, ...]
    source: SpectrumMap

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.source.shape

    @property
    def axis(self) -> EnergyAxis:
        """Energies of the channels."""
        return self.source.axis

    @property
    def full_dwell_s(self) -> float:
        """Live time of a recorded spectrum: the unit."""
        return 1.0

    @property
    def boundary_fraction(self) -> float:
        """How hard it is to sample; see `images.distortion.boundary_fraction`."""
        return boundary_fraction(self.truth)

    def acquisition(self, pixel: int, visit: int = 0) -> Acquisition:
        """Return a pixel's spectrum as it grows: a random part of its counts, all of them at `full_dwell_s`."""
        counts = self.source.spectra[pixel].astype(np.int32)
        return Acquisition(
            full_dwell_s=self.full_dwell_s,
            record=lambda repeat: counts,
            generator=lambda repeat, node: np.random.default_rng([self.seed, 0xB1, pixel, node]),
        )
