"""Which small patches a map may have missed: squares of pixels in which nothing is measured.

A feature of a few pixels in the middle of a large grain is found only by a measurement in it, whatever a sampler
predicts there. A patch of N pixels is taken as a square of ⌊√N⌋ pixels a side, and a map has the smallest feature N
if at least 99 % of all such squares hold a measured pixel. To get there, `Coverage` gives the points of a square
lattice of that spacing, in a low-discrepancy order, without those around which every square is hit already: each
square holds exactly one point of the lattice, so that all are hit at the end.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..errors import ConfigError
from ..protocols import UNMEASURED
from .masks import initial_pixels

__all__ = ["MISSED", "ROUND", "Coverage", "fraction_needed", "largest_missed_patch"]

MISSED = 0.01
"""Largest share of the squares that hold no measured pixel."""
ROUND = 4
"""Of so many picks one is the sampler's own as long as squares are to be hit."""


def _window_sums(mask: NDArray[np.bool_], side: int) -> NDArray[np.int32]:
    """Number of True in each square of `side`, (rows - side + 1, columns - side + 1)."""
    sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int32)
    np.cumsum(np.cumsum(mask, axis=0, dtype=np.int32), axis=1, out=sums[1:, 1:])
    out: NDArray[np.int32] = (
        sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    )
    return out


def _missed_share(measured: NDArray[np.bool_], inside: NDArray[np.bool_], side: int) -> float:
    """Share of the squares of `side` within `inside` that hold no measured pixel; 0 where no square fits."""
    if side > min(measured.shape):
        return 0.0
    whole = _window_sums(inside, side) == side * side
    n = int(np.count_nonzero(whole))
    return int(np.count_nonzero(whole & (_window_sums(measured, side) == 0))) / n if n else 0.0


def largest_missed_patch(
    measured: NDArray[np.int16], *, inside: NDArray[np.bool_] | None = None, share: float = MISSED
) -> int:
    """Return the pixels of the largest patch that the measured pixels may have missed.

    Parameters
    ----------
    measured : (rows, columns) int16 array
        `Sampler.measured`: -1 where unmeasured.
    inside : (rows, columns) bool array, optional
        Pixels that are mapped; all by default.
    share : float
        A patch can be missed if more than this share of the squares of its size hold no measured pixel.

    Returns
    -------
    int
        s² for the largest such square of s × s pixels; 0 where even single pixels cannot be missed.

    Examples
    --------
    >>> import numpy as np
    >>> measured = np.full((20, 20), -1, np.int16)
    >>> measured[::4, ::4] = 1
    >>> largest_missed_patch(measured)
    9
    """
    known = measured != UNMEASURED
    mapped = np.ones(measured.shape, bool) if inside is None else inside
    low, high = 0, min(measured.shape) + 1  # a larger square is never missed more often
    while high - low > 1:
        middle = (low + high) // 2
        if _missed_share(known, mapped, middle) > share:
            low = middle
        else:
            high = middle
    return low * low


@njit(cache=True)
def _hit(empty, row, column, side):  # type: ignore[no-untyped-def]
    """Mark the squares that hold a pixel as hit; how many were empty before."""
    n = 0
    for r in range(max(0, row - side + 1), min(empty.shape[0], row + 1)):
        for c in range(max(0, column - side + 1), min(empty.shape[1], column + 1)):
            if empty[r, c]:
                empty[r, c] = False
                n += 1
    return n


def fraction_needed(smallest: int) -> float:
    """Return the fraction of the pixels after which 99 % of the patches of `smallest` pixels are hit, at most.

    The points of a lattice of spacing s = ⌊√N⌋ are 1 / s² of the pixels, and three of four picks.

    Examples
    --------
    >>> round(fraction_needed(25), 4)
    0.0533
    """
    return min(1.0, ROUND / ((ROUND - 1) * math.isqrt(smallest) ** 2))


class Coverage:
    """The squares of one size that are empty yet, and where to measure so that few of them stay so.

    Parameters
    ----------
    smallest : int
        Pixels of the smallest feature that must not be missed, at least 1.
    inside, allowed : (rows, columns) bool arrays
        Pixels that are mapped, and those of them that may be measured.
    seed : int
        Seed of the order of the lattice.

    Raises
    ------
    ConfigError
        If `smallest` is not a positive number.
    """

    def __init__(
        self, smallest: int, inside: NDArray[np.bool_], allowed: NDArray[np.bool_], seed: int
    ) -> None:
        if smallest < 1:
            raise ConfigError(f"smallest_feature must be at least 1 pixel, not {smallest}")
        self._side = side = math.isqrt(smallest)
        self._columns = inside.shape[1]
        if side > min(inside.shape):
            self._empty = np.zeros((0, 0), bool)
        else:
            # a square in which nothing may be measured cannot be hit, so it does not count
            whole = _window_sums(inside, side) == side * side
            self._empty = whole & (_window_sums(allowed, side) > 0)
        self._n_empty = int(np.count_nonzero(self._empty))
        self._most = int(MISSED * self._n_empty)
        self._allowed = allowed
        rows, columns = inside.shape[0] // side, inside.shape[1] // side
        cells = initial_pixels((max(1, rows), max(1, columns)), 1.0, seed=seed).astype(np.int64)
        row, column = np.divmod(cells, max(1, columns))
        self._lattice = (row * side + side - 1) * self._columns + column * side + side - 1
        self._cursor = 0

    @property
    def complete(self) -> bool:
        """Whether at least 99 % of the squares hold a measured pixel."""
        return self._n_empty <= self._most

    def take(self, pixel: int) -> None:
        """Take that a pixel, flat index, was measured."""
        row, column = divmod(pixel, self._columns)
        self._n_empty -= int(_hit(self._empty, row, column, self._side))

    def next(self, n: int) -> list[int]:
        """Return up to `n` pixels that hit empty squares, flat indices; empty once `complete`.

        The order is that of the lattice; squares whose point may not be measured come last, in C order.
        """
        found: list[int] = []
        if self.complete:
            return found
        at = self._cursor
        while at < self._lattice.size and len(found) < n:
            pixel = int(self._lattice[at])
            if self._useful(pixel):
                found.append(pixel)
            elif not found:
                self._cursor = at + 1  # a square is never empty again
            at += 1
        if not found:
            row, column = divmod(int(np.argmax(self._empty)), self._empty.shape[1])
            window = np.s_[row : row + self._side, column : column + self._side]
            r, c = divmod(int(np.argmax(self._allowed[window])), self._side)
            found.append((row + r) * self._columns + column + c)
        return found

    def _useful(self, pixel: int) -> bool:
        row, column = divmod(pixel, self._columns)
        if not self._allowed[row, column]:
            return False
        first = max(0, row - self._side + 1), max(0, column - self._side + 1)
        return bool(self._empty[first[0] : row + 1, first[1] : column + 1].any())
