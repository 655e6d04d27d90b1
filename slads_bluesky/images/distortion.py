"""How wrong a map is, and how hard an object is to map: total distortion and boundary fraction."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

__all__ = ["boundary_fraction", "total_distortion"]


def total_distortion(
    truth: NDArray[np.uint8], reconstruction: NDArray[np.uint8], mask: NDArray[np.bool_] | None = None
) -> float:
    """Fraction of the pixels that the reconstruction has wrong, Eq. 14 of the paper.

    Parameters
    ----------
    truth, reconstruction : (rows, columns) uint8 arrays
        Labels. Pixels whose truth is 0 (unclassified) have no phase and are not counted.
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
