"""A sampler whose samples have abundances: what all of them do with these, whatever reconstruction is their prior."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..images.labels import fill_from_nearest
from ..protocols import Endmembers
from .base import GridSampler
from .deconvolution import SharpMap
from .mixtures import MixedSamples

__all__ = ["MapsMixtures"]


class MapsMixtures(GridSampler):
    """Stands before a sampler's own class: it keeps the abundances, and makes the map that explains them.

    A subclass says by `_prior` what its reconstruction makes of labels, and calls `_expect_mixtures` once.
    """

    _samples: MixedSamples
    _sharp: SharpMap | None

    def _expect_mixtures(self, interaction_px: float, endmembers: Endmembers) -> None:
        """Begin, with what `MixedSamples` takes; ConfigError as there."""
        self._samples = MixedSamples(self._shape, self._labels, interaction_px, endmembers)
        self._sharp = None

    def _prior(self, votes: NDArray[np.int16]) -> NDArray[np.float32]:
        """Probability of each phase at each pixel by labels of the samples, (L, rows, columns)."""
        raise NotImplementedError

    @property
    def interaction_px(self) -> float:
        """Standard deviation of the interaction volume, pixels."""
        return self._samples.interaction_px

    def ingest_mixture(
        self,
        pixel: int,
        label: int,
        abundances: NDArray[np.float64],
        abundance_sd: NDArray[np.float64],
        *,
        unbounded: bool = False,
    ) -> None:
        """Take a sample's label with the parts of all phases; see `ingest` and `protocols.TakesMixtures`.

        Parameters
        ----------
        pixel, label : int
            As in `ingest`; the label of the largest part.
        abundances, abundance_sd : (L,) float64
            In the order of `labels`; NaN where nothing is known.
        unbounded : bool
            Whether they are by the counts alone (`protocols.Mixture.unbounded`).
        """
        self._samples.take(int(pixel), abundances, abundance_sd, unbounded)
        self.ingest(pixel, label)

    def ingest(self, pixel: int, label: int) -> None:
        """Take a measured label; see `GridSampler.ingest`."""
        self._sharp = None
        super().ingest(pixel, label)

    def deconvolved(self) -> SharpMap:
        """Return the sharp map with its uncertainty, the areas and the abundances, from all samples."""
        if self._sharp is None:
            first = self._samples.deconvolved(self._prior(self._measured))
            votes = self._samples.agreed(first, self._measured)
            self._sharp = self._samples.deconvolved(self._prior(votes))
        return self._sharp

    def boundary_maps(self) -> dict[str, NDArray[Any]]:
        """Return what mixed samples say beyond the map of the largest parts; see `protocols.TakesMixtures`."""
        return self.deconvolved().boundary_maps(self._labels)

    def reconstruct(self) -> NDArray[np.uint8]:
        """Return the map of the phase with the largest part at each pixel, (rows, columns) uint8.

        Before the first phase is measured it is the sampler's own. Pixels outside the region of interest hold the
        label of the nearest pixel inside.
        """
        if not (self._measured > 0).any():
            return super().reconstruct()
        majority = np.asarray(self._labels, np.uint8)[self.deconvolved().abundances.argmax(axis=0)]
        return fill_from_nearest(majority, ~self._inside)
