"""What was measured on a grid, and where more may be: what every sampler keeps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, DataError
from ..images.frames import check_frame
from ..protocols import UNCLASSIFIED, UNMEASURED, Suggestion
from .coverage import ROUND, Coverage
from .imaging.guide import GuideState, ImageGuide
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
    seed : int
        Seed of the order in which gaps are measured.
    smallest_feature : int, optional
        Pixels of the smallest patch that must not be missed (`coverage`): until 99 % of such patches hold a
        measured pixel, three of four picks hit others, and the stop rule does not hold.

    Raises
    ------
    ConfigError, DataError
        If the shape, the labels, the masks or the smallest feature cannot be.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        labels: int | Sequence[int],
        roi: NDArray[np.bool_] | None,
        forbidden: NDArray[np.bool_] | None,
        seed: int = 0,
        smallest_feature: int | None = None,
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
        self._guide: ImageGuide | None = None
        self._coverage: Coverage | None = None
        if smallest_feature is not None:
            self._coverage = Coverage(int(smallest_feature), self._inside, self._allowed, int(seed))

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
    def n_open(self) -> int:
        """Pixels that may still be measured."""
        return self._n_open

    @property
    def measured(self) -> NDArray[np.int16]:
        """(rows, columns): label of each measured pixel, 0 where unclassified, -1 where unmeasured; a copy."""
        return self._measured.copy()

    def take_image(self, frame: NDArray[np.float32]) -> None:
        """Take a grey-level frame of the field, such as a backscatter image, before anything is measured.

        A sampler that decides by what it predicts visits what looks different in it first, and uses it as far as
        hold-out validation on the measured pixels allows; others only check it.

        Parameters
        ----------
        frame : (rows, columns) array
            Grey levels at the pixels of the grid; a displacement of some pixels is found.

        Raises
        ------
        DataError
            If it is no grey-level image, of another shape than the grid, or comes too late.
        """
        if self._n_measured:
            raise DataError(
                f"an image must come before the first measured pixel; {self._n_measured} are measured"
            )
        check_frame(frame, self._shape)

    @property
    def image_use(self) -> GuideState | None:
        """How the image is used by the last hold-out validation; None without one, or before the first."""
        return None

    def suggest(self, n: int = 1) -> list[Suggestion]:
        """Return up to `n` pixels to measure next, none measured or masked; empty when none are left.

        It changes nothing. The ERD is NaN for pixels that were not chosen by it: those of an initial mask, and
        those of `smallest_feature`.
        """
        if n < 1 or self._n_open == 0:
            return []
        gaps = [] if self._coverage is None else self._coverage.next(n)
        if not gaps:
            return self._choose(n)
        chosen = {s.pixel: s for s in self._choose(n)}
        merged: dict[int, Suggestion] = {}
        own, hits = iter(chosen.values()), iter([Suggestion(pixel, float("nan")) for pixel in gaps])
        for i in range(ROUND * n):
            suggestion = next(own if (self._n_measured + i) % ROUND == 0 else hits, None)
            if suggestion is not None:
                merged.setdefault(suggestion.pixel, suggestion)
        return list(merged.values())[:n]

    def _choose(self, n: int) -> list[Suggestion]:
        """Return up to `n` pixels by the sampler's own policy; n ≥ 1, and at least one pixel is left."""
        raise NotImplementedError

    def ingest(self, pixel: int, label: int) -> None:
        """Take a measured label; see `protocols.Sampler`."""
        raise NotImplementedError

    def reconstruct(self) -> NDArray[np.uint8]:
        """Return the map, (rows, columns); see `protocols.Sampler`."""
        raise NotImplementedError

    @property
    def covers_smallest_feature(self) -> bool:
        """Whether 99 % of the patches of the smallest feature hold a measured pixel, if one was asked for."""
        return self._coverage is None or self._coverage.complete

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
            if self._coverage is not None:
                self._coverage.take(pixel)
        return before
