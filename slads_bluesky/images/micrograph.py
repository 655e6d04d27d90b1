"""Micrographs as microscopes save them: the info strip is cut, a picture without separable grey levels is refused.

FEI and Thermo instruments say in their TIFF files how many lines were scanned. Elsewhere (Zeiss, Phenom, exports as
.png) the strip is found by what it is: lines at the bottom that mostly hold one single grey level, the background of
its letters.
"""

from __future__ import annotations

import logging
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, DataError
from ..files import check_writable
from .files import read_image
from .segmentation import segment

__all__ = ["info_strip", "parse_crop", "require_separable", "segment_micrograph", "write_preview"]

logger = logging.getLogger(__name__)

PLAIN = 0.55
"""Part of a line of the strip that holds its background's grey level."""
MOST_STRIP = 0.25
"""Part of the picture's height that a strip takes at most."""
LEAST_STRIP = 8
ACROSS = 0.35
"""Part of a line that the strip's letters, logos and frames leave to its background, at least."""
VALLEY = 0.8
"""Density of grey levels between two phases, in that of the weaker one, over which they are not separable."""
TAIL = 0.1
"""Density between two phases, in that of the stronger one, under which a weak one needs no peak of its own."""
GREY_BINS = 96


def info_strip(grey: NDArray[Any], scanned_rows: int | None = None) -> int:
    """First row of a micrograph's info strip; the number of rows where there is none.

    Parameters
    ----------
    grey : (rows, columns) array
    scanned_rows : int, optional
        As the file's metadata say.
    """
    rows = len(grey)
    if scanned_rows is not None and 0 < scanned_rows < rows:
        return scanned_rows
    background = _most_frequent(grey[-1])[0]
    first = rows
    while first > 0 and (grey[first - 1] == background).mean() >= ACROSS:
        first -= 1
    strip = grey[first:] == background
    if not LEAST_STRIP <= rows - first <= MOST_STRIP * rows or strip.mean() < PLAIN:
        return rows
    return first


def _most_frequent(line: NDArray[Any]) -> tuple[Any, float]:
    values, counts = np.unique(line, return_counts=True)
    return values[counts.argmax()], float(counts.max() / line.size)


