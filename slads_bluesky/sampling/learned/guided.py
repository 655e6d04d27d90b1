"""The network beside an image: its probabilities multiplied by what the image says, as hold-out validation allows.

A second network takes the image as an input and knows what shapes and noise make of it. Its weight against that of
the labels alone, and those of the image's planes beside it, are what hidden labels say (`imaging.selection`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...images.labels import label_positions
from ..imaging.coupling import coupled
from ..imaging.evidence import AlignedPlanes
from ..imaging.guide import GuideState, ImageGuide
from ..imaging.selection import Predict
from .guided_inputs import image_input
from .inference import NetworkMapper, Prediction, Seen

__all__ = ["GuidedMapper"]

LARGE = 1 << 22
"""Pixels above which neighbours are not coupled: all probabilities of all labels are held at once for that."""
_LEAST_P = 1e-6


class GuidedMapper:
    """Maps measured labels to a `Prediction` by network and image.

    Parameters
    ----------
    mapper : NetworkMapper
        Predicts from labels alone.
    guide : ImageGuide
    validated : (rows, columns) int16
        Labels on which the use of the image is validated; nothing is done with them before the first prediction.
    seeing : NetworkMapper, optional
        Predicts from labels and image; None as in maps recorded before there was such a network.
    """

    def __init__(
        self,
        mapper: NetworkMapper,
        guide: ImageGuide,
        validated: NDArray[np.int16],
        seeing: NetworkMapper | None = None,
    ) -> None:
        self._mapper, self._guide, self._validated = mapper, guide, validated
        self._seeing = seeing
        self._state: GuideState | None = None

    @property
    def state(self) -> GuideState:
        """How the image is used."""
        if self._state is None:
            seeing = None if self._seeing is None else self._seen_under
            self._state = self._guide.validated(self._mapper.probabilities, self._validated, seeing)
        return self._state

    def __call__(self, measured: NDArray[np.int16]) -> Prediction:
        """Predict every pixel from (rows, columns) int16 labels."""
        return self._mapper(measured, self.state.evidence(measured), self._seen(measured))

    def reconstruct(self, measured: NDArray[np.int16]) -> NDArray[np.uint8]:
        """Return the map, (rows, columns): the most probable labels, with neighbours coupled where the image is used.

        Picks do not depend on it.
        """
        if not self.state.used or measured.size > LARGE:
            return self(measured).labels
        # all are of the labels that were measured, ascending
        values, logs = self._logs(self._mapper, measured)
        seen, evidence = self._seen(measured), self.state.evidence(measured)
        if seen is not None:
            logs = (1.0 - seen.weight) * logs + seen.weight * self._logs(seen.network, measured, seen)[1]
        if evidence is not None:
            logs = logs + evidence.at(np.arange(measured.size))
        known = np.full(measured.shape, -1)
        voting = measured > 0
        known[voting] = label_positions(measured[voting], values)
        best = coupled(logs.reshape(-1, *measured.shape), known).argmax(axis=0)
        return np.asarray(values[best], np.uint8)

    def _seen(self, measured: NDArray[np.int16]) -> Seen | None:
        if self._seeing is None or self.state.network_weight == 0.0:
            return None
        image = image_input(self.state.aligned, measured)
        return None if image is None else Seen(self._seeing, image, self.state.network_weight)

    def _seen_under(self, aligned: AlignedPlanes) -> Predict:
        assert self._seeing is not None
        network = self._seeing
        return lambda measured, pixels: network.probabilities(
            measured, pixels, image_input(aligned, measured)
        )

    @staticmethod
    def _logs(
        mapper: NetworkMapper, measured: NDArray[np.int16], seen: Seen | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Labels (L,) and the logarithms of their probabilities at every pixel, (L, n)."""
        image = None if seen is None else seen.image
        values, probability = mapper.probabilities(measured, np.arange(measured.size), image)
        return values, np.log(np.maximum(probability, _LEAST_P).astype(np.float64))
