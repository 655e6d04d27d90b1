"""Phases of a map that nobody has named: a mixture of multinomials fitted to all its spectra.

Each phase is a shape of the spectrum, each pixel belongs to the phase under which its counts are likeliest: the
classifying variant of expectation and maximisation (Celeux & Govaert, Comput. Stat. Data Anal. 14 (1992) 315), from
the spectra that differ most. It knows of no mixed pixels and no gradients; the number of phases is given.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ...errors import ConfigError, DataError
from ...images.labels import number_labels
from ...spectra.io.maps import SpectrumMap
from ...spectra.likelihood.kernel import bin_starts

__all__ = ["classify_like", "find_phases"]

ROUNDS = 200
SETTLED = 1e-4
"""Part of the pixels that may still change their phase when it ends."""
SMOOTH = 0.5
"""Counts that every bin of a phase is given, so that none is impossible."""


def find_phases(
    found: SpectrumMap, n_phases: int, *, resolution_ev: float = 130.0, least: int = 24
) -> NDArray[np.uint8]:
    """Divide a map into phases by its spectra alone.

    Parameters
    ----------
    found : SpectrumMap
    n_phases : int
        How many to look for, 2 … 12; fewer come back if some end with fewer than `least` pixels.
    resolution_ev : float
        Of the detector at Mn Kα: the spectra are binned accordingly.
    least : int
        Fewest pixels of a phase.

    Returns
    -------
    (rows, columns) uint8 array
        Labels 1 … L, the most frequent phase first.

    Raises
    ------
    ConfigError
        If the number of phases is out of bounds.
    DataError
        If no two phases can be separated.
    """
    if not 2 <= n_phases <= 12:
        raise ConfigError(f"phases to look for must be 2 to 12, not {n_phases}")
    starts = bin_starts(found.axis, resolution_ev)
    bins = np.add.reduceat(found.counts, starts[:-1], axis=2, dtype=np.float64)
    flat = bins.reshape(-1, bins.shape[2])
    labels = _nearest(bins, n_phases)
    present = np.unique(labels)
    for _ in range(ROUNDS):
        sizes = np.array([(labels == k).sum() for k in present])
        sums = np.array([flat[labels == k].sum(axis=0) for k in present]) + SMOOTH
        scores = flat @ np.log(sums / sums.sum(axis=1, keepdims=True)).T + np.log(np.maximum(sizes, 1))
        new = present[scores.argmax(axis=1)]
        settled = (new != labels).mean() <= SETTLED
        labels = new
        if settled:
            if sizes.min() >= least:
                break
            present = np.delete(present, sizes.argmin())  # its pixels go to the others, one phase at a time
            if len(present) < 2:
                raise DataError(
                    f"{found.path}: its spectra do not fall into phases of {least} pixels or more"
                )
    return number_labels(labels, most_frequent_first=True).reshape(found.shape)


def classify_like(
    found: SpectrumMap,
    labels: NDArray[np.uint8],
    *,
    least: float = 0.95,
    lowest_kev: float = 0.5,
    resolution_ev: float = 130.0,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Classify each spectrum of a map by itself into the phases of a segmentation of the same field.

    The segmentation, which may be of another measurement, gives each phase its mean spectrum in this one and its
    share of the pixels; a spectrum belongs to the phase under which its counts are likeliest.

    Parameters
    ----------
    found : SpectrumMap
    labels : (rows, columns) uint8 array
        Phases 1 … L.
    least : float
        Posterior probability from which a pixel is sure.
    lowest_kev : float
        Channels below, such as those of the strobe peak, are left out.
    resolution_ev : float
        Of the detector at Mn Kα.

    Returns
    -------
    labels : (rows, columns) uint8 array
    sure : (rows, columns) bool array

    Raises
    ------
    DataError
        If the segmentation has another shape.
    """
    if labels.shape != found.shape:
        raise DataError(f"{found.path}: a map of {found.shape} pixels, its segmentation of {labels.shape}")
    starts = bin_starts(found.axis, resolution_ev)
    energies = found.axis.offset_kev + found.axis.width_kev * np.asarray(starts[:-1])
    bins = np.add.reduceat(found.counts, starts[:-1], axis=2, dtype=np.float64)[..., energies > lowest_kev]
    flat, given = bins.reshape(-1, bins.shape[2]), labels.reshape(-1)
    present = np.unique(given[given > 0])
    sums = np.array([flat[given == k].sum(axis=0) for k in present]) + SMOOTH
    scores = flat @ np.log(sums / sums.sum(axis=1, keepdims=True)).T
    scores += np.log([(given == k).sum() for k in present])
    posterior = np.exp(scores - scores.max(axis=1, keepdims=True))
    posterior /= posterior.sum(axis=1, keepdims=True)
    best = present[posterior.argmax(axis=1)].astype(np.uint8)
    return best.reshape(labels.shape), (posterior.max(axis=1) >= least).reshape(labels.shape)


def _nearest(bins: NDArray[np.float64], n_phases: int) -> NDArray[np.int64]:
    """Label each pixel by the nearest of the shapes that differ most, of spectra averaged over 5 × 5 pixels.

    Between shapes p and q the distance is that of √p and √q, in which counting noise is about the same everywhere.
    """
    smooth = ndimage.uniform_filter(bins, size=(5, 5, 1), mode="nearest").reshape(-1, bins.shape[2])
    smooth = np.maximum(smooth, 0.0)  # its running sums leave traces of the last place
    root = np.sqrt(smooth / np.maximum(smooth.sum(axis=1, keepdims=True), 1e-9))
    distance = ((root - np.sqrt(smooth.sum(axis=0) / smooth.sum())) ** 2).sum(axis=1)
    chosen: list[int] = []
    apart = np.full(len(root), np.inf)
    for _ in range(n_phases):
        pixel = int((distance if not chosen else apart).argmax())
        chosen.append(pixel)
        apart = np.minimum(apart, ((root - root[pixel]) ** 2).sum(axis=1))
    gaps = np.stack([((root - root[pixel]) ** 2).sum(axis=1) for pixel in chosen], axis=1)
    return np.asarray(gaps.argmin(axis=1), np.int64)
