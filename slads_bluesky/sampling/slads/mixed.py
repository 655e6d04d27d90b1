"""SLADS for specimens with an interaction volume: it chooses by the largest parts, and maps by the abundances.

The vote of the nearest samples is the prior of the map that explains the abundances (`sampling.mixtures`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...protocols import Endmembers
from ..mixed import MapsMixtures
from ..mixtures import vote_prior
from .model import SladsModel
from .sampler import SladsSampler

__all__ = ["MixedSladsSampler"]


class MixedSladsSampler(MapsMixtures, SladsSampler):
    """A `SladsSampler` whose samples have abundances.

    Parameters
    ----------
    shape, model
        As of `SladsSampler`.
    interaction_px : float
        Standard deviation of the interaction volume, pixels.
    endmembers : {"evident", "always"}
        Which corrections of pure phases count; see `sampling.endmembers`.
    **options
        Others of `SladsSampler`.

    Raises
    ------
    ConfigError
        If the interaction volume has no positive width.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        model: SladsModel,
        *,
        interaction_px: float,
        endmembers: Endmembers = "evident",
        **options: Any,
    ) -> None:
        super().__init__(shape, model, **options)
        self._expect_mixtures(interaction_px, endmembers)

    def _prior(self, votes: NDArray[np.int16]) -> NDArray[np.float32]:
        return vote_prior(votes, self._labels)
