"""Distortion curve of a map as it grows: what the first n measurements of a run would have given."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ...protocols import UNMEASURED
from ...sampling.slads.reconstruct import knn_reconstruct

__all__ = ["DistortionCurve", "Reconstruct", "checkpoints", "knn", "map_of", "oracle_order"]

Reconstruct = Callable[[tuple[int, int], NDArray[np.integer], NDArray[np.integer]], NDArray[np.uint8]]
"""Makes a map of a shape from pixels and their labels (0 where unclassified), in the order of measurement."""


def knn(
    shape: tuple[int, int], pixels: NDArray[np.integer], labels: NDArray[np.integer]
) -> NDArray[np.uint8]:
    """Reconstruct by the vote of the ten nearest measured pixels."""
    return knn_reconstruct(map_of(shape, pixels, labels))


def map_of(
    shape: tuple[int, int], pixels: NDArray[np.integer], labels: NDArray[np.integer]
) -> NDArray[np.int16]:
    """Lay labels on a map, (rows, columns) int16: -1 where nothing was measured."""
    measured = np.full(shape, UNMEASURED, np.int16)
    measured.ravel()[pixels] = labels
    return measured


def checkpoints(n_pixels: int, n_measured: int, number: int = 24) -> NDArray[np.int64]:
    """Numbers of measurements to look at, from 1 % of the pixels to all that were measured, in equal ratios."""
    first = min(max(1, n_pixels // 100), n_measured)
    return np.unique(np.geomspace(first, n_measured, number).round().astype(np.int64))


class DistortionCurve:
    """Distortion of the map of a run as it grew; the map after each number of measurements is made once.

    Parameters
    ----------
    truth : (rows, columns) uint8 array
        Labels 1 … L.
    pixels, labels : (N,) integer arrays
        What was measured, in its order; label 0 where unclassified.
    labelled : (rows, columns) uint8 array, optional
        The truth with label 0 where a pixel is invalid, for the paper's own definition; by default `truth`.
    reconstruct : callable
        See `Reconstruct`; the vote of ten neighbours by default.
    counted : (rows, columns) bool array, optional
        Pixels that are compared with the truth; all by default.
    """

    def __init__(
        self,
        truth: NDArray[np.uint8],
        pixels: NDArray[np.integer],
        labels: NDArray[np.integer],
        *,
        labelled: NDArray[np.uint8] | None = None,
        reconstruct: Reconstruct = knn,
        counted: NDArray[np.bool_] | None = None,
    ) -> None:
        self._counted = np.ones(truth.shape, bool) if counted is None else counted
        self._truth, self._pixels, self._labels = truth, pixels, labels
        self._labelled = truth if labelled is None else labelled
        self._reconstruct = reconstruct
        self._known: dict[int, tuple[float, float]] = {}

    @property
    def n_pixels(self) -> int:
        """Pixels of the map."""
        return int(self._truth.size)

    def at(self, n: int, *, count_invalid: bool = False) -> float:
        """Total distortion (Eq. 14) after the first `n` measurements; NaN where none of them has a phase.

        With `count_invalid`, by the paper's definition: an invalid pixel is right only if it was measured and left
        unclassified.
        """
        if n not in self._known:
            self._known[n] = self._distortions(n)
        return self._known[n][int(count_invalid)]

    def _distortions(self, n: int) -> tuple[float, float]:
        pixels, labels = self._pixels[:n], self._labels[:n]
        if not (labels > 0).any():
            return float("nan"), float("nan")
        found = self._reconstruct((self._truth.shape[0], self._truth.shape[1]), pixels, labels)
        clean = float((found != self._truth)[self._counted].mean())
        found = found.copy()
        found.ravel()[pixels[labels == 0]] = 0
        return clean, float((found != self._labelled)[self._counted].mean())

    def curve(self, numbers: Sequence[int] | NDArray[np.integer]) -> NDArray[np.float64]:
        """Total distortion after each of `numbers` measurements, (len(numbers),)."""
        return np.array([self.at(int(n)) for n in numbers])

    def first_at(
        self, target: float, numbers: Sequence[int] | NDArray[np.integer], *, count_invalid: bool = False
    ) -> int | None:
        """Fewest measurements after which the distortion is at most `target`, to 0.5 % of that number.

        Searched between the first of `numbers` that reaches the target and the one before it; None if none does.
        """
        low = 0
        for high in map(int, numbers):
            if self.at(high, count_invalid=count_invalid) <= target:
                break
            low = high
        else:
            return None
        while high - low > max(1, high // 200):
            middle = (low + high) // 2
            if self.at(middle, count_invalid=count_invalid) <= target:
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
    map. Between two reconstructions no two pixels are picked nearer to each other than d₁. Greedy: no bound.

    Parameters
    ----------
    truth : (rows, columns) uint8 array
        Labels 1 … L.
    start : (m,) integer array
        Flat pixels to begin with.
    n : int
        Pixels of the order; fewer are returned if the map is right before.
    growth : float
        Pixels between two reconstructions, as a part of those measured.
    c : float
        Constant c of the training of SLADS.

    Returns
    -------
    (≤ n,) int64 array
        Flat pixels.
    """
    order = [int(p) for p in start[:n]]
    flat = truth.ravel()
    while len(order) < n:
        measured = map_of((truth.shape[0], truth.shape[1]), np.array(order), flat[order])
        wrong = knn_reconstruct(measured) != truth
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
