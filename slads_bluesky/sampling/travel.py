"""A short way through a batch of pixels, so that the beam or the stage need not jump about."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["travel_length", "travel_order"]


def _points(pixels: Sequence[int] | NDArray[np.integer], columns: int) -> NDArray[np.float64]:
    return np.column_stack(np.divmod(np.asarray(pixels, np.int64), columns)).astype(np.float64)


def travel_length(pixels: Sequence[int] | NDArray[np.integer], columns: int) -> float:
    """Return the length in pixels of the way through flat `pixels` in their order."""
    steps = np.diff(_points(pixels, columns), axis=0)
    return float(np.hypot(steps[:, 0], steps[:, 1]).sum())


def travel_order(pixels: Sequence[int] | NDArray[np.integer], columns: int) -> NDArray[np.int64]:
    """Return an order in which a batch of pixels is visited on a short open way, its first pixel first.

    The nearest pixel next, then stretches turned round as long as that shortens the way (2-opt).

    Parameters
    ----------
    pixels : (n,) integers
        Flat indices, C order.
    columns : int
        Columns of the grid.

    Returns
    -------
    (n,) int64 array
        Indices into `pixels`; never a longer way than theirs.
    """
    points = _points(pixels, columns)
    n = len(points)
    if n < 3:
        return np.arange(n)
    distance = np.hypot(*(points[:, None] - points[None, :]).transpose(2, 0, 1))
    left = np.ones(n, bool)
    order = [0]
    left[0] = False
    while len(order) < n:
        order.append(int(np.argmin(np.where(left, distance[order[-1]], np.inf))))
        left[order[-1]] = False
    greedy = np.array(order)
    given = np.arange(n)
    best = min((greedy, given), key=lambda way: float(distance[way[:-1], way[1:]].sum()))
    shorter = True
    while shorter:
        shorter = False
        for i in range(n - 2):
            ends = best[i + 2 :]
            after = np.append(best[i + 3 :], -1)
            saved = distance[best[i], best[i + 1]] - distance[best[i], ends]
            closing = distance[ends, after] - distance[best[i + 1], after]
            closing[-1] = 0.0  # the way ends there: nothing follows
            gain = saved + closing
            j = int(np.argmax(gain))
            if gain[j] > 1e-9:
                best[i + 1 : i + 3 + j] = best[i + 1 : i + 3 + j][::-1].copy()
                shorter = True
    return best
