"""The network beside an image: its probabilities multiplied by what the image says, as hold-out validation allows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...images.labels import label_positions
from ..imaging.coupling import coupled
from ..imaging.guide import GuideState, ImageGuide
from .inference import NetworkMapper, Prediction

__all__ = ["GuidedMapper"]

LARGE = 1 << 22
"""Pixels above which neighbours are not coupled: all probabilities of all labels are held at once for that."""
_LEAST_P = 1e-6


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

    def reconstruct(self, measured: NDArray[np.int16]) -> NDArray[np.uint8]:
        """Return the map, (rows, columns): the most probable labels, with neighbours coupled where the image is used.

        Picks do not depend on it.
        """
        evidence = self.state.evidence(measured)
        if evidence is None or measured.size > LARGE:
            return self._mapper(measured, evidence).labels
        every = np.arange(measured.size)
        values, probability = self._mapper.probabilities(measured, every)
        # both are of the labels that were measured, ascending
        logs = np.log(np.maximum(probability, _LEAST_P)) + evidence.at(every)
        known = np.full(measured.shape, -1)
        voting = measured > 0
        known[voting] = label_positions(measured[voting], values)
        best = coupled(logs.reshape(-1, *measured.shape), known).argmax(axis=0)
        return np.asarray(values[best], np.uint8)
