"""The map from few measured pixels: each pixel takes the vote of its nearest measured ones.

Source: the weighted mode of the references of the paper (Godaliyadda et al., 2018): k = 10 neighbours, weights
1/d², summed in float32 in the order of distance and label; of several labels with the largest weight the lowest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...images.labels import compact_labels, fill_from_nearest
from ..base import MAX_LABELS
from .state import OUTSIDE, Field, empty_field, to_grid

__all__ = ["knn_reconstruct", "label_map"]


def knn_reconstruct(
    measured: NDArray[np.int16], *, k: int = 10, roi: NDArray[np.bool_] | None = None
) -> NDArray[np.uint8]:
    """Reconstruct a map by the vote of the k nearest measured pixels.

    Parameters
    ----------
    measured : (rows, columns) int16 array
        Label of each measured pixel, 0 where unclassified (no vote), -1 where unmeasured: `Sampler.measured`.
    k : int
        Neighbours that vote.
    roi : (rows, columns) bool array, optional
        Region that is mapped; pixels outside take the label of the nearest measured one.

    Returns
    -------
    (rows, columns) uint8 array
        A label 1 … L for every pixel, measured pixels keep theirs.

    Raises
    ------
    DataError
        If no pixel has a phase.
    """
    from .engine import rebuild

    inside = np.ones(measured.shape, bool) if roi is None else np.asarray(roi, bool)
    voting = (measured > 0) & inside
    if not voting.any():
        raise DataError("no pixel with a phase is measured: there is nothing to reconstruct from")
    labels, compact = compact_labels(measured[voting])
    if labels.size > MAX_LABELS:
        raise DataError(f"{labels.size} different labels, at most {MAX_LABELS} can be mapped")
    field = empty_field(np.zeros(measured.shape, bool), inside, k=k, theta=np.zeros((7, 7)), radius=1)
    pixels = np.flatnonzero(voting.ravel()).astype(np.int32)
    rebuild(field, pixels, compact.astype(np.int32), labels.size)
    return label_map(field, labels)


def label_map(field: Field, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the reconstruction of `field` as labels, (rows, columns) uint8, filled outside the map."""
    compact = to_grid(field, field.recon)
    table = np.zeros(256, np.uint8)
    table[: labels.size] = labels
    return fill_from_nearest(table[compact], compact == OUTSIDE)
