"""What a network sees of an image beside the labels: for each of a few grey planes, which label its grey speaks for.

The grey itself means nothing to a network that shall serve every specimen. Its likelihood under each label is learnt
from the measured pixels (`imaging.evidence.grey_tables`); the network sees the logarithm of the ratio for one label
against the rest, pixel by pixel, and has learnt what shapes and boundaries make of it, noise included. One more plane
holds the share of the labels that may be wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..imaging.evidence import BINS, AlignedPlanes, grey_tables
from .inputs import N_PLANES

__all__ = [
    "GREYS",
    "NOISE_UNIT",
    "N_GUIDED",
    "RATIO_UNIT",
    "STRONGEST",
    "Beside",
    "ImageInput",
    "fold_ratios",
    "image_input",
    "ratio_tables",
]

GREYS = ("smooth", "plain", "patches", "rough")
"""Planes of a frame (`images.frames.grey_planes`) that the network sees; one that is not there says nothing."""
N_GUIDED = N_PLANES + len(GREYS) + 1
STRONGEST = 6.0
"""Largest absolute logarithm of a ratio; a table's ±127."""
RATIO_UNIT = STRONGEST / 127 / 3
"""What the network sees of 1 in a table."""
NOISE_UNIT = 0.05
"""Share of wrong labels that the last plane shows as 1."""


class Beside(NamedTuple):
    """What a network sees beside the distances of one label."""

    ratios: NDArray[np.int8]
    """(len(GREYS), rows, columns), as of `ratio_tables`; zeros without a frame."""
    noise: float
    """Share of the labels that may be wrong."""


def ratio_tables(
    bins: Mapping[str, NDArray[np.uint8]],
    width: Mapping[str, float],
    counts: Mapping[str, NDArray[np.int64]],
    pixels: NDArray[np.int64],
    labels: NDArray[np.int64],
    present: NDArray[np.int64],
) -> NDArray[np.int8]:
    """Logarithm of the likelihood ratio of each label against the rest, by plane and bin.

    Parameters
    ----------
    bins : mapping of str to (rows, columns) uint8
        Planes of a frame as they lie under the map.
    width : mapping of str to float
        Of a bin of each plane, in units of the noise.
    counts : mapping of str to (256,) int64
        Pixels of the whole plane in each bin.
    pixels, labels : (n,) int64
        Flat indices and labels of the voting pixels.
    present : (L,) int64
        Labels wanted, ascending.

    Returns
    -------
    (len(GREYS), L, 256) int8 array
        In units of `STRONGEST` / 127; 0 for a plane that is not in `bins`, and for a single label.
    """
    out = np.zeros((len(GREYS), present.size, BINS), np.int8)
    if present.size < 2:
        return out
    for t, name in enumerate(GREYS):
        if name not in bins:
            continue
        table = grey_tables(bins[name].reshape(-1)[pixels], width[name], counts[name], labels, present)
        likelihood = np.exp(table.astype(np.float64))
        rest = (likelihood.sum(axis=0) - likelihood) / (present.size - 1)
        ratio = table - np.log(rest + 1e-9)
        out[t] = np.rint(np.clip(ratio, -STRONGEST, STRONGEST) * (127.0 / STRONGEST))
    return out


@dataclass(frozen=True, eq=False)
class ImageInput:
    """What a network sees of a frame beside the labels of a map."""

    labels: NDArray[np.int64]
    """(L,) labels that were measured, ascending."""
    bins: NDArray[np.uint8]
    """(len(GREYS), rows, columns); zeros for a plane that is not there."""
    tables: NDArray[np.int8]
    """(len(GREYS), L, 256), as of `ratio_tables`."""

    def of(
        self, labels: NDArray[np.uint8], window: tuple[slice, slice]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
        """Bins (T, r, c) of a window and tables (T, l, 256) of some of the labels."""
        tables = self.tables[:, np.searchsorted(self.labels, labels)]
        return np.ascontiguousarray(self.bins[:, window[0], window[1]]), np.ascontiguousarray(tables)


def image_input(aligned: AlignedPlanes, measured: NDArray[np.int16]) -> ImageInput | None:
    """Return what the network sees of a frame, learnt from all labels (rows, columns) int16; None without labels."""
    flat = measured.reshape(-1)
    pixels = np.flatnonzero(flat > 0)
    if pixels.size == 0:
        return None
    labels = flat[pixels].astype(np.int64)
    present = np.unique(labels)
    bins = {name: plane for name, plane in aligned.bins.items() if name in GREYS}
    counts = {name: np.bincount(plane.reshape(-1), minlength=BINS) for name, plane in bins.items()}
    tables = ratio_tables(bins, aligned.width, counts, pixels, labels, present)
    nothing = np.zeros(measured.shape, np.uint8)
    return ImageInput(present, np.stack([bins.get(name, nothing) for name in GREYS]), tables)


@njit(cache=True, nogil=True)
def fold_ratios(bins, tables, unit, first, out):  # type: ignore[no-untyped-def]
    """Fill planes `first` … of the folded input `out` (rows / 2, columns / 2, 4 · planes) with ratios.

    `bins` (T, r, c) uint8 may be smaller than the input: beyond its end nothing is known. `tables` (T, 256) int8, in
    units of which the network sees `unit`.
    """
    terms, rows, columns = bins.shape
    for t in range(terms):
        for r in range(2 * out.shape[0]):
            for c in range(2 * out.shape[1]):
                lane = 4 * (first + t) + (r % 2) * 2 + c % 2
                inside = r < rows and c < columns
                out[r // 2, c // 2, lane] = unit * tables[t, bins[t, r, c]] if inside else 0.0
