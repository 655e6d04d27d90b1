"""Samplers that do not look: a fixed order of pixels, random or low-discrepancy, to compare with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, DataError
from ..protocols import ILL, UNMEASURED, Suggestion
from .initial import check_allowed, initial_pixels, random_pixels
from .reconstruct import fill_outside, knn_reconstruct
from .sampler import check_labels

__all__ = ["StaticSampler"]

Order = Literal["random", "low-discrepancy"]


class StaticSampler:
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
    ) -> None:
        if order not in ("random", "low-discrepancy"):
            raise ConfigError(f"order must be 'random' or 'low-discrepancy', not {order!r}")
        self._shape = (int(shape[0]), int(shape[1]))
        self._kind, self._seed, self._k = order, int(seed), int(k)
        self._labels = check_labels(labels)
        self._inside = check_allowed(self._shape, roi).copy()
        self._allowed = self._inside.copy()
        if forbidden is not None:
            self._allowed &= ~check_allowed(self._shape, forbidden)
        if order == "random":
            self._order = random_pixels(self._shape, seed=self._seed, allowed=self._allowed)
        else:
            self._order = initial_pixels(self._shape, 1.0, seed=self._seed, allowed=self._allowed)
        self._cursor = 0
        self._n_measured = 0
        self._measured = np.full(self._shape, UNMEASURED, np.int16)
        self._flat = self._measured.reshape(-1)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self._shape

    @property
    def n_measured(self) -> int:
        """Different pixels ingested so far, ill ones included."""
        return self._n_measured

    @property
    def measured(self) -> NDArray[np.int16]:
        """(rows, columns): label of each measured pixel, 0 where ill, -1 where unmeasured; a copy."""
        return self._measured.copy()

    def suggest(self, n: int = 1) -> list[Suggestion]:
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
        """Take a measured label, 0 for ill; DataError outside the grid or the region, or of another label."""
        pixel, label = int(pixel), int(label)
        if not 0 <= pixel < self._flat.size:
            raise DataError(f"pixel {pixel} lies outside a grid of {self._shape[0]} × {self._shape[1]}")
        if label != ILL and label not in self._labels:
            raise DataError(f"label {label} at pixel {pixel} is none of {self._labels} and not 0 (ill)")
        if not self._inside.reshape(-1)[pixel]:
            raise DataError(f"pixel {pixel} lies outside the region of interest")
        self._n_measured += self._flat[pixel] == UNMEASURED
        self._flat[pixel] = label

    def should_stop(self) -> bool:
        """Whether no pixel is left."""
        return not self.suggest(1)

    def reconstruct(self) -> NDArray[np.uint8]:
        """Return the map by the vote of the k nearest measured pixels; the lowest label before the first."""
        if not (self._measured > 0).any():
            return fill_outside(np.full(self._shape, self._labels[0], np.uint8), ~self._inside)
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

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Arrays and JSON from which `from_state` makes a sampler with the same next suggestion."""
        arrays: dict[str, NDArray[Any]] = {
            "measured": self._measured.copy(),
            "inside": np.packbits(self._inside),
            "allowed": np.packbits(self._allowed),
        }
        facts = {
            "sampler": self._kind,
            "version": 1,
            "shape": list(self._shape),
            "labels": list(self._labels),
            "seed": self._seed,
            "k": self._k,
        }
        return arrays, facts

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> StaticSampler:
        """Make the sampler whose `state` this is; DataError naming the field that is missing or disagrees."""
        try:
            if int(facts["version"]) != 1:
                raise DataError(f"sampler state is of version {facts['version']}, wanted 1")
            shape = (int(facts["shape"][0]), int(facts["shape"][1]))
            inside, allowed = (
                np.unpackbits(arrays[name])[: shape[0] * shape[1]].reshape(shape).astype(bool)
                for name in ("inside", "allowed")
            )
            measured = np.asarray(arrays["measured"], np.int16)
            if measured.shape != shape:
                raise DataError(f"sampler state: measured has shape {measured.shape}, the grid {shape}")
            sampler = cls(
                shape,
                facts["sampler"],
                labels=[int(v) for v in facts["labels"]],
                seed=int(facts["seed"]),
                k=int(facts["k"]),
                roi=inside,
                forbidden=~allowed,
            )
        except KeyError as error:
            raise DataError(f"sampler state: field {error.args[0]} is missing") from error
        sampler._measured[:] = measured
        sampler._n_measured = int((measured != UNMEASURED).sum())
        return sampler
