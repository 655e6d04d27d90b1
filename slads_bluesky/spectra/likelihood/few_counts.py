"""The compiled fit of one phase to a spectrum whose counts lie in few bins: what `marginal` does, in less time.

Directions are centred, so a spectrum p + Σ θ_k d_k has the sum 1 wherever no bin is held at its floor, and only the
bins that hold counts enter likelihood and score. At the end all bins are computed; where one is held at its floor,
the caller continues with all of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..jit import compiled
from .marginal import REFRESH_COUNTS, climb, spectrum_at

__all__ = ["few_bins", "fit_few"]

MOST_FILLED = 0.5
"""Part of the bins that may hold counts, at most."""
ROUNDING = 1e-9


@compiled
def few_bins(bins: NDArray[np.float64], total: float, centred: bool) -> NDArray[np.int64]:
    """Bins that hold counts, (m,); empty if they or the counts are too many for `fit_few`, or not `centred`."""
    n = 0
    for g in range(len(bins)):
        if bins[g] != 0.0:
            n += 1
    if not centred or total > REFRESH_COUNTS or n > MOST_FILLED * len(bins):
        return np.empty(0, np.int64)
    filled = np.empty(n, np.int64)
    n = 0
    for g in range(len(bins)):
        if bins[g] != 0.0:
            filled[n] = g
            n += 1
    return filled


@compiled
def fit_few(
    bins: NDArray[np.float64],
    total: float,
    filled: NDArray[np.int64],
    shape: NDArray[np.float64],
    directions: NDArray[np.float64],
    fisher: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    precision: NDArray[np.float64],
    steps: int,
    theta: NDArray[np.float64],
    mu: NDArray[np.float64],
) -> tuple[float, bool, bool]:
    """Do what `marginal.climb` does, with the bins `filled` (m,) alone.

    Its third value says whether the result is that: no bin is held at its floor. Else the fit is to be continued.
    """
    size, n = len(theta), len(filled)
    counts, plain, here = np.empty(n), np.empty(n), np.empty(n)
    near = np.empty((size, n))
    for i in range(n):
        counts[i] = bins[filled[i]]
        plain[i] = shape[filled[i]]
    for k in range(size):
        row = directions[k]
        for i in range(n):
            near[k, i] = row[filled[i]]
    value, ended = climb(counts, total, plain, near, fisher, low, high, precision, steps, theta, here, False)
    whole = abs(spectrum_at(shape, directions, theta, mu, True) - 1.0) < ROUNDING
    return value, ended, whole
