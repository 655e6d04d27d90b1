"""What every classifier asks of the counts that it is given, and of the phases that it is trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, DataError

__all__ = ["MAX_COUNTS", "check_batch", "check_counts", "check_phases", "check_training"]

MAX_PHASES = 254
"""Labels are uint8; 0 is `UNCLASSIFIED`."""
MAX_COUNTS = 2**31 - 1
"""Counts that a channel may hold: what an Event's int32 does."""


def check_counts(counts: NDArray[Any], n_channels: int) -> NDArray[Any]:
    """One spectrum, (n_channels,), as an array; DataError naming what is wrong with it."""
    array = np.asarray(counts)
    if array.shape != (n_channels,):
        raise DataError(f"spectrum: shape {array.shape}, expected ({n_channels},)")
    return _check_values(array)


def check_batch(counts: NDArray[Any], n_channels: int) -> NDArray[Any]:
    """Spectra (n, n_channels) as an array; DataError naming what is wrong with them."""
    array = np.asarray(counts)
    if array.ndim != 2 or array.shape[1] != n_channels:
        raise DataError(f"spectra: shape {array.shape}, expected (n, {n_channels})")
    return _check_values(array)


def _check_values(array: NDArray[Any]) -> NDArray[Any]:
    kind = array.dtype.kind
    if kind not in "iuf":
        raise DataError(f"spectrum: counts must be numbers, not {array.dtype}")
    if array.size:
        low, high = array.min(), array.max()  # NaN, if there is one
        if not low >= 0:
            raise DataError(f"spectrum: counts must be finite and not negative, found {low}")
        if not np.isfinite(high):
            raise DataError(f"spectrum: counts must be finite, found {high}")
        if high > MAX_COUNTS:
            raise DataError(f"spectrum: {high:g} counts in a channel are more than {MAX_COUNTS}")
    return array


def check_phases(names: Iterable[str]) -> tuple[str, ...]:
    """Names of phases; ConfigError if there are none or too many, or one is empty or comes twice."""
    phases = tuple(names)
    if not 1 <= len(phases) <= MAX_PHASES:
        raise ConfigError(f"a classifier takes 1 to {MAX_PHASES} phases, not {len(phases)}")
    for name in phases:
        if not (isinstance(name, str) and name.strip()):
            raise ConfigError(f"a phase needs a name, not {name!r}")
        if phases.count(name) > 1:
            raise ConfigError(f"phase {name!r} is named twice")
    return phases


def check_training(
    spectra: Mapping[str, NDArray[Any]], n_channels: int, least: int
) -> dict[str, NDArray[np.float64]]:
    """Training spectra by phase, each (M, n_channels) with M ≥ `least` and counts in each spectrum."""
    checked: dict[str, NDArray[np.float64]] = {}
    for name in check_phases(spectra):
        try:
            array = check_batch(np.atleast_2d(np.asarray(spectra[name])), n_channels)
        except DataError as error:
            raise DataError(f"phase {name!r}: {error}") from error
        if len(array) < least:
            raise DataError(f"phase {name!r}: {len(array)} training spectra, needs {least} or more")
        empty = np.flatnonzero(array.sum(axis=1) <= 0)
        if len(empty):
            raise DataError(f"phase {name!r}: training spectrum {empty[0]} holds no counts")
        checked[name] = array.astype(np.float64)
    return checked
