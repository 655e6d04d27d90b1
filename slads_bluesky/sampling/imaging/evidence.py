"""Likelihood of each phase by the grey of a pixel, learnt from the measured pixels.

For each plane of the frame (`images.frames.grey_planes`) the greys of the measured pixels of a phase give its
density, by a kernel; the weighted sum of their logarithms over the planes is the evidence that is added to what the
labels alone say. A grey that no measured pixel had says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ...images.registration import Displacement, displaced, shading_terms

__all__ = [
    "BINS",
    "AlignedPlanes",
    "ImageEvidence",
    "Term",
    "align",
    "grey_tables",
    "into_bins",
    "make_evidence",
]

BINS = 256
_TAIL = 0.1
"""Per cent of the pixels below the first and above the last bin."""


@dataclass(frozen=True)
class Term:
    """A plane of the frame and its weight in the evidence."""

    plane: str
    weight: float


@dataclass(frozen=True, eq=False)
class AlignedPlanes:
    """Planes as they lie under the map, without shading, cut into bins."""

    bins: Mapping[str, NDArray[np.uint8]]
    """Of each plane, (rows, columns)."""
    width: Mapping[str, float]
    """Of a bin, in units of the noise."""
    displacement: Displacement


@dataclass(frozen=True, eq=False)
class ImageEvidence:
    """What the frame says about each pixel: the sum of its terms' tables at the pixel's bins."""

    labels: NDArray[np.int64]
    """(L,) labels that were measured, ascending."""
    bins: NDArray[np.uint8]
    """(T, rows, columns)."""
    tables: NDArray[np.float32]
    """(T, L, `BINS`): weighted logarithm of the likelihood of a bin under each label."""

    def at(self, pixels: NDArray[np.int64]) -> NDArray[np.float64]:
        """Evidence (L, n) at flat pixels."""
        total = np.zeros((self.labels.size, pixels.size))
        for bins, table in zip(self.bins, self.tables, strict=True):
            total += table[:, bins.reshape(-1)[pixels]]
        return total

    def of(
        self, labels: NDArray[np.uint8], window: tuple[slice, slice]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Bins (T, r, c) of a window and tables (T, l, `BINS`) of some labels, zero for those never measured."""
        tables = np.zeros((len(self.tables), labels.size, BINS), np.float32)
        place = {int(label): i for i, label in enumerate(self.labels)}
        for i, label in enumerate(labels):
            if int(label) in place:
                tables[:, i] = self.tables[:, place[int(label)]]
        return np.ascontiguousarray(self.bins[:, window[0], window[1]]), tables


def align(
    planes: Mapping[str, NDArray[np.float32]],
    pixels: NDArray[np.int64],
    labels: NDArray[np.int64],
    where: Displacement,
) -> AlignedPlanes:
    """Move the planes by a displacement, and take the shading off that which has it, ``plain``.

    Parameters
    ----------
    planes : mapping of str to (rows, columns) float32
    pixels, labels : (n,) int64
        Flat indices and labels of the voting pixels.
    where : Displacement
    """
    shape = planes["smooth"].shape
    ys, xs = (np.linspace(-1.0, 1.0, n) for n in shape)
    row, column = np.divmod(pixels, shape[1])
    terms = shading_terms(ys[row], xs[column], pixels.size)
    present, code = np.unique(labels, return_inverse=True)
    levels = np.eye(present.size)[code]
    bins, width = {}, {}
    for name, plane in planes.items():
        grey = displaced(plane, where.y, where.x).astype(np.float64)
        if terms.shape[1] and name == "plain":
            found, *_ = np.linalg.lstsq(
                np.column_stack([levels, terms]), grey.reshape(-1)[pixels], rcond=None
            )
            a = found[present.size :]
            grey -= a[0] * ys[:, None] + a[1] * xs
            if a.size > 2:
                grey -= a[2] * ys[:, None] ** 2 + a[3] * ys[:, None] * xs + a[4] * xs**2
        bins[name], width[name] = into_bins(grey)
    return AlignedPlanes(bins, width, where)


def into_bins(grey: NDArray[np.floating]) -> tuple[NDArray[np.uint8], float]:
    """Cut a plane, (rows, columns), into `BINS` bins; return the bins and the width of one."""
    low, high = np.percentile(grey, [_TAIL, 100.0 - _TAIL])
    step = max(float(high - low), 1e-6) / BINS
    return np.clip((grey - low) / step, 0, BINS - 1).astype(np.uint8), step


def grey_tables(
    bins: NDArray[np.uint8],
    width: float,
    all_counts: NDArray[np.int64],
    labels: NDArray[np.int64],
    present: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Logarithm of the density of a plane's bins under each label.

    Parameters
    ----------
    bins : (n,) uint8
        Of the pixels with a label.
    width : float
        Of a bin, in units of the noise.
    all_counts : (`BINS`,) int64
        Pixels of the whole frame in each bin.
    labels : (n,) int64
    present : (L,) int64
        Labels whose tables are wanted.

    Returns
    -------
    (L, `BINS`) float32 array

    Notes
    -----
    A Gaussian kernel of Silverman's bandwidth, at least 0.15 of the noise. A share 2 / (n + 4) of each density, at
    least 0.01, is that of the whole frame: one pixel at a boundary does not rule a phase out.
    """
    whole = all_counts / all_counts.sum()
    tables = np.empty((present.size, BINS))
    for i, label in enumerate(present):
        own = bins[labels == label].astype(np.float64) * width
        if own.size == 0:
            tables[i] = whole
            continue
        around = 1.4826 * float(np.median(np.abs(own - np.median(own))))
        spread = min(float(own.std()), 1.3 * around) if own.size > 4 else max(float(own.std()), 0.5)
        band = max(0.9 * max(spread, 0.05) * own.size**-0.2, width, 0.15) / width
        counts = np.bincount(bins[labels == label], minlength=BINS).astype(np.float64)
        density = ndimage.gaussian_filter1d(counts, band, mode="constant")
        density /= density.sum() + 1e-12
        share = max(2.0 / (own.size + 4.0), 0.01)
        tables[i] = (1.0 - share) * density + share * ndimage.gaussian_filter1d(whole, band)
    return np.asarray(np.log(tables + 1e-9), np.float32)


def make_evidence(
    aligned: AlignedPlanes, terms: Sequence[Term], pixels: NDArray[np.int64], labels: NDArray[np.int64]
) -> ImageEvidence:
    """Learn the evidence of some terms from the voting pixels, flat indices `pixels` (n,) with `labels` (n,)."""
    present = np.unique(labels)
    bins = [aligned.bins[term.plane] for term in terms]
    tables = [
        term.weight
        * grey_tables(
            plane.reshape(-1)[pixels],
            aligned.width[term.plane],
            np.bincount(plane.reshape(-1), minlength=BINS),
            labels,
            present,
        )
        for term, plane in zip(terms, bins, strict=True)
    ]
    return ImageEvidence(present, np.stack(bins), np.stack(tables).astype(np.float32))
