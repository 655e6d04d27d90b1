"""Frames of generated images: any contrast, with the faults that frames have, and some that show something else.

Levels, noise, blur, texture, grains of one phase that differ in grey, charging lines, what a registration leaves of a
displacement, two phases that are equally grey, the frame of another field: a network that is trained on them learns
how far a frame is to be believed. The background is taken as taken off (`images.background`), but for a rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ...images.frames import noise_level, patch_plane, rough_plane
from ...images.generated import log_uniform, training_image
from ..imaging.evidence import BINS, into_bins
from .guided_inputs import GREYS, Beside, ratio_tables

__all__ = ["TrainingFrame", "beside_each", "training_frame"]

OTHER, EQUAL = 0.12, 0.12
"""Shares of frames of another field, and of frames with two phases equally grey."""


class TrainingFrame(NamedTuple):
    """The planes of a frame, cut into bins."""

    bins: Mapping[str, NDArray[np.uint8]]
    width: Mapping[str, float]
    counts: Mapping[str, NDArray[np.int64]]

    def tables(self, measured: NDArray[np.int16], present: NDArray[np.integer]) -> NDArray[np.int8]:
        """Return `guided_inputs.ratio_tables`, learnt from all labels of a map, (rows, columns) int16."""
        flat = measured.reshape(-1)
        pixels = np.flatnonzero(flat > 0)
        labels = flat[pixels].astype(np.int64)
        return ratio_tables(self.bins, self.width, self.counts, pixels, labels, np.asarray(present, np.int64))

    def ratios(self, tables: NDArray[np.int8], label: int) -> NDArray[np.int8]:
        """Return the ratios (len(GREYS), rows, columns) of the label at a position of the tables."""
        shape = next(iter(self.bins.values())).shape
        out = np.zeros((len(GREYS), *shape), np.int8)
        for t, name in enumerate(GREYS):
            if name in self.bins:
                out[t] = tables[t, label][self.bins[name]]
        return out


def beside_each(
    frame: TrainingFrame | None, measured: NDArray[np.int16], present: NDArray[np.integer], noise: float = 0.0
) -> list[Beside]:
    """Return what the network sees beside the distances of each of the `present` labels; zeros without a frame."""
    if frame is None:
        nothing = np.zeros((len(GREYS), *measured.shape), np.int8)
        return [Beside(nothing, noise)] * present.size
    tables = frame.tables(measured, present)
    return [Beside(frame.ratios(tables, i), noise) for i in range(present.size)]


def _field(rng: np.random.Generator, shape: tuple[int, int], length: float) -> NDArray[np.float64]:
    """A Gaussian random field of unit variance, blurred over `length` pixels."""
    found = ndimage.gaussian_filter(rng.standard_normal(shape), length, mode="wrap")
    return np.asarray(found / (found.std() + 1e-9))


def _levels(rng: np.random.Generator, labels: int) -> NDArray[np.float64]:
    """Grey of each label 1 … `labels` at its index, in any order; spacings in standard deviations of the noise."""
    spacing = np.array([log_uniform(rng, 0.7, 9.0) for _ in range(labels)])
    levels = np.concatenate([[0.0], rng.permutation(np.cumsum(spacing))])
    if (labels > 2 and rng.random() < 2 * EQUAL) or (labels == 2 and rng.random() < EQUAL / 2):
        one, other = rng.choice(np.arange(1, labels + 1), 2, replace=False)
        levels[one] = levels[other]
    return levels


def training_frame(truth: NDArray[np.uint8], rng: np.random.Generator) -> TrainingFrame:
    """Draw a frame of a label image.

    Parameters
    ----------
    truth : (rows, columns) uint8
        Labels 1 … L.
    rng : numpy.random.Generator
    """
    shape = (truth.shape[0], truth.shape[1])
    shown = training_image(rng, shape[0]) if rng.random() < OTHER and shape[0] == shape[1] else truth
    grey = _levels(rng, int(shown.max()))[shown]
    if rng.random() < 0.2:  # grains of a phase differ
        grains = training_image(rng, max(shape))[: shape[0], : shape[1]]
        grey = grey + rng.uniform(0.3, 2.0) * (grains == 1)
    if rng.random() < 0.35:
        grey = grey + rng.uniform(0.2, 1.5) * _field(rng, shape, log_uniform(rng, 1.5, 20.0))
    grey = ndimage.gaussian_filter(grey, rng.uniform(0.0, 1.0))
    grey = ndimage.shift(grey, rng.normal(0.0, 0.3, 2), order=1, mode="nearest")
    noise = rng.standard_normal(shape)
    if rng.random() < 0.2:
        noise = _field(rng, shape, 0.5)
    if rng.random() < 0.25:  # one phase is rough
        noise *= np.where(shown == rng.integers(1, int(shown.max()) + 1), rng.uniform(1.0, 3.0), 1.0)
    if rng.random() < 0.3:
        lines = ndimage.gaussian_filter1d(rng.standard_normal(shape[0]), 2.0)
        noise += rng.uniform(0.1, 0.5) * (lines / (lines.std() + 1e-9))[:, None]
    level = grey + noise
    level = level / noise_level(level.astype(np.float32))
    y, x = np.linspace(-1.0, 1.0, shape[0])[:, None], np.linspace(-1.0, 1.0, shape[1])
    a, b, c = rng.normal(0.0, 0.5 * rng.random(), 3)
    smooth = ndimage.gaussian_filter(level, 0.7)
    planes = {"smooth": smooth, "plain": smooth + a * y + b * x + c * x * y, "rough": rough_plane(level)}
    if rng.random() < 0.85:
        planes["patches"] = patch_plane(level)
    bins: dict[str, NDArray[np.uint8]] = {}
    width: dict[str, float] = {}
    for name, plane in planes.items():
        bins[name], width[name] = into_bins(plane)
    counts = {name: np.bincount(plane.reshape(-1), minlength=BINS) for name, plane in bins.items()}
    return TrainingFrame(bins, width, counts)
