"""How wrong a map is, and how hard an object is to map: total distortion and boundary fraction."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

__all__ = ["boundary_fraction", "check_label_image", "total_distortion"]


def check_label_image(image: NDArray[Any], name: str = "label image") -> NDArray[np.uint8]:
    """Return `image` as uint8 if it is a label image, with 0 for ill pixels and phases from 1.

    Raises
    ------
    DataError
        If it is not two-dimensional, not of integers, empty, outside 0 to 255, or holds label 0 only.
    """
    array = np.asarray(image)
    if array.ndim != 2:
        raise DataError(f"{name} must have 2 dimensions, it has {array.ndim} (shape {array.shape})")
    if array.size == 0:
        raise DataError(f"{name} is empty (shape {array.shape})")
    if array.dtype == bool or not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"{name} must hold integer labels, it holds {array.dtype}")
    if int(array.min()) < 0 or int(array.max()) > 255:
        raise DataError(f"{name} must hold labels 0 to 255, it holds {array.min()} to {array.max()}")
    if not array.any():
        raise DataError(f"{name} holds label 0 only: no phase to map")
    return np.ascontiguousarray(array, dtype=np.uint8)


def total_distortion(
    truth: NDArray[np.uint8], reconstruction: NDArray[np.uint8], mask: NDArray[np.bool_] | None = None
) -> float:
    """Fraction of the pixels that the reconstruction has wrong, Eq. 14 of the paper.

    Parameters
    ----------
    truth, reconstruction : (rows, columns) uint8 arrays
        Labels. Pixels whose truth is 0 (ill) have no phase and are not counted.
    mask : (rows, columns) bool array, optional
        Pixels to count; all by default.

    Returns
    -------
    float
        0 … 1; NaN if no pixel counts.
    """
    if truth.shape != reconstruction.shape:
        raise DataError(f"truth has shape {truth.shape}, the reconstruction {reconstruction.shape}")
    counted = truth > 0 if mask is None else (truth > 0) & mask
    n = int(np.count_nonzero(counted))
    return int(np.count_nonzero((truth != reconstruction) & counted)) / n if n else float("nan")


def boundary_fraction(labels: NDArray[Any], *, unclassified: int | None = 0) -> float:
    """Fraction b of the pixels with a 4-neighbour of another label; unclassified pixels make no boundary.

    Parameters
    ----------
    labels : (rows, columns) integer array
        Labels.
    unclassified : int or None, optional
        The label that stands for no phase; None if each label is a phase.

    Returns
    -------
    float
        0 … 1, of the pixels that have a phase; NaN if none has.

    Examples
    --------
    >>> import numpy as np
    >>> boundary_fraction(np.array([[1, 1, 1, 2]]))
    0.5
    """
    has_phase = np.ones(labels.shape, bool) if unclassified is None else labels != unclassified
    edge = np.zeros(labels.shape, bool)
    for near, far in (
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
    ):
        differ = (labels[near] != labels[far]) & has_phase[near] & has_phase[far]
        edge[near] |= differ
        edge[far] |= differ
    n = int(np.count_nonzero(has_phase))
    return int(edge.sum()) / n if n else float("nan")
