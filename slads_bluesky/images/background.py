"""What changes slowly over a frame: shading, and the levels of its lines where they charge.

A frame of a few phases has a few grey levels. Their mixture is fitted together with a quadratic shading and one
offset a line, by expectation and maximisation (Dempster et al., J. R. Stat. Soc. B 39 (1977) 1; for shading Wells
et al., IEEE Trans. Med. Imaging 15 (1996) 429), so that neither is taken for the other: a line has as many pixels as
the frame has columns to fix its offset with.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["frame_background"]

LEVELS = (1, 2, 3, 4, 6)
"""Numbers of grey levels that are tried; more than there are do no harm, fewer do."""
PENALTY = 1e-3
"""Mean logarithm of the likelihood that one level more has to gain."""
ITERATIONS = 30
MOST_PIXELS = 1 << 16
"""Pixels that are fitted; of a larger frame every so many columns."""
LEAST_VARIANCE = 0.02
"""Of a level, in units of the noise's."""
FEW = 4.0
"""Pixels without offset that each line is given besides its own, so that a short line is not bent."""


class _Fit(NamedTuple):
    shading: NDArray[np.float64]
    """(5,) coefficients of y, x, y², yx, x² in -1 … 1."""
    lines: NDArray[np.float64]
    """(rows,)."""
    likelihood: float
    """Mean logarithm."""


def frame_background(level: NDArray[np.float64], start: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return shading and line offsets of a frame.

    Parameters
    ----------
    level : (rows, columns) float64
        Grey in units of the noise.
    start : (rows,) array
        First guess of the line offsets.

    Returns
    -------
    (rows, columns) float64 array
        To be taken off; its mean is of no meaning.

    Examples
    --------
    Two levels under a shading of twice their difference:

    >>> import numpy as np
    >>> rows, columns = np.mgrid[:48, :48]
    >>> phases = 4.0 * ((rows // 6 + columns // 6) % 2)
    >>> shading = 8.0 * columns / 47
    >>> noise = np.random.default_rng(0).normal(size=phases.shape)
    >>> left = frame_background(phases + shading + noise, np.zeros(48)) - shading
    >>> bool(np.std(left) < 0.3)
    True
    """
    rows, columns = level.shape
    step = max(1, -(-level.size // MOST_PIXELS))
    grey = ndimage.gaussian_filter(level, 0.7)[:, step // 2 :: step]
    y, x = np.linspace(-1.0, 1.0, rows), np.linspace(-1.0, 1.0, columns)
    fits = [_fit(grey, _terms(y, x[step // 2 :: step]), np.asarray(start, np.float64), n) for n in LEVELS]
    best = max(zip(LEVELS, fits, strict=True), key=lambda found: found[1].likelihood - PENALTY * found[0])[1]
    a = best.shading
    bent = (a[0] * y + a[2] * y**2)[:, None] + a[1] * x + a[4] * x**2 + a[3] * y[:, None] * x
    return np.asarray(bent + best.lines[:, None])


def _terms(y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Terms of the shading at each pixel, (pixels, 5)."""
    down, across = (part.reshape(-1) for part in np.meshgrid(y, x, indexing="ij"))
    return np.column_stack([down, across, down**2, down * across, across**2])


def _fit(grey: NDArray[np.float64], terms: NDArray[np.float64], start: NDArray[np.float64], n: int) -> _Fit:
    """Fit `n` grey levels, shading and line offsets."""
    rows, columns = grey.shape
    y = np.linspace(-1.0, 1.0, rows)
    lines, shading = start - start.mean(), np.zeros(terms.shape[1])
    even = (grey - lines[:, None]).reshape(-1)
    levels = np.quantile(even, (np.arange(n) + 0.5) / n)
    share, variance = np.full(n, 1.0 / n), max(float(even.var()) / n**2, LEAST_VARIANCE)
    inner = terms.T @ terms
    likelihood = -np.inf
    for _ in range(ITERATIONS):
        even = (grey - lines[:, None]).reshape(-1)
        left = even - terms @ shading
        logs = -0.5 * (left - levels[:, None]) ** 2 / variance - 0.5 * np.log(variance)
        logs += np.log(share)[:, None]
        top = logs.max(axis=0)
        belongs = np.exp(logs - top)
        total = belongs.sum(axis=0)
        likelihood = float((top + np.log(total)).mean())
        belongs /= total
        share = belongs.mean(axis=1) + 1e-9
        # levels and shading together, by least squares
        cross = belongs @ terms
        normal = np.block([[np.diag(share * even.size), cross], [cross.T, inner]])
        wanted = np.concatenate([belongs @ even, terms.T @ even])
        found = np.linalg.solve(normal + 1e-3 * np.eye(wanted.size), wanted)
        levels, shading = found[:n], found[n:]
        left = even - terms @ shading
        variance = float((belongs * (left - levels[:, None]) ** 2).sum() / even.size)
        variance = max(variance, LEAST_VARIANCE)
        rest = (grey.reshape(-1) - terms @ shading - levels @ belongs).reshape(rows, columns)
        lines = rest.mean(axis=1) * columns / (columns + FEW)
        # what a quadratic along the columns can be is shading
        lines = lines - np.polynomial.Polynomial.fit(y, lines, 2)(y)
    return _Fit(shading, lines, likelihood)