def scanned_rows(path: Path) -> int | None:
    """Lines that were scanned, from the metadata of an FEI or Thermo TIFF file; None where they do not say."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return None
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            metadata = file.fei_metadata or {}
        return int(metadata["Image"]["ResolutionY"])
    except (KeyError, TypeError, ValueError, OSError):
        return None


def parse_crop(text: str) -> tuple[slice, slice]:
    """Rows and columns of ``"ROW:ROW,COLUMN:COLUMN"``; an end may be left out. ConfigError if it is not that."""
    match = re.fullmatch(r"\s*(\d*):(\d*)\s*,\s*(\d*):(\d*)\s*", text)
    if match is None:
        raise ConfigError(
            f"crop {text!r}: must be FIRST_ROW:LAST_ROW,FIRST_COLUMN:LAST_COLUMN, such as 0:512,:768"
        )
    ends = [int(part) if part else None for part in match.groups()]
    return slice(ends[0], ends[1]), slice(ends[2], ends[3])


def require_separable(grey: NDArray[Any], labels: NDArray[np.uint8], name: str) -> None:
    """Raise DataError unless the grey levels of each two neighbouring phases have a valley between them.

    A few particles of many grey levels have no peak: they are separable where they lie outside of the other's.

    Parameters
    ----------
    grey : (rows, columns) array
    labels : (rows, columns) uint8 array
        From `segmentation.segment`: the darkest phase is 1.
    name : str
        What the message calls the picture.
    """
    from scipy import ndimage

    smooth = ndimage.median_filter(np.asarray(grey, np.float64), size=5, mode="nearest")
    low, high = np.percentile(smooth, [0.2, 99.8])
    bins = GREY_BINS
    if np.asarray(grey).dtype.kind in "iu":  # finer than its levels, a histogram is full of gaps
        bins = int(np.clip(high - low, 8, GREY_BINS))
    density, edges = np.histogram(smooth, bins=bins, range=(low, max(high, low + 1e-9)))
    density = ndimage.gaussian_filter1d(density.astype(np.float64), 1.5)
    middle = 0.5 * (edges[1:] + edges[:-1])
    peaks, ends = [], []
    for phase in range(1, int(labels.max()) + 1):
        inside = smooth[labels == phase]
        first, last = np.searchsorted(middle, np.percentile(inside, [2.0, 98.0]))
        first, last = min(int(first), bins - 1), min(int(last), bins - 1)
        ends.append((first, last))
        peaks.append(first + int(density[first : last + 1].argmax()))
    for phase, (one, other) in enumerate(pairwise(peaks), start=1):
        valley = float(density[min(one, other) : max(one, other) + 1].min())
        between = float(density[(ends[phase - 1][1] + ends[phase][0]) // 2])
        weaker, stronger = sorted((float(density[one]), float(density[other])))
        if valley > VALLEY * weaker and between > TAIL * stronger:
            raise DataError(
                f"{name}: the grey levels of phases {phase} and {phase + 1} are not separable (no valley between "
                f"{middle[one]:.5g} and {middle[other]:.5g}); try another number of phases, a crop, or a picture of "
                "another detector"
            )


def segment_micrograph(
    path: str | Path,
    phases: int,
    *,
    crop: tuple[slice, slice] | None = None,
    smallest: int = 6,
    force: bool = False,
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Segment a micrograph's file into phases.

    Parameters
    ----------
    path : path-like
        .tif, .png or .npy.
    phases : int
    crop : tuple of slice, optional
        Rows and columns to take; without it the info strip is cut, which is logged.
    smallest : int
        Patches of fewer pixels are dropped.
    force : bool
        Segment even where the grey levels are not separable.

    Returns
    -------
    grey : (rows, columns) array
        What was segmented.
    labels : (rows, columns) uint8 array
        1 … phases, the darkest 1.

    Raises
    ------
    DataError
        Naming the file, if it cannot be read, the crop leaves nothing, or the phases are not separable.
    """
    file = Path(path)
    image = read_image(file)
    if image.ndim == 3 and image.shape[2] in (3, 4):
        image = image[..., :3].mean(axis=2)
    if image.ndim != 2 or image.size == 0:
        raise DataError(f"{file}: must be a picture of rows and columns, its shape is {image.shape}")
    if crop is not None:
        grey = image[crop]
        if min(grey.shape) < 8:
            raise DataError(
                f"{file}: the crop leaves {grey.shape[0]} × {grey.shape[1]} of {image.shape} pixels"
            )
    else:
        first = info_strip(image, scanned_rows(file))
        grey = image[:first]
        if first < len(image):
            logger.warning(
                "%s: the info strip of %d rows is cut (use a crop to take others)", file, len(image) - first
            )
    labels = segment(grey, phases, smallest=smallest, name=str(file))
    if not force:
        require_separable(grey, labels, str(file))
    return grey, labels


def write_preview(path: str | Path, grey: NDArray[Any], labels: NDArray[np.uint8]) -> None:
    """Write a .png of a picture and, beside it, its phases in colours."""
    from PIL import Image
    from skimage.color import label2rgb

    low, high = np.percentile(grey, [0.5, 99.5])
    shown = np.clip((np.asarray(grey, np.float64) - low) / max(high - low, 1e-9), 0.0, 1.0)
    colours = label2rgb(labels, image=shown, alpha=0.6, bg_label=0)  # type: ignore[no-untyped-call]
    both = np.concatenate([np.repeat(shown[..., None], 3, axis=2), colours], axis=1)
    file = Path(path)
    check_writable(file)
    Image.fromarray((255.0 * both).astype(np.uint8)).save(file, format="PNG")
