"""The first pixels of a map: a low-discrepancy mask that spreads evenly over any shape and region.

Source: the static mask with which SLADS starts (paper, section 2.1; Godaliyadda et al., IEEE Trans. Comput.
Imaging 4 (2018) 1–16, start from 1 % of a low-discrepancy sequence).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from ..errors import ConfigError, DataError

__all__ = ["check_allowed", "initial_pixels", "random_pixels"]


def check_allowed(shape: tuple[int, int], allowed: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Return `allowed` as (rows, columns) bool, all True for None; DataError if its shape differs."""
    if allowed is None:
        return np.ones(shape, bool)
    mask = np.asarray(allowed, dtype=bool)
    if mask.shape != tuple(shape):
        raise DataError(f"mask has shape {mask.shape}, the grid {tuple(shape)}")
    return mask


def initial_pixels(
    shape: tuple[int, int],
    fraction: float = 0.01,
    *,
    seed: int = 0,
    allowed: NDArray[np.bool_] | None = None,
) -> NDArray[np.int32]:
    """Choose the first pixels by a scrambled Halton sequence.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the grid.
    fraction : float
        Part of the allowed pixels to choose, in (0, 1]; at least one pixel is chosen.
    seed : int
        Seed of the scrambling; the same seed gives the same pixels in the same order.
    allowed : (rows, columns) bool array, optional
        Pixels that may be chosen; all by default.

    Returns
    -------
    (n,) int32 array
        Flat indices (C order), each at most once, in the order of the sequence, so that the first m of them are
        spread evenly too.

    Raises
    ------
    ConfigError
        If `fraction` lies outside (0, 1].
    DataError
        If `allowed` has another shape or holds no pixel.
    """
    if not 0.0 < fraction <= 1.0:
        raise ConfigError(f"initial fraction must lie in (0, 1], not {fraction}")
    mask = check_allowed(shape, allowed).ravel()
    n_allowed = int(mask.sum())
    if n_allowed == 0:
        raise DataError("no pixel may be measured: the mask is empty")
    wanted = min(n_allowed, max(1, round(fraction * n_allowed)))
    sequence = qmc.Halton(2, scramble=True, rng=np.random.default_rng(seed))
    free = mask.copy()
    chosen: list[NDArray[np.int64]] = []
    found, drawn = 0, 0
    # A narrow region or a fraction near 1 makes the sequence miss for long: it gives up after 64 draws a pixel.
    while found < wanted and drawn < 64 * wanted + 4096:
        points = sequence.random(2 * (wanted - found) + 64)
        drawn += len(points)
        rows = np.minimum((points[:, 0] * shape[0]).astype(np.int64), shape[0] - 1)
        columns = np.minimum((points[:, 1] * shape[1]).astype(np.int64), shape[1] - 1)
        flat = rows * shape[1] + columns
        _, first = np.unique(flat, return_index=True)
        flat = flat[np.sort(first)]
        flat = flat[free[flat]][: wanted - found]
        free[flat] = False
        chosen.append(flat)
        found += flat.size
    if found < wanted:
        rest = np.flatnonzero(free)
        chosen.append(np.random.default_rng([seed, 1]).permutation(rest)[: wanted - found])
    return np.concatenate(chosen).astype(np.int32)


def random_pixels(
    shape: tuple[int, int], *, seed: int = 0, allowed: NDArray[np.bool_] | None = None
) -> NDArray[np.int32]:
    """Return all allowed pixels, flat, in random order: the plainest static mask, to compare with."""
    mask = check_allowed(shape, allowed)
    if not mask.any():
        raise DataError("no pixel may be measured: the mask is empty")
    return np.random.default_rng(seed).permutation(np.flatnonzero(mask)).astype(np.int32)
