"""A number for each pixel of a specimen, most of them never asked for: rows of a block's size, made when touched.

A dictionary would grow with every pixel visited, an array of the whole field is too big for the largest: blocks
are all there after a part of a map that is spread over the field, and cost nothing in one that is not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PerPixel"]

BLOCK = 1024


class PerPixel:
    """Numbers by flat pixel index, 0 where none was put.

    Parameters
    ----------
    dtype : numpy dtype

    Examples
    --------
    >>> visits = PerPixel("uint32")
    >>> visits.add(5, 1), visits.add(5, 1), visits.get(5), visits.get(4096)
    (0, 1, 2, 0)
    """

    def __init__(self, dtype: str) -> None:
        self._dtype = np.dtype(dtype)
        self._blocks: dict[int, NDArray[Any]] = {}

    def get(self, pixel: int) -> Any:
        """Return the number of a pixel."""
        block = self._blocks.get(pixel // BLOCK)
        return self._dtype.type(0).item() if block is None else block[pixel % BLOCK].item()

    def add(self, pixel: int, value: float) -> Any:
        """Add to the number of a pixel; return what it was before."""
        block = self._blocks.get(pixel // BLOCK)
        if block is None:
            block = self._blocks[pixel // BLOCK] = np.zeros(BLOCK, self._dtype)
        before = block[pixel % BLOCK].item()
        block[pixel % BLOCK] += value
        return before
