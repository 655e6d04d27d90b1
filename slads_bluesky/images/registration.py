"""How far two frames, or a frame and a phase map, are displaced against each other.

Two frames of the same signal are registered by phase correlation. A frame and a map have no signal in common: the
displacement is the one at which the labels explain most of the grey, by the correlation ratio (Roche et al.,
MICCAI 1998, 1115), for which a few measured pixels suffice.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import DataError

__all__ = ["Displacement", "displaced", "frame_displacement", "label_displacement", "shading_terms"]

REACH = 8
"""Farthest displacement that is looked for, pixels along each axis."""
LEAST = 24
"""With fewer labelled pixels a frame is taken as it stands."""
CERTAIN = 12.0
"""Logarithm of the likelihood ratio from which a displacement is believed: above that of 289 by chance."""

HALF = 0.5
"""Step in which a whole displacement is refined first, pixels."""
FINE = np.linspace(-1.0, 1.0, 9)
"""Displacements from there through whose costs a paraboloid is laid: one number is noisier than its shape."""
MOST_LABELS = 4096
"""Labels that a displacement is refined with."""


class Displacement(NamedTuple):
    """Where the map's pixel (r, c) lies in a frame: at (r + y, c + x)."""

    y: float
    x: float
    gain: float
    """Logarithm of the likelihood ratio against no displacement."""


def frame_displacement(moving: NDArray[np.float32], fixed: NDArray[np.float32]) -> tuple[float, float]:
    """Return how far `moving` lies from `fixed`, (y, x) pixels, by phase correlation to a tenth of a pixel.

    Guizar-Sicairos et al., Opt. Lett. 33 (2008) 156.

    Parameters
    ----------
    moving, fixed : (rows, columns) float32
        Frames of the same signal and scale.

    Raises
    ------
    DataError
        If they differ in shape.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import ndimage
    >>> fixed = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(64, 64)), 2).astype(np.float32)
    >>> y, x = frame_displacement(np.roll(fixed, (3, -2), axis=(0, 1)), fixed)
    >>> round(y), round(x)
    (3, -2)
    """
    if moving.shape != fixed.shape:
        raise DataError(f"frames of {moving.shape} and {fixed.shape} pixels cannot be registered")
    from skimage.registration import phase_cross_correlation

    shift, *_ = phase_cross_correlation(fixed, moving, upsample_factor=10)  # type: ignore[no-untyped-call]
    return -float(shift[0]), -float(shift[1])


def displaced(plane: NDArray[np.float32], y: float, x: float) -> NDArray[np.float32]:
    """Return a plane as it lies under the map's pixels: at (r, c) its value at (r + y, c + x), bilinear."""
    if y == 0.0 and x == 0.0:
        return plane
    return np.asarray(ndimage.shift(plane, (-y, -x), order=1, mode="nearest"), np.float32)


def shading_terms(rows: NDArray[np.float64], columns: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Columns of a polynomial in -1 … 1 coordinates, as many as `n` labelled pixels can determine.

    None below 30, the two linear ones below 80, and those of the second degree from there on.
    """
    if n < 30:
        return np.zeros((rows.size, 0))
    linear = [rows, columns]
    return np.column_stack(linear if n < 80 else [*linear, rows**2, rows * columns, columns**2])


def label_displacement(
    plane: NDArray[np.float32],
    pixels: NDArray[np.int64],
    labels: NDArray[np.int64],
    reach: int = REACH,
    certain: float = CERTAIN,
) -> Displacement:
    """Find where the labels of some pixels explain most of the grey of a frame.

    Parameters
    ----------
    plane : (rows, columns) float32
        Grey.
    pixels : (n,) int64
        Flat indices of the labelled pixels.
    labels : (n,) int64
        Their labels.
    reach : int
        Farthest displacement, pixels along each axis.
    certain : float
        Least `Displacement.gain` of one that is believed.

    Returns
    -------
    Displacement
        To an eighth of a pixel; none where it would not be believed (`CERTAIN`), or too few pixels are labelled.

    Notes
    -----
    The grey is fitted by a level for each label and a polynomial shading; with W the sum of squares that remains, the
    logarithm of the likelihood ratio of two displacements is (n / 2) log(W₀ / W₁).
    """
    none = Displacement(0.0, 0.0, 0.0)
    present, code = np.unique(labels, return_inverse=True)
    if pixels.size < LEAST or present.size < 2:
        return none
    row, column = np.divmod(pixels, plane.shape[1])
    scaled = [2.0 * at / max(1, side - 1) - 1.0 for at, side in zip((row, column), plane.shape, strict=True)]
    design = np.column_stack([np.eye(present.size)[code], shading_terms(scaled[0], scaled[1], pixels.size)])
    basis, _ = np.linalg.qr(design)

    blurred = ndimage.gaussian_filter(plane.astype(np.float64), 1.0)
    padded = np.pad(blurred, reach + 1, mode="edge")
    steps = np.arange(-reach - 1, reach + 2)
    left = np.empty((steps.size, steps.size))
    for i, dy in enumerate(steps):
        at = (row[:, None] + dy + reach + 1, column[:, None] + steps + reach + 1)
        grey = padded[at]
        left[i] = (grey**2).sum(axis=0) - ((basis.T @ grey) ** 2).sum(axis=0)
    cost = 0.5 * pixels.size * np.log(np.maximum(left, 1e-9))
    inner = cost[1:-1, 1:-1]
    i, j = (int(k) + 1 for k in np.unravel_index(int(np.argmin(inner)), inner.shape))
    gain = float(cost[reach + 1, reach + 1] - cost[i, j])
    if gain < certain:
        return none
    y, x = _refined(blurred, row, column, basis, (i - reach - 1, j - reach - 1))
    return Displacement(y, x, gain)


def _refined(
    blurred: NDArray[np.float64],
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    basis: NDArray[np.float64],
    near: tuple[int, int],
) -> tuple[float, float]:
    """Displacement to an eighth of a pixel, within one and a half of `near`.

    The frame is blurred so much that a cubic spline has the same noise between pixels as on them: fractions compare.
    """
    spline = ndimage.spline_filter(blurred)
    some = slice(None, None, -(-row.size // MOST_LABELS))
    at, across = row[some].astype(np.float64), column[some].astype(np.float64)
    if at.size < row.size:
        basis, _ = np.linalg.qr(basis[some])

    def left(y: float, x: float) -> float:
        grey = ndimage.map_coordinates(spline, [at + y, across + x], prefilter=False, mode="nearest")
        return float((grey**2).sum() - ((basis.T @ grey) ** 2).sum())

    coarse = HALF * np.arange(-3, 4)
    _, y, x = min(
        (left(near[0] + dy, near[1] + dx), near[0] + dy, near[1] + dx) for dy in coarse for dx in coarse
    )
    dy, dx = (part.reshape(-1) for part in np.meshgrid(FINE, FINE, indexing="ij"))
    cost = np.log(np.maximum([left(y + a, x + b) for a, b in zip(dy, dx, strict=True)], 1e-9))
    terms = np.column_stack([np.ones(dy.size), dy, dx, dy**2 / 2, dy * dx, dx**2 / 2])
    (_, *slope, yy, yx, xx), *_ = np.linalg.lstsq(terms, cost, rcond=None)
    if yy > 0 and yy * xx > yx**2:
        lowest = np.clip(-np.linalg.solve([[yy, yx], [yx, xx]], slope), FINE[0], FINE[-1])
    else:
        lowest = np.array([dy, dx])[:, int(np.argmin(cost))]
    return round(8 * float(y + lowest[0])) / 8, round(8 * float(x + lowest[1])) / 8
