"""A whole map, with a probability for each pixel, of a few measured labels: the network as a reconstructor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from .inference import NetworkMapper, Precision
from .model import LearnedModel, shipped_model

__all__ = ["NetworkReconstructor"]


class NetworkReconstructor:
    """Makes a map, with a probability for each pixel, of measured labels; fits `protocols.Reconstructor`.

    Parameters
    ----------
    model : LearnedModel, optional
        The general model that comes with the program by default.
    precision : {"auto", "bfloat16", "float32"}
        See `NetworkMapper`.
    """

    def __init__(self, model: LearnedModel | None = None, precision: Precision = "auto") -> None:
        self._mapper = NetworkMapper(model or shipped_model(), precision)

    def __call__(self, measured: NDArray[np.int16]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Return labels and their probability, each (rows, columns), from `Sampler.measured`.

        Raises
        ------
        DataError
            If `measured` is not a two-dimensional integer array or holds no phase.
        """
        array = np.asarray(measured)
        if array.ndim != 2 or not np.issubdtype(array.dtype, np.integer):
            raise DataError(
                f"measured labels must be a 2-D integer array, not {array.dtype} of shape {array.shape}"
            )
        if not (array > 0).any():
            raise DataError("no pixel with a phase is measured: there is nothing to reconstruct from")
        estimate = self._mapper(array.astype(np.int16))
        return estimate.labels, estimate.probability
