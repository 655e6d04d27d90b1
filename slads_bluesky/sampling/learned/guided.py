"""The network beside an image: its probabilities multiplied by what the image says, as hold-out validation allows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..imaging.guide import GuideState, ImageGuide
from .inference import NetworkMapper, Prediction

__all__ = ["GuidedMapper"]


class GuidedMapper:
    """Maps measured labels to a `Prediction` by network and image.

    A network with an input plane for the image would stand here instead.

    Parameters
    ----------
    mapper : NetworkMapper
    guide : ImageGuide
    validated : (rows, columns) int16
        Labels on which the use of the image is validated; nothing is done with them before the first prediction.
    """

    def __init__(self, mapper: NetworkMapper, guide: ImageGuide, validated: NDArray[np.int16]) -> None:
        self._mapper, self._guide, self._validated = mapper, guide, validated
        self._state: GuideState | None = None

    @property
    def state(self) -> GuideState:
        """How the image is used."""
        if self._state is None:
            self._state = self._guide.validated(self._mapper.probabilities, self._validated)
        return self._state

    def __call__(self, measured: NDArray[np.int16]) -> Prediction:
        """Predict every pixel from (rows, columns) int16 labels."""
        return self._mapper(measured, self.state.evidence(measured))
