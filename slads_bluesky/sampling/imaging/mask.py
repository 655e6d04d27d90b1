"""First pixels of a map with a frame: half of them spread evenly, half where the frame looks different.

A phase that the initial mask does not meet is not in the model of the frame either. So every second pixel goes to
where the grey is farthest from that of the pixels already chosen, near or far: farthest-point sampling (Eldar et al.,
IEEE Trans. Image Process. 6 (1997) 1305) in position and grey. A frame in which all that differs is noise has nothing
to look at: all pixels are spread evenly then.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..masks import initial_pixels

__all__ = ["guided_pixels"]

CANDIDATES = 8
"""Even pixels for each that is chosen among them."""
MOST_CANDIDATES = 16384
GREY = 4.0
"""Difference in grey that counts as much as the mean distance between chosen pixels, in units of the noise."""

CHANCE = 0.41
"""Standard deviation of a median over 3 × 3 pixels of noise, in units of the noise."""
WIDER, FARTHEST = 1.25, 6.0
"""A frame shows something from so many times the spread of noise on, or where a pixel is so many standard deviations
off."""
_SPREAD = 4.65
"""From the first to the 99th per cent of a normal distribution, standard deviations."""


def _shows_something(plane: NDArray[np.float32]) -> bool:
    """Whether a plane differs by more than noise, somewhere or on the whole."""
    low, middle, high = np.percentile(plane, [1.0, 50.0, 99.0])
    spread = float(high - low) > WIDER * _SPREAD * CHANCE
    return spread or float(np.abs(plane - middle).max()) > FARTHEST * CHANCE


def guided_pixels(
    plane: NDArray[np.float32],
    fraction: float,
    *,
    seed: int,
    allowed: NDArray[np.bool_],
) -> NDArray[np.int32]:
    """Choose the first pixels.

    Parameters
    ----------
    plane : (rows, columns) float32
        Grey in units of the noise, which is taken off.
    fraction : float
        Part of the allowed pixels to choose.
    seed : int
        Of the even half and the candidates of the other.
    allowed : (rows, columns) bool
        Pixels that may be chosen.

    Returns
    -------
    (n,) int32 array
        Flat indices; as many as `masks.initial_pixels` gives, the two halves in turns.
    """
    even = initial_pixels(plane.shape, fraction, seed=seed, allowed=allowed)
    n_looked = even.size // 2
    if n_looked == 0 or not _shows_something(plane):
        return even
    kept = even[: even.size - n_looked]
    n_allowed = int(allowed.sum())
    n_candidates = min(max(CANDIDATES * n_looked, 2048), MOST_CANDIDATES, n_allowed)
    pool = initial_pixels(plane.shape, n_candidates / n_allowed, seed=seed + 1, allowed=allowed)
    pool = np.setdiff1d(pool, kept).astype(np.int64)
    flat = plane.reshape(-1)
    spacing = np.sqrt(n_allowed / even.size)

    def places(pixels: NDArray[np.signedinteger]) -> NDArray[np.float32]:
        row, column = np.divmod(pixels, plane.shape[1])
        return np.column_stack([row / spacing, column / spacing, flat[pixels] / GREY]).astype(np.float32)

    at = places(pool)
    apart = np.full(pool.size, np.inf, np.float32)
    for place in places(kept.astype(np.int64)):
        np.minimum(apart, ((at - place) ** 2).sum(axis=1), out=apart)
    looked = []
    for _ in range(min(n_looked, pool.size)):
        best = int(np.argmax(apart))
        looked.append(int(pool[best]))
        np.minimum(apart, ((at - at[best]) ** 2).sum(axis=1), out=apart)
    merged = np.empty(kept.size + len(looked), np.int32)
    merged[: 2 * len(looked) : 2] = kept[: len(looked)]
    merged[1 : 2 * len(looked) : 2] = looked
    merged[2 * len(looked) :] = kept[len(looked) :]
    return merged
