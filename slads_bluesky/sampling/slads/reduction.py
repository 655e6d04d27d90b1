"""The training target: the reduction in distortion of each unmeasured pixel, as a Gaussian-weighted count.

R_s ≈ Σ_r exp(−|r − s|² / 2σ_s²) [X_r ≠ X̂_r] over the 15 × 15 window around s, with σ_s = d₁(s) / c. The exact
reduction of Eq. 3 of the paper would need a reconstruction per pixel, and samples worse: it is greedy.

Source: Godaliyadda et al., IEEE Trans. Comput. Imaging 4 (2018) 1–16, section III.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["HALF_WINDOW", "gaussian_reduction"]

HALF_WINDOW = 7


@njit(cache=True)
def _gaussian_reduction(wrong, pixels, nearest2, cs, out):  # type: ignore[no-untyped-def]
    rows, columns = wrong.shape
    for i in range(pixels.size):
        row, column = pixels[i] // columns, pixels[i] % columns
        for y in range(max(0, row - HALF_WINDOW), min(rows, row + HALF_WINDOW + 1)):
            for x in range(max(0, column - HALF_WINDOW), min(columns, column + HALF_WINDOW + 1)):
                if wrong[y, x]:
                    d2 = (y - row) ** 2 + (x - column) ** 2
                    for j in range(cs.size):
                        out[i, j] += np.exp(-0.5 * d2 * cs[j] * cs[j] / nearest2[i])


def gaussian_reduction(
    wrong: NDArray[np.bool_],
    pixels: NDArray[np.int64],
    nearest2: NDArray[np.float64],
    cs: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the Gaussian reduction in distortion of `pixels`, for every c at once.

    Parameters
    ----------
    wrong : (rows, columns) bool array
        Where the reconstruction differs from the truth.
    pixels : (n,) int64 array
        Flat indices.
    nearest2 : (n,) float64 array
        Squared distance of each to its nearest measured pixel.
    cs : (m,) float64 array
        Values of c.

    Returns
    -------
    (n, m) float64 array
        In pixels of the map.
    """
    out = np.zeros((pixels.size, cs.size))
    _gaussian_reduction(wrong, pixels, nearest2, cs, out)
    return out
