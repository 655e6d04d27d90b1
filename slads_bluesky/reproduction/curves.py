"""Distortion as a map grows: what the first n measurements of a run would have given."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..protocols import UNMEASURED
from ..sampling.reconstruct import knn_reconstruct

__all__ = ["checkpoints", "distortions", "knn", "oracle_order", "reached_at"]

Reconstruct = Callable[[NDArray[np.int16]], NDArray[np.uint8]]


def knn(measured: NDArray[np.int16]) -> NDArray[np.uint8]:
    """Reconstruct by the vote of the ten nearest measured pixels."""
    return knn_reconstruct(measured)


def checkpoints(n_pixels: int, n_measured: int, number: int = 24) -> NDArray[np.int64]:
    """Numbers of measurements to look at, from 1 % of the pixels to all that were measured, in equal ratios."""
    first = min(max(1, n_pixels // 100), n_measured)
    return np.unique(np.geomspace(first, n_measured, number).round().astype(np.int64))


def _map_after(
    shape: tuple[int, int], pixels: NDArray[np.integer], labels: NDArray[np.integer], n: int
) -> NDArray[np.int16]:
    measured = np.full(shape, UNMEASURED, np.int16)
    measured.ravel()[pixels[:n]] = labels[:n]
    return measured


def distortions(
    truth: NDArray[np.uint8],
    pixels: NDArray[np.integer],
    labels: NDArray[np.integer],
    numbers: Sequence[int] | NDArray[np.integer],
    reconstruct: Reconstruct = knn,
) -> NDArray[np.float64]:
    """Total distortion (Eq. 14) after each of `numbers` measurements.

    Parameters
    ----------
    truth : (rows, columns) uint8 array
        Labels 1 … L.
    pixels, labels : (N,) integer arrays
        What was measured, in its order; label 0 where ill.
    numbers : sequence of int
        How many of them to look at, each 1 … N.
    reconstruct : callable
        A map from measured labels, (rows, columns) int16 with -1 where unmeasured.

    Returns
    -------
    (len(numbers),) float64 array
        NaN where no pixel with a phase was measured yet.
    """
    found = np.full(len(numbers), np.nan)
    for i, n in enumerate(numbers):
        measured = _map_after(truth.shape, pixels, labels, int(n))
        if (measured > 0).any():
            found[i] = float((reconstruct(measured) != truth).mean())
    return found


def reached_at(
    truth: NDArray[np.uint8],
    pixels: NDArray[np.integer],
    labels: NDArray[np.integer],
    target: float,
    reconstruct: Reconstruct = knn,
    *,
    numbers: NDArray[np.integer],
    curve: NDArray[np.float64],
) -> int | None:
    """Fewest measurements after which the distortion is at most `target`, to 0.5 % of that number.

    Searched between the first checkpoint that reaches the target and the one before it; None if none does.
    """
    good = np.flatnonzero(curve <= target)
    if not good.size:
        return None
    high = int(numbers[good[0]])
    low = int(numbers[good[0] - 1]) if good[0] > 0 else 0
    while high - low > max(1, high // 200):
        middle = (low + high) // 2
        if distortions(truth, pixels, labels, [middle], reconstruct)[0] <= target:
            high = middle
        else:
            low = middle
    return high


def oracle_order(
    truth: NDArray[np.uint8], start: NDArray[np.integer], n: int, growth: float = 0.03, c: float = 8.0
) -> NDArray[np.int64]:
    """Order of a sampler that knows the truth: the largest true reduction in distortion first.

    The reduction is the Gaussian one that SLADS is trained on (the errors around a pixel, weighted by
    exp(-d² / 2σ²) with σ = d₁ / c, d₁ the distance to the nearest measured pixel), of the true errors of the k-NN
    map. Between two reconstructions no two pixels are picked nearer to each other than d₁. Greedy, so no bound.

    Parameters
    ----------
    truth : (rows, columns) uint8 array
        Labels 1 … L.
    start : (m,) integer array
        Flat pixels to begin with.
    n : int
        Pixels in all; fewer come back if the map is right before.
    growth : float
        Pixels between two reconstructions, as a part of those measured.
    c : float
        As in training.

    Returns
    -------
    (≤ n,) int64 array
        Flat pixels.
    """
    order = [int(p) for p in start[:n]]
    flat = truth.ravel()
    while len(order) < n:
        measured = _map_after(truth.shape, np.array(order), flat[order], len(order))
        wrong = knn(measured) != truth
        if not wrong.any():
            break
        distance = ndimage.distance_transform_edt(measured == UNMEASURED)
        score = np.where(measured == UNMEASURED, _reductions(wrong, distance / c), 0.0).ravel()
        candidates = np.flatnonzero(score > 1e-3)
        candidates = candidates[np.argsort(-score[candidates], kind="stable")]
        closed = np.zeros(truth.shape, bool)
        wanted = min(n - len(order), max(1, int(growth * len(order))))
        for pixel in candidates:
            row, column = divmod(int(pixel), truth.shape[1])
            if closed[row, column]:
                continue
            order.append(int(pixel))
            wanted -= 1
            if not wanted:
                break
            reach = int(np.ceil(distance[row, column]))
            closed[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1] = True
    return np.array(order, np.int64)


def _reductions(wrong: NDArray[np.bool_], sigma: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of the wrong pixels around each pixel under a Gaussian of its own width, from eight widths in all."""
    widths = np.geomspace(0.3, max(0.31, float(sigma.max())), 8)
    nearest = np.abs(np.log(np.maximum(sigma, 0.3))[..., None] - np.log(widths)).argmin(axis=-1)
    found = np.zeros(wrong.shape)
    for i, width in enumerate(widths):
        blurred = ndimage.gaussian_filter(wrong.astype(np.float64), width, mode="constant", truncate=3.0)
        np.copyto(found, blurred * (2 * np.pi * width**2), where=nearest == i)
    return found
