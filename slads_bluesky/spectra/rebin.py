"""Spectra brought to another energy scale: counts conserved, and whole if they were whole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .axis import EnergyAxis

__all__ = ["SAME_DETECTOR", "rebinned", "same_detector"]

SAME_DETECTOR = (0.006, 0.03)
"""Relative difference of the channel width, and of the offset in keV, up to which two scales are one detector's."""


def same_detector(first: EnergyAxis, second: EnergyAxis) -> bool:
    """Whether two scales differ by no more than a detector drifts, or files round.

    Channels may be as many as they like: what lies over the shorter range is empty.
    """
    width, offset = SAME_DETECTOR
    return (
        abs(first.width_kev / second.width_kev - 1.0) <= width
        and abs(first.offset_kev - second.offset_kev) <= offset
    )


def rebinned(
    counts: NDArray[np.generic],
    source: EnergyAxis,
    target: EnergyAxis,
    rng: np.random.Generator | None = None,
) -> NDArray[np.float64]:
    """Counts on another energy scale.

    A channel's counts are shared among the new channels that it overlaps, by their overlap. With `rng` each count is
    put into one of them at random (a multinomial draw), so that Poisson counts stay Poisson counts, independent from
    channel to channel; without it the shares are expectations, smoother than counts are.

    Parameters
    ----------
    counts : (..., n_channels) array
    source, target : EnergyAxis
    rng : numpy.random.Generator, optional

    Returns
    -------
    (..., target.n_channels) float64
        What lies outside the target's range is left out; all else is conserved.

    Raises
    ------
    DataError
        If the spectra have not the source's channels, or with `rng` are not whole.

    Examples
    --------
    >>> import numpy as np
    >>> from slads_bluesky.spectra.axis import EnergyAxis
    >>> fine, coarse = EnergyAxis(0.0, 0.005, 40), EnergyAxis(0.0025, 0.01, 20)
    >>> float(rebinned(np.ones(40), fine, coarse).sum())
    40.0
    """
    array = np.asarray(counts, dtype=np.float64)
    if array.shape[-1:] != (source.n_channels,):
        raise DataError(f"spectra: shape {array.shape}, expected (..., {source.n_channels})")
    edges, wanted = source.edges(), target.edges()
    if rng is None:
        cumulative = np.concatenate([np.zeros((*array.shape[:-1], 1)), np.cumsum(array, axis=-1)], axis=-1)
        place = np.clip((wanted - edges[0]) / source.width_kev, 0.0, source.n_channels)
        low = np.minimum(place.astype(np.intp), source.n_channels - 1)
        part = place - low
        at = cumulative[..., low] * (1.0 - part) + cumulative[..., low + 1] * part
        return np.asarray(np.diff(at, axis=-1))
    whole = array.astype(np.int64)
    if (whole != array).any() or (whole < 0).any():
        raise DataError("spectra: only whole counts can be put into channels at random")
    out = np.zeros((*array.shape[:-1], target.n_channels))
    flat, result = whole.reshape(-1, source.n_channels), out.reshape(-1, target.n_channels)
    for row, made in zip(flat, result, strict=True):
        channel = np.repeat(np.arange(source.n_channels), row)
        energy = edges[0] + (channel + rng.random(len(channel))) * source.width_kev
        index = np.floor((energy - wanted[0]) / target.width_kev).astype(np.intp)
        index = index[(index >= 0) & (index < target.n_channels)]
        made += np.bincount(index, minlength=target.n_channels)
    return out
