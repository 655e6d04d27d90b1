"""What was measured on a grid, and where more may be: what every sampler keeps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, DataError
from ..protocols import UNCLASSIFIED, UNMEASURED
from .masks import check_allowed

__all__ = ["MAX_LABELS", "GridSampler", "check_labels"]

LARGEST = 4096
"""Rows and columns that a grid has at most."""
MAX_LABELS = 63
"""Labels that a map has at most: a neighbour key of SLADS has 6 bits for them."""


def check_labels(labels: int | Sequence[int]) -> tuple[int, ...]:
    """Return the allowed labels, ascending: 1 … n for a number n; ConfigError if they cannot be labels."""
    values = tuple(range(1, labels + 1)) if isinstance(labels, int) else tuple(int(v) for v in labels)
    if not values or len(set(values)) != len(values) or not all(1 <= v <= 255 for v in values):
        raise ConfigError(f"labels must be different numbers from 1 to 255, not {values}")
    if len(values) > MAX_LABELS:
        raise ConfigError(f"{len(values)} labels, at most {MAX_LABELS} can be mapped")
    return tuple(sorted(values))


class GridSampler:
    """The labels measured so far, the masks, and how many pixels are done and left.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns, 1 … 4096.
    labels : int or sequence of int
        The labels that may be measured: 1 … n for a number n.
    roi : (rows, columns) bool array, optional
        Region of interest: only its pixels are mapped and measured.
    forbidden : (rows, columns) bool array, optional
        Pixels that are mapped but must not be measured.

    Raises
    ------
    ConfigError, DataError
        If the shape, the labels or the masks cannot be.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        labels: int | Sequence[int],
        roi: NDArray[np.bool_] | None,
        forbidden: NDArray[np.bool_] | None,
    ) -> None:
        self._shape = (int(shape[0]), int(shape[1]))
        if not all(1 <= n <= LARGEST for n in self._shape):
            raise ConfigError(f"shape must be two numbers from 1 to {LARGEST}, not {self._shape}")
        self._labels = check_labels(labels)
        self._known = frozenset((UNCLASSIFIED, *self._labels))
        self._inside = check_allowed(self._shape, roi).copy()
        self._allowed = self._inside.copy()
        if forbidden is not None:
            self._allowed &= ~check_allowed(self._shape, forbidden)
        self._measured = np.full(self._shape, UNMEASURED, np.int16)
        self._flat = self._measured.reshape(-1)
        self._n_measured = 0
        self._n_allowed = self._n_open = int(self._allowed.sum())

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self._shape

    @property
    def labels(self) -> tuple[int, ...]:
        """The labels that may be measured."""
        return self._labels

    @property
    def n_measured(self) -> int:
        """Different pixels ingested so far, unclassified ones included."""
        return self._n_measured

    @property
    def measured(self) -> NDArray[np.int16]:
        """(rows, columns): label of each measured pixel, 0 where unclassified, -1 where unmeasured; a copy."""
        return self._measured.copy()

    def _take(self, pixel: int, label: int) -> int | None:
        """Enter a label; return the one before, `UNMEASURED` the first time, or None if nothing changed.

        Raises
        ------
        DataError
            If the pixel lies outside the grid or the region of interest, or the label is none of `labels`.
        """
        if not 0 <= pixel < self._flat.size:
            raise DataError(f"pixel {pixel} lies outside a grid of {self._shape[0]} × {self._shape[1]}")
        if label not in self._known:
            raise DataError(
                f"label {label} at pixel {pixel} is none of {self._labels} and not 0 (unclassified)"
            )
        before = int(self._flat[pixel])
        if before == label:
            return None
        row, column = divmod(pixel, self._shape[1])
        if not self._inside[row, column]:
            raise DataError(f"pixel {pixel} lies outside the region of interest")
        self._flat[pixel] = label
        if before == UNMEASURED:
            self._n_measured += 1
            self._n_open -= bool(self._allowed[row, column])
        return before
