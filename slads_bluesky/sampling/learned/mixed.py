"""The learned sampler for specimens with an interaction volume: mixed samples say where boundaries are.

What the network says is the prior of the map that explains the samples' abundances (`sampling.mixtures`); where
hold-out validation finds that the network does not know the specimen, the vote of the nearest samples is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...protocols import Endmembers
from ..base import GridSampler
from ..mixed import MapsMixtures
from ..mixtures import smoothed_prior, vote_prior
from .inference import Prediction
from .inputs import label_distances
from .planning import Plan
from .sampler import LearnedSampler

__all__ = ["MixedSampler"]

BATCH_STEPS = 25
"""Steps of the deconvolution at each batch, from the map of the last one."""


class MixedSampler(MapsMixtures, LearnedSampler):
    """A `LearnedSampler` whose samples have abundances.

    Parameters
    ----------
    shape, model, labels
        As of `LearnedSampler`.
    interaction_px : float
        Standard deviation of the interaction volume, pixels.
    endmembers : {"evident", "always"}
        Which corrections of pure phases count; see `sampling.endmembers`.
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
        endmembers: Endmembers = "evident",
        **options: Any,
    ) -> None:
        super().__init__(shape, model, labels=labels, **options)
        self._expect_mixtures(interaction_px, endmembers)
        self._last: NDArray[np.float32] | None = None

    def take_image(self, frame: NDArray[np.float32]) -> None:
        """Check a frame of the field; mixed samples are not guided by it."""
        GridSampler.take_image(self, frame)

    def _next_batch(self) -> None:
        super()._next_batch()
        if (self._measured > 0).any():
            self._plan = Plan(self._mapper, self._votes(), self._allowed, self._seed)

    def _votes(self) -> NDArray[np.int16]:
        """Sharp labels of the samples as far as they are known, from all samples: what the network predicts from."""
        found = self._samples.deconvolved(self._prior(self._measured), BATCH_STEPS, self._last)
        self._last = found.probability
        return self._samples.agreed(found, self._measured)

    def _prior(self, votes: NDArray[np.int16]) -> NDArray[np.float32]:
        """Probability of each phase at each pixel by labels of the samples, (L, rows, columns)."""
        if not self.uses_network:
            return vote_prior(votes, self._labels)
        return self._network_prior(self._mapper(votes))

    def _network_prior(self, prediction: Prediction) -> NDArray[np.float32]:
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
        return smoothed_prior(out, self._measured > 0)
