"""Label and grey-level images from files: .npy, .png, .tif."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .labels import check_label_image

__all__ = ["read_image", "read_label_image"]

SUFFIXES = (".npy", ".png", ".tif", ".tiff")


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
        import tifffile

        return np.asarray(tifffile.imread(file))
    except Exception as error:  # each reader has its own errors; all say that the file is not one
        raise DataError(f"{file}: cannot be read as {suffix[1:]} ({error})") from error


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
