"""Label images: what one is, which labels it holds, and labels numbered without gaps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

__all__ = ["check_label_image", "compact_labels", "fill_from_nearest", "label_positions", "number_labels"]

_N_VALUES = 256
"""Values of a label, 0 to 255."""


def check_label_image(image: NDArray[Any], name: str = "label image") -> NDArray[np.uint8]:
    """Return `image` as uint8 if it is a label image, with 0 for unclassified pixels and phases from 1.

    Parameters
    ----------
    image : (rows, columns) integer array
        Labels.
    name : str
        What messages call the image.

    Returns
    -------
    (rows, columns) uint8 array
        C-contiguous.

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
    if int(array.min()) < 0 or int(array.max()) > _N_VALUES - 1:
        raise DataError(f"{name} must hold labels 0 to 255, it holds {array.min()} to {array.max()}")
    if not array.any():
        raise DataError(f"{name} holds label 0 only: no phase to map")
    return np.ascontiguousarray(array, dtype=np.uint8)


def label_positions(labels: NDArray[Any], values: NDArray[Any]) -> NDArray[np.int16]:
    """Return for each label its position in `values`, -1 for one that is not among them.

    Parameters
    ----------
    labels : integer array of any shape
        Labels -1 (unmeasured) to 255.
    values : (n,) integer array
        Different labels 0 to 255.

    Returns
    -------
    int16 array of the shape of `labels`
        0 … n - 1, or -1.
    """
    table = np.full(_N_VALUES + 1, -1, np.int16)  # the last entry is that of label -1
    table[values] = np.arange(values.size, dtype=np.int16)
    return np.asarray(table[labels], np.int16)


def compact_labels(labels: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    """Number the phases of a label image 0 … L - 1, in the order of their labels.

    Parameters
    ----------
    labels : integer array of any shape
        Labels -1 (unmeasured) or 0 (unclassified) to 255.

    Returns
    -------
    values : (L,) uint8 array
        The labels above 0 that are present, ascending.
    compact : int16 array of the shape of `labels`
        Position of each label in `values`, -1 where the label is 0 or -1.

    Examples
    --------
    >>> import numpy as np
    >>> values, compact = compact_labels(np.array([[3, 0], [200, 3]]))
    >>> values.tolist(), compact.tolist()
    ([3, 200], [[0, -1], [1, 0]])
    """
    values = np.unique(labels[labels > 0]).astype(np.uint8)
    return values, label_positions(labels, values)


def number_labels(numbers: NDArray[Any], *, most_frequent_first: bool = False) -> NDArray[np.uint8]:
    """Make a label image of any whole numbers: the labels 1 … L.

    Parameters
    ----------
    numbers : integer array of any shape
        At most 255 different ones, each a phase; 0 too.
    most_frequent_first : bool
        Label 1 is the most frequent number instead of the least one.

    Returns
    -------
    uint8 array of the shape of `numbers`

    Examples
    --------
    >>> number_labels(np.array([[7, 0], [7, 900]])).tolist()
    [[2, 1], [2, 3]]
    >>> number_labels(np.array([[7, 0], [7, 900]]), most_frequent_first=True).tolist()
    [[1, 2], [1, 3]]
    """
    values, positions, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    labels = np.arange(1, values.size + 1, dtype=np.uint8)
    if most_frequent_first:
        labels[np.argsort(-counts, kind="stable")] = np.arange(1, values.size + 1)
    return np.asarray(labels[positions.reshape(np.shape(numbers))], np.uint8)


def fill_from_nearest(labels: NDArray[np.uint8], unknown: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Give pixels that are `unknown` the label of the nearest pixel that is not.

    Parameters
    ----------
    labels : (rows, columns) uint8 array
        Labels.
    unknown : (rows, columns) bool array
        Pixels to fill. Where none or all are, `labels` comes back as it is.

    Returns
    -------
    (rows, columns) uint8 array
    """
    if not unknown.any() or unknown.all():
        return labels
    from scipy.ndimage import distance_transform_edt

    rows, columns = distance_transform_edt(unknown, return_distances=False, return_indices=True)
    filled: NDArray[np.uint8] = labels[rows, columns]
    return filled
