"""The learned sampler for specimens with an interaction volume: mixed samples say where boundaries are.

The network knows sharp labels only. So the samples' abundances are deconvolved (`sampling.deconvolution`) with what
the network says as the prior, and the sharp labels found at the samples are what it predicts from at the next batch:
a noisy label beside a boundary is corrected by its neighbours, and one that stays uncertain does not vote.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ...errors import ConfigError
from ...images.labels import fill_from_nearest
from ...protocols import UNMEASURED
from ..base import GridSampler
from ..deconvolution import STEPS, SharpMap, deconvolve
from .inference import Prediction
from .inputs import label_distances
from .planning import Plan
from .sampler import LearnedSampler

__all__ = ["MixedSampler"]

BATCH_STEPS = 25
"""Steps of the deconvolution at each batch, from the map of the last one."""
SURE = 0.75
"""Least probability of a sharp label with which a sample votes."""
FLOOR = 0.01
"""Least probability of each phase in what the network says."""
AROUND = 0.7
"""Measured pixels take what the network says of their surroundings, by a Gaussian of so many pixels."""


class MixedSampler(LearnedSampler):
    """A `LearnedSampler` whose samples have abundances.

    Parameters
    ----------
    shape, model, labels
        As of `LearnedSampler`.
    interaction_px : float
        Standard deviation of the interaction volume, pixels.
    **options
        Others of `LearnedSampler`.

    Raises
    ------
    ConfigError
        If the interaction volume has no positive width.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        model: Any = None,
        *,
        labels: int | Sequence[int],
        interaction_px: float,
        **options: Any,
    ) -> None:
        if not 0.0 < interaction_px < 50.0:
            raise ConfigError(f"interaction_px must be over 0 and under 50 pixels, not {interaction_px}")
        super().__init__(shape, model, labels=labels, **options)
        self.interaction_px = float(interaction_px)
        self._parts = np.full((*self._shape, len(self._labels)), np.nan)
        self._part_sd = np.full((*self._shape, len(self._labels)), np.nan)
        self._sharp: SharpMap | None = None
        self._last: NDArray[np.float32] | None = None

    def take_image(self, frame: NDArray[np.float32]) -> None:
        """Check a frame of the field; mixed samples are not guided by it."""
        GridSampler.take_image(self, frame)

    def ingest_mixture(
        self, pixel: int, label: int, abundances: NDArray[np.float64], abundance_sd: NDArray[np.float64]
    ) -> None:
        """Take a sample's label with the parts of all phases; see `ingest`.

        Parameters
        ----------
        pixel, label : int
            As in `ingest`; the label of the largest part.
        abundances, abundance_sd : (L,) float64
            In the order of `labels`; NaN where nothing is known.
        """
        row, column = divmod(int(pixel), self._shape[1])
        if 0 <= row < self._shape[0]:
            self._parts[row, column] = abundances
            self._part_sd[row, column] = abundance_sd
        self._sharp = None
        self.ingest(pixel, label)

    def ingest(self, pixel: int, label: int) -> None:
        """Take a measured label; see `LearnedSampler.ingest`."""
        self._sharp = None
        super().ingest(pixel, label)

    def _next_batch(self) -> None:
        super()._next_batch()
        if (self._measured > 0).any():
            self._plan = Plan(self._mapper, self._votes(), self._allowed, self._seed)

    def _votes(self) -> NDArray[np.int16]:
        """Sharp labels of the samples as far as they are known, from all samples: what the network predicts from."""
        found = self._deconvolved(self._mapper(self._measured), BATCH_STEPS, self._last)
        self._last = found.probability
        return self._agreed(found)

    def _agreed(self, found: SharpMap) -> NDArray[np.int16]:
        """Labels of the samples as a deconvolved map has them, 0 where it is not sure."""
        sharp = np.asarray(self._labels, np.int16)[found.probability.argmax(axis=0)]
        sure = found.probability.max(axis=0) >= SURE
        known = np.isfinite(self._parts).all(axis=2)
        votes = self._measured.copy()
        votes[known] = np.where(sure, sharp, 0)[known]
        return votes if (votes > 0).any() else self._measured.copy()

    def _prior(self, prediction: Prediction) -> NDArray[np.float32]:
        """Probability of each phase at each pixel, as the network says: what it leaves goes to the nearer labels."""
        n = len(self._labels)
        own = np.searchsorted(self._labels, prediction.labels)
        probability = np.clip(prediction.probability, 0.5, 1.0)
        if n > 2:
            distance = label_distances(self._measured, max(self._labels))[np.array(self._labels) - 1]
            near = 1.0 / (1.0 + distance.astype(np.float32))
        else:
            near = np.ones((n, *self._shape), np.float32)
        np.put_along_axis(near, own[None], 0.0, axis=0)
        out = near / np.maximum(near.sum(axis=0), 1e-9) * (1.0 - probability)
        np.put_along_axis(out, own[None], probability[None], axis=0)
        out = np.log(np.clip(out, FLOOR, None))
        measured = self._measured > 0
        free = (~measured).astype(np.float32)
        around = gaussian_filter(out * free, (0.0, AROUND, AROUND)) / np.maximum(
            gaussian_filter(free, AROUND), 1e-3
        )
        out = np.exp(np.where(measured, around, out))
        return np.asarray(out / out.sum(axis=0), np.float32)

    def _deconvolved(
        self, prediction: Prediction, steps: int = STEPS, start: NDArray[np.float32] | None = None
    ) -> SharpMap:
        pixels = np.flatnonzero(self._flat != UNMEASURED)
        n = len(self._labels)
        return deconvolve(
            self._prior(prediction),
            pixels,
            self._parts.reshape(-1, n)[pixels],
            self._part_sd.reshape(-1, n)[pixels],
            self.interaction_px,
            steps=steps,
            start=start,
        )

    def deconvolved(self) -> SharpMap:
        """Return the sharp map with its uncertainty, the areas and the abundances, from all samples."""
        if self._sharp is None:
            first = self._deconvolved(self._mapper(self._measured))
            self._sharp = self._deconvolved(self._mapper(self._agreed(first)))
        return self._sharp

    def reconstruct(self) -> NDArray[np.uint8]:
        """Return the map of the phase with the largest part at each pixel, (rows, columns) uint8.

        Before the first phase is measured every pixel holds the lowest label. Pixels outside the region of interest
        hold the label of the nearest pixel inside.
        """
        if not (self._measured > 0).any():
            return super().reconstruct()
        majority = np.asarray(self._labels, np.uint8)[self.deconvolved().abundances.argmax(axis=0)]
        return fill_from_nearest(majority, ~self._inside)
