"""What was measured on a grid, and where more may be: what every sampler keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, DataError
from ..protocols import UNCLASSIFIED, UNMEASURED
from .masks import check_allowed
from .slads.state import MAX_LABELS

__all__ = ["GridSampler", "GridState", "check_labels", "label_array", "read_state"]

LARGEST = 4096
"""Rows and columns that a grid has at most."""


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
        """Different pixels ingested so far, ill ones included."""
        return self._n_measured

    @property
    def measured(self) -> NDArray[np.int16]:
        """(rows, columns): label of each measured pixel, 0 where ill, -1 where unmeasured; a copy."""
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
            raise DataError(f"label {label} at pixel {pixel} is none of {self._labels} and not 0 (ill)")
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

    def _take_all(self, measured: NDArray[np.int16]) -> None:
        """Take the labels of a whole grid in the place of those known."""
        self._measured[:] = measured
        known = measured != UNMEASURED
        self._n_measured = int(known.sum())
        self._n_open = int((self._allowed & ~known).sum())

    def _grid_state(self, kind: str, version: int) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Arrays and JSON that `read_state` understands."""
        arrays: dict[str, NDArray[Any]] = {
            "measured": self._measured.copy(),
            "inside": np.packbits(self._inside),
            "allowed": np.packbits(self._allowed),
        }
        facts: dict[str, Any] = {
            "sampler": kind,
            "version": version,
            "shape": list(self._shape),
            "labels": list(self._labels),
        }
        return arrays, facts


class GridState(NamedTuple):
    """What a `GridSampler` is made again from."""

    shape: tuple[int, int]
    measured: NDArray[np.int16]
    masks: dict[str, Any]
    """Arguments ``labels``, ``roi`` and ``forbidden``."""


def label_array(arrays: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, int]) -> NDArray[np.int16]:
    """Return the labels of a whole grid from a saved state; DataError if their shape is another."""
    array = np.array(arrays[name], np.int16)
    if array.shape != shape:
        raise DataError(f"sampler state: {name} has shape {array.shape}, the grid {shape}")
    return array


def read_state(
    arrays: Mapping[str, NDArray[Any]],
    facts: Mapping[str, Any],
    kinds: Sequence[str],
    version: int,
    model_sha256: str | None = None,
) -> GridState:
    """Read what every sampler's state has.

    Parameters
    ----------
    arrays, facts : mapping
        What ``state()`` gave.
    kinds : sequence of str
        Names of samplers whose state it may be.
    version : int
        The only version that is understood.
    model_sha256 : str, optional
        Hash of the model that is at hand; the one that decided must be the same.

    Raises
    ------
    DataError
        If it is another sampler's, another version's or another model's, or an array does not fit.
    KeyError
        If a field is missing; its name is the argument.
    """
    kind, found = facts["sampler"], int(facts["version"])
    if kind not in kinds or found != version:
        raise DataError(
            f"sampler state is of {kind!r} version {found}, wanted {' or '.join(map(repr, kinds))} {version}"
        )
    if model_sha256 is not None and facts["model_sha256"] != model_sha256:
        raise DataError(
            f"sampler state was made with model {facts['model_sha256'][:12]}, this is {model_sha256[:12]}"
        )
    shape = (int(facts["shape"][0]), int(facts["shape"][1]))
    size = shape[0] * shape[1]
    inside, allowed = (
        np.unpackbits(arrays[name])[:size].reshape(shape).astype(bool) for name in ("inside", "allowed")
    )
    labels = [int(v) for v in facts["labels"]]
    measured = label_array(arrays, "measured", shape)
    strange = np.setdiff1d(measured, (UNMEASURED, UNCLASSIFIED, *labels))
    if strange.size:
        raise DataError(f"sampler state: measured holds label {strange[0]}, which is none of {labels}")
    return GridState(shape, measured, {"labels": labels, "roi": inside, "forbidden": ~allowed})
