"""Label images from grey-level images, as the paper makes its training images from backscatter images (3.1.1).

A median filter, multi-Otsu thresholds, and patches that are too small to be grains given to what surrounds them.

Source: P.-S. Liao, T.-S. Chen, P.-C. Chung, J. Inf. Sci. Eng. 17 (2001) 713–727, for multi-Otsu.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .labels import fill_from_nearest

__all__ = ["MOST_PHASES", "drop_small_patches", "segment"]

MOST_PHASES = 6


def drop_small_patches(labels: NDArray[np.uint8], smallest: int) -> NDArray[np.uint8]:
    """Give connected patches (4-neighbours) of fewer than `smallest` pixels the label of the nearest larger patch.

    Parameters
    ----------
    labels : (rows, columns) uint8 array
        Labels; 0 is one like the others.
    smallest : int
        Pixels of the smallest patch that is kept.

    Returns
    -------
    (rows, columns) uint8 array
        `labels` itself where no patch, or every one, is too small.
    """
    from scipy import ndimage

    small = np.zeros(labels.shape, bool)
    for label in np.unique(labels):
        patches, n = ndimage.label(labels == label)
        sizes = np.bincount(patches.ravel(), minlength=n + 1)
        sizes[0] = smallest
        small |= sizes[patches] < smallest
    return fill_from_nearest(labels, small)


def segment(
    image: NDArray[Any], phases: int, *, window: int = 3, smallest: int = 6, name: str = "image"
) -> NDArray[np.uint8]:
    """Segment a grey-level image into phases, the darkest 1.

    Parameters
    ----------
    image : (rows, columns) array, or (rows, columns, 3 or 4)
        Grey levels; of a colour image the mean of red, green and blue.
    phases : int
        Number of phases, 2 to `MOST_PHASES`.
    window : int
        Side of the median filter in pixels, 1 for none.
    smallest : int
        Patches of fewer pixels are dropped.
    name : str
        What messages call the image.

    Returns
    -------
    (rows, columns) uint8 array
        Labels 1 … phases, each present.

    Raises
    ------
    DataError
        If the image has another number of dimensions, holds values that are not finite, or too few grey levels.
    """
    from scipy import ndimage
    from skimage.filters import threshold_multiotsu

    if not 2 <= phases <= MOST_PHASES:
        raise DataError(f"phases must lie in 2 … {MOST_PHASES}, not {phases}")
    grey = np.asarray(image)
    if grey.ndim == 3 and grey.shape[2] in (3, 4):
        grey = grey[..., :3].mean(axis=2)
    if grey.ndim != 2 or grey.size == 0:
        raise DataError(f"{name} must be a grey-level image of 2 dimensions, its shape is {np.shape(image)}")
    grey = grey.astype(np.float64)
    if not np.isfinite(grey).all():
        raise DataError(f"{name} holds values that are not finite")
    if window > 1:
        grey = ndimage.median_filter(grey, size=window, mode="nearest")
    try:
        thresholds = threshold_multiotsu(grey, classes=phases)  # type: ignore[no-untyped-call]
    except ValueError as error:
        raise DataError(f"{name} has too few grey levels for {phases} phases ({error})") from error
    labels = (np.digitize(grey, thresholds) + 1).astype(np.uint8)
    cleaned = drop_small_patches(labels, smallest)
    missing = sorted(set(range(1, phases + 1)) - set(np.unique(cleaned).tolist()))
    if missing:
        raise DataError(f"{name}: no patch of {smallest} pixels or more is left of phase {missing[0]}")
    return cleaned
