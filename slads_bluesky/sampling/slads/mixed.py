"""SLADS for specimens with an interaction volume: it chooses by the largest parts, and maps by the abundances.

The vote of the nearest samples is the prior of the map that explains the abundances (`sampling.mixtures`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...images.labels import fill_from_nearest
from ..deconvolution import SharpMap
from ..mixtures import MixedSamples, vote_prior
from .model import SladsModel
from .sampler import SladsSampler

__all__ = ["MixedSladsSampler"]


class MixedSladsSampler(SladsSampler):
    """A `SladsSampler` whose samples have abundances.

    Parameters
    ----------
    shape, model
        As of `SladsSampler`.
    interaction_px : float
        Standard deviation of the interaction volume, pixels.
    **options
        Others of `SladsSampler`.

    Raises
    ------
    ConfigError
        If the interaction volume has no positive width.
    """

    def __init__(
        self, shape: tuple[int, int], model: SladsModel, *, interaction_px: float, **options: Any
    ) -> None:
        super().__init__(shape, model, **options)
        self._samples = MixedSamples(self._shape, self._labels, interaction_px)
        self._sharp: SharpMap | None = None

    def ingest_mixture(
        self,
        pixel: int,
        label: int,
        abundances: NDArray[np.float64],
        abundance_sd: NDArray[np.float64],
        *,
        unbounded: bool = False,
    ) -> None:
        """Take a sample's label, that of the largest part, with the parts of all phases, (L,) each."""
        self._samples.take(int(pixel), abundances, abundance_sd, unbounded)
        self._sharp = None
        self.ingest(pixel, label)

    def ingest(self, pixel: int, label: int) -> None:
        """Take a measured label; see `SladsSampler.ingest`."""
        self._sharp = None
        super().ingest(pixel, label)

    def deconvolved(self) -> SharpMap:
        """Return the sharp map with its uncertainty, the areas and the abundances, from all samples."""
        if self._sharp is None:
            first = self._samples.deconvolved(vote_prior(self._measured, self._labels))
            votes = self._samples.agreed(first, self._measured)
            self._sharp = self._samples.deconvolved(vote_prior(votes, self._labels))
        return self._sharp

    def boundary_maps(self) -> dict[str, NDArray[Any]]:
        """Return what mixed samples say beyond the map of the largest parts; see `protocols.TakesMixtures`."""
        return self.deconvolved().boundary_maps(self._labels)

    def reconstruct(self) -> NDArray[np.uint8]:
        """Return the map of the phase with the largest part at each pixel; see `SladsSampler.reconstruct`."""
        if self._n_voting == 0:
            return super().reconstruct()
        majority = np.asarray(self._labels, np.uint8)[self.deconvolved().abundances.argmax(axis=0)]
        return fill_from_nearest(majority, ~self._inside)
