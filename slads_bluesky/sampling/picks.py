"""Which pixels to measure next, given how sure the network is of each: a batch of picks, spread out."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["batch_size", "disputed", "expected_reduction", "interleave", "pick_batch", "scores"]

FLOOR = 3e-3
"""Uncertainty granted to pixels that the network is quite sure of, so that large gaps are still visited."""

_SHRINK, _WIDEST = 0.7, 5


def batch_size(n_measured: int, n_pixels: int, growth: float, least: float, most: float) -> int:
    """Picks to plan at once: `growth` of the pixels measured, from `least` to `most` of all pixels; at least 1."""
    return max(1, int(min(max(growth * n_measured, least * n_pixels), most * n_pixels)))


def scores(
    uncertainty: NDArray[np.float32], distance: NDArray[np.float32], exponent: float = 1.0
) -> NDArray[np.float32]:
    """Return (u + FLOOR) · d^exponent for uncertainty u = 1 - P_max and distance d in pixels."""
    gap = distance if exponent == 1.0 else distance ** np.float32(exponent)
    return np.asarray((uncertainty + np.float32(FLOOR)) * gap, np.float32)


def disputed(uncertainty: NDArray[np.float32], conflict: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return u^(1/4) · c for uncertainty u and conflict c (`inference.Prediction`): where wrong pixels are left.

    The network ranks uncertain pixels well even where it is far too sure of itself, and most of the pixels that it
    then has wrong lie right beside a sample, where a factor d finds none. `bench sampling --objects natural` measures
    the gain.
    """
    return np.asarray(np.sqrt(np.sqrt(uncertainty)) * conflict, np.float32)


def interleave(first: NDArray[np.int64], second: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Merge two lists of picks, each pixel once, to the length of the first: `share` of them from the second.

    Where one list has come to its end the other continues. Longer lists that begin with these give a list that begins
    with this one, as long as neither has come to its end.
    """
    merged: dict[int, None] = {}
    lists = iter(first.tolist()), iter(second.tolist())
    due = 0.0
    for _ in range(first.size):
        due += share
        turn = due >= 1.0
        due -= turn
        for source in (lists[turn], lists[not turn]):
            pixel = next((p for p in source if p not in merged), None)
            if pixel is not None:
                merged[pixel] = None
                break
    return np.fromiter(merged, np.int64, len(merged))


@njit(cache=True, nogil=True)
def _take(order, width, closed, columns, n, picks, taken):  # type: ignore[no-untyped-def]
    """Fill `picks` from `taken` on, best first; a taken entry of `order` becomes -1."""
    rows = closed.shape[0]
    for i in range(order.size):
        if taken == n:
            break
        if order[i] < 0:
            continue
        r, c = order[i] // columns, order[i] % columns
        if closed[r, c]:
            continue
        picks[taken] = order[i]
        order[i] = -1
        taken += 1
        h = width[i]
        for y in range(max(0, r - h), min(rows, r + h + 1)):
            for x in range(max(0, c - h), min(columns, c + h + 1)):
                closed[y, x] = True
    return taken


def pick_batch(score: NDArray[np.float32], distance: NDArray[np.float32], n: int) -> NDArray[np.int64]:
    """Return up to `n` pixels of high score, best first, none within the neighbourhood of a better one.

    Around each pick a square of half-width clip(0.7 d, 1, 5) is closed, d the distance to the nearest sample;
    once all are closed, they are opened again for those that are left. A larger `n` begins with the same pixels.

    Parameters
    ----------
    score : (rows, columns) float32
        Worth of measuring each pixel; -inf where it must not be measured.
    distance : (rows, columns) float32
        Distance to the nearest sample, pixels.
    n : int
        Number wanted; fewer come back only where no more pixels have a finite score.
    """
    columns = score.shape[1]
    flat, gap = score.ravel(), distance.ravel()
    wanted = 32 * n + 64
    while True:
        whole = wanted >= flat.size
        if whole:
            order = np.flatnonzero(np.isfinite(flat))
        else:
            least = np.partition(flat, flat.size - wanted)[flat.size - wanted]
            order = np.flatnonzero((flat >= least) & np.isfinite(flat))
        order = order[np.argsort(-flat[order], kind="stable")]
        width = np.clip(np.float32(_SHRINK) * gap[order], 1, _WIDEST).astype(np.int64)
        picks = np.empty(min(n, order.size), np.int64)
        taken = _take(order, width, np.zeros(score.shape, np.bool_), columns, picks.size, picks, 0)
        if taken == n:
            return picks
        if whole:
            while taken < picks.size:
                closed = np.zeros(score.shape, np.bool_)
                taken = _take(order, width, closed, columns, picks.size, picks, taken)
            return picks
        wanted = min(flat.size, 4 * wanted)


@njit(cache=True, nogil=True)
def _uncertainty_around(uncertainty, distance, picks, out):  # type: ignore[no-untyped-def]
    rows, columns = uncertainty.shape
    for i in range(picks.size):
        r, c = picks[i] // columns, picks[i] % columns
        h = int(min(max(_SHRINK * distance[r, c], 1.0), _WIDEST))
        total = 0.0
        for y in range(max(0, r - h), min(rows, r + h + 1)):
            for x in range(max(0, c - h), min(columns, c + h + 1)):
                total += uncertainty[y, x]
        out[i] = total


def expected_reduction(
    uncertainty: NDArray[np.float32], distance: NDArray[np.float32], picks: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the expected number of wrong pixels in the square that each pick closes: its ERD at best, pixels."""
    out = np.empty(picks.size, np.float64)
    _uncertainty_around(uncertainty, distance, picks, out)
    return out
