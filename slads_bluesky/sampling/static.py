"""Samplers that do not look: a fixed order of pixels, random or low-discrepancy, to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..images.labels import fill_from_nearest
from ..protocols import UNMEASURED, Suggestion
from .base import GridSampler
from .masks import initial_pixels, random_pixels
from .slads.reconstruct import knn_reconstruct

__all__ = ["StaticSampler"]

Order = Literal["random", "low-discrepancy"]


class StaticSampler(GridSampler):
    """Measures the pixels in an order that is fixed beforehand; fits `protocols.Sampler`.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns.
    order : {"random", "low-discrepancy"}
        The order.
    labels : int or sequence of int
        The labels that may be measured: 1 … n for a number n.
    seed : int
        Seed of the order.
    k : int
        Neighbours that vote in the map.
    roi, forbidden : (rows, columns) bool arrays, optional
        Region that is mapped, and pixels that must not be measured.
    smallest_feature : int, optional
        See `base.GridSampler`.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        order: Order = "low-discrepancy",
        *,
        labels: int | Sequence[int],
        seed: int = 0,
        k: int = 10,
        roi: NDArray[np.bool_] | None = None,
        forbidden: NDArray[np.bool_] | None = None,
        smallest_feature: int | None = None,
    ) -> None:
        if order not in ("random", "low-discrepancy"):
            raise ConfigError(f"order must be 'random' or 'low-discrepancy', not {order!r}")
        super().__init__(shape, labels, roi, forbidden, seed, smallest_feature)
        self._seed, self._k = int(seed), int(k)
        if order == "random":
            self._order = random_pixels(self._shape, seed=self._seed, allowed=self._allowed)
        else:
            self._order = initial_pixels(self._shape, 1.0, seed=self._seed, allowed=self._allowed)
        self._cursor = 0

    def _choose(self, n: int) -> list[Suggestion]:
        """Return up to `n` of the next unmeasured pixels of the order; their ERD is NaN."""
        while self._cursor < self._order.size and self._flat[self._order[self._cursor]] != UNMEASURED:
            self._cursor += 1
        found: list[Suggestion] = []
        for pixel in self._order[self._cursor :]:
            if len(found) >= n:
                break
            if self._flat[pixel] == UNMEASURED:
                found.append(Suggestion(int(pixel), float("nan")))
        return found

    def ingest(self, pixel: int, label: int) -> None:
        """Take a measured label, 0 for unclassified.

        Raises
        ------
        DataError
            If the pixel lies outside the grid or the region of interest, or the label is none of `labels`.
        """
        self._take(int(pixel), int(label))

    def should_stop(self) -> bool:
        """Whether no pixel is left."""
        return not self.suggest(1)

    def reconstruct(self) -> NDArray[np.uint8]:
        """Return the map by the vote of the k nearest measured pixels; the lowest label before the first."""
        if not (self._measured > 0).any():
            return fill_from_nearest(np.full(self._shape, self._labels[0], np.uint8), ~self._inside)
        return knn_reconstruct(self._measured, k=self._k, roi=self._inside)

    def distortion_estimate(self) -> float:
        """Estimate of the total distortion: how often a measured pixel's neighbours outvote it.

        The mask does not depend on what was measured, so that a measured pixel, left out, stands for the
        unmeasured ones. NaN before two phases' pixels are measured.
        """
        from scipy.spatial import cKDTree

        voting = np.flatnonzero(self._flat > 0)
        if voting.size < 2:
            return float("nan")
        points = np.column_stack(np.divmod(voting, self._shape[1])).astype(float)
        k = min(self._k + 1, voting.size)
        distance, index = cKDTree(points).query(points, k=k)
        labels = self._flat[voting].astype(int)
        weights = 1.0 / np.square(distance[:, 1:])
        votes = np.zeros((voting.size, max(self._labels) + 1))
        np.add.at(votes, (np.arange(voting.size)[:, None], labels[index[:, 1:]]), weights)
        missed = float(np.mean(votes.argmax(axis=1) != labels))
        n_inside = int(self._inside.sum())
        return missed * (n_inside - voting.size) / n_inside
