"""Label and grey-level images from files: .npy, .png, .tif."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .labels import check_label_image

__all__ = ["read_image", "read_label_image"]

SUFFIXES = (".npy", ".png", ".tif", ".tiff")
MOST_COMPRESSED = 1500
"""No compression of TIFF makes more than this of a byte: Deflate 1032, LZW with codes of 12 bits some 1400."""
_UNCOMPRESSED = 1


def read_image(path: str | Path) -> NDArray[Any]:
    """Read an array from an image file, as it stands.

    A palette image gives its indices. Nothing is scaled or converted.

    Raises
    ------
    DataError
        If there is no such file, its suffix is none of `SUFFIXES`, or it cannot be read.
    """
    file = Path(path)
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{file}: an image must be one of {', '.join(SUFFIXES)}, not '{file.suffix}'")
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    try:
        if suffix == ".npy":
            return np.asarray(np.load(file, allow_pickle=False))
        if suffix == ".png":
            from PIL import Image

            with Image.open(file) as image:
                return np.asarray(image)
        return _first_page(file)
    except Exception as error:  # each reader has its own errors; all say that the file is not one
        raise DataError(f"{file}: cannot be read as {suffix[1:]} ({error})") from error


def _first_page(file: Path) -> NDArray[Any]:
    """First page of a TIFF file; a smaller picture after it, such as a thumbnail, is left out.

    The pages are not counted: in a crafted file their chain has no end.
    """
    import tifffile

    with tifffile.TiffFile(file) as opened:
        first = opened.pages.first
        try:
            second: Any = opened.pages[1]
        except (IndexError, tifffile.TiffFileError):
            second = None
        if second is not None and second.shape == first.shape:
            raise ValueError("it holds a stack of images; export the one that is meant")
        _check_size(first, file.stat().st_size)
        return np.asarray(first.asarray())


def _check_size(page: Any, n_bytes: int) -> None:
    """Refuse a page whose header states more than its file can hold, before anything of that size is made."""
    stated, there = math.prod(page.chunked), min(len(page.dataoffsets), len(page.databytecounts))
    if there < stated:
        raise ValueError(f"it holds {there} of the {stated} parts that its header states")
    bits = np.max(page.bitspersample)  # a tuple where channels differ
    most = 8 * n_bytes * (1 if page.compression == _UNCOMPRESSED else MOST_COMPRESSED)
    if page.size * bits > most:
        raise ValueError(f"{page.size} samples do not fit into a file of {n_bytes} bytes")


def read_label_image(path: str | Path) -> NDArray[np.uint8]:
    """Read a label image from a .npy, .png or .tif file.

    Returns
    -------
    (rows, columns) uint8 array
        Labels, 0 where unclassified.

    Raises
    ------
    DataError
        Naming the file, if it cannot be read or is not a label image.
    """
    return check_label_image(read_image(path), str(path))
