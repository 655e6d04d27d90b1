"""Grey-level frames of the field, such as a backscatter image: checked, evened out, and with their noise taken off.

A frame shows what a phase map is drawn on, at a hundredth of its dose. Its noise is estimated from the frame itself,
and several planes are made of it: each removes noise in another way, and one shows where it is rough. Which of them
says something about the phases is for the measured pixels to decide (`slads_bluesky.sampling.imaging`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import DataError
from .background import frame_background
from .files import read_image

__all__ = [
    "check_frame",
    "fit_frame",
    "grey_planes",
    "line_offsets",
    "noise_level",
    "patch_plane",
    "read_frame",
    "rough_plane",
]

LARGE = 1 << 21
"""Pixels above which the slow filters are left out."""
_LAPLACE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float64)
_ROUGH = 3.0
"""Scale of the roughness, so that a bin of it is about as fine as one of grey."""


def check_frame(frame: NDArray[Any], shape: tuple[int, int] | None = None, name: str = "image") -> Any:
    """Return a frame as (rows, columns) float32.

    Parameters
    ----------
    frame : (rows, columns) or (rows, columns, colours) array
        Grey levels; colours are averaged, a fourth (opacity) is left out.
    shape : (int, int), optional
        What it must have.
    name : str
        What messages call the frame.

    Raises
    ------
    DataError
        If it is no image of numbers, not finite everywhere, of another shape, or the same grey everywhere.
    """
    array = np.asarray(frame)
    if array.ndim == 3 and array.shape[2] in (3, 4):
        array = array[..., :3].mean(axis=2)
    if array.ndim != 2 or array.dtype.kind not in "buif":
        raise DataError(f"{name} must be a grey-level image, not {array.dtype} of shape {array.shape}")
    if shape is not None and array.shape != tuple(shape):
        raise DataError(
            f"{name} has {array.shape[0]} × {array.shape[1]} pixels, the grid {shape[0]} × {shape[1]}"
        )
    grey = array.astype(np.float32)
    if not np.isfinite(grey).all():
        raise DataError(f"{name} holds values that are not finite")
    if min(grey.shape) < 3 or float(np.ptp(grey)) == 0.0:
        raise DataError(
            f"{name} shows nothing: it has the same grey everywhere or fewer than 3 rows or columns"
        )
    return grey


def read_frame(path: str | Path) -> NDArray[np.float32]:
    """Read a frame from a .npy, .png or .tif file; DataError naming the file if it is not one (`check_frame`)."""
    frame: NDArray[np.float32] = check_frame(read_image(path), name=str(path))
    return frame


def fit_frame(
    frame: NDArray[np.float32],
    shape: tuple[int, int],
    *,
    scale: tuple[float, float] | None = None,
    offset: tuple[float, float] = (0.0, 0.0),
) -> NDArray[np.float32]:
    """Sample a frame at the pixels of a grid.

    Parameters
    ----------
    frame : (rows, columns) float32
    shape : (int, int)
        Rows and columns of the grid.
    scale : (float, float), optional
        Frame pixels to one grid pixel, along y and x; by default the frame covers the grid's field.
    offset : (float, float)
        How far the frame's middle lies from the grid's, grid pixels along y and x.

    Returns
    -------
    (rows, columns) float32 array
        Averaged over a grid pixel where the frame is finer; beyond its edge the nearest grey.

    Examples
    --------
    >>> import numpy as np
    >>> fine = np.repeat(np.repeat(np.eye(4, dtype=np.float32), 3, axis=0), 3, axis=1)
    >>> np.round(fit_frame(fine, (4, 4))[1]).astype(int).tolist()
    [0, 1, 0, 0]
    """
    ratio = scale if scale is not None else (frame.shape[0] / shape[0], frame.shape[1] / shape[1])
    if not all(np.isfinite(r) and r > 0 for r in ratio):
        raise DataError(f"scale of a frame must be two positive numbers, not {ratio}")
    size = [max(1, round(r)) for r in ratio]
    smooth = (
        ndimage.uniform_filter(frame.astype(np.float64), size=size, mode="nearest")
        if max(size) > 1
        else frame
    )
    axes = [
        (np.arange(n) - (n - 1) / 2 - o) * r + (m - 1) / 2
        for n, o, r, m in zip(shape, offset, ratio, frame.shape, strict=True)
    ]
    at = np.meshgrid(*axes, indexing="ij")
    return np.asarray(ndimage.map_coordinates(smooth, at, order=1, mode="nearest"), np.float32)


def noise_level(frame: NDArray[np.float32]) -> float:
    """Standard deviation of the noise of a frame, of its own unit; above 0.

    Robust form of Immerkær, Comput. Vis. Image Underst. 64 (1996) 300: the median absolute second difference, which
    boundaries between phases hardly reach.
    """
    second = ndimage.convolve(frame.astype(np.float64), _LAPLACE, mode="reflect")
    sigma = float(1.4826 * np.median(np.abs(second)) / 6.0)
    return max(sigma, 1e-3 * float(np.std(frame)), 1e-12)


def line_offsets(frame: NDArray[np.float32], noise: float) -> NDArray[np.float32]:
    """Return the level of each line, (rows,), where lines jump against each other; zeros where they do not.

    Charging lets the level change from line to line. The step between two lines is the median of their differences,
    since most pixels have their own phase below them. Only what changes within a few lines is returned: over many
    the steps' own errors add up.
    """
    steps = np.median(np.diff(frame.astype(np.float64), axis=0), axis=1)
    by_chance = 1.2533 * np.sqrt(2.0) * noise / np.sqrt(frame.shape[1])
    spread = 1.4826 * float(np.median(np.abs(steps - np.median(steps))))
    if spread <= 2.0 * by_chance:
        return np.zeros(frame.shape[0], np.float32)
    level = np.concatenate([[0.0], np.cumsum(steps)])
    return np.asarray(level - ndimage.gaussian_filter1d(level, 8.0, mode="nearest"), np.float32)


def grey_planes(frame: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Make planes of a frame, in units of its noise, all but one without its background (`background`).

    Parameters
    ----------
    frame : (rows, columns) float32
        As `check_frame` returns it.

    Returns
    -------
    dict of str to (rows, columns) float32
        ``smooth`` by a Gaussian, ``plain`` likewise but with the background, in case that is none, ``median`` over
        3 × 3 pixels; where the frame is not too large ``flat`` by total
        variation (Rudin, Osher and Fatemi, Physica D 60 (1992) 259; piecewise constant) and ``patches`` by non-local
        means (Buades et al., CVPR 2005); ``rough``, the logarithm of the local variance.
    """
    noise = noise_level(frame)
    lines = line_offsets(frame, noise)[:, None] / noise
    level = frame.astype(np.float64) / noise
    planes = {"plain": ndimage.gaussian_filter(level - lines, 0.7)}
    level -= frame_background(level, lines[:, 0])
    planes |= {"smooth": ndimage.gaussian_filter(level, 0.7), "median": ndimage.median_filter(level, 3)}
    if frame.size <= LARGE:
        from skimage.restoration import denoise_tv_chambolle

        planes["flat"] = denoise_tv_chambolle(level / 6.0, weight=0.25, max_num_iter=60) * 6.0  # type: ignore[no-untyped-call]
        planes["patches"] = patch_plane(level)
    planes["rough"] = rough_plane(level)
    return {name: np.asarray(plane, np.float32) for name, plane in planes.items()}


def patch_plane(level: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return grey levels in units of their noise, (rows, columns), denoised by non-local means."""
    from skimage.restoration import denoise_nl_means

    found: NDArray[np.floating] = denoise_nl_means(
        level, patch_size=3, patch_distance=5, h=0.6, sigma=1.0, fast_mode=True
    )
    return found


def rough_plane(level: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the logarithm of the local variance of grey levels in units of their noise, (rows, columns)."""
    mean = ndimage.gaussian_filter(level, 1.0)
    variance = ndimage.gaussian_filter((level - mean) ** 2, 1.0)
    return np.asarray(_ROUGH * 0.5 * np.log(variance + 0.05))
