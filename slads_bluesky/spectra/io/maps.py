"""Whole EDS maps from files: a spectrum for every pixel, as an instrument or HyperSpy stored them.

An ``.npz`` holds ``counts`` (rows, columns, channels), ``energy_scale`` and ``energy_offset`` (keV), and may hold
``labels`` (rows, columns), a segmentation that its phases are learnt from. Instruments' formats and
HyperSpy's are read by the optional rosettasciio.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError, DataError
from ...images.labels import number_labels
from ..axis import EnergyAxis
from ..counts import MAX_COUNTS
from .foreign import energy_axis_of, foreign_signals

__all__ = ["MAP_FORMATS", "SpectrumMap", "list_maps", "read_map"]

MAP_FORMATS = (".npz", ".hspy", ".zspy", ".bcf", ".spd", ".pts", ".elid")
LEAST_PIXELS = 64
"""A map of fewer pixels leaves nothing to choose."""


@dataclass(frozen=True, eq=False)
class SpectrumMap:
    """A spectrum for every pixel.

    Parameters
    ----------
    counts : (rows, columns, n_channels) unsigned integer array
    axis : EnergyAxis
    labels : (rows, columns) uint8 array or None
        A segmentation that came with the file; its numbers in their order are 1 … L here.
    path : Path
    """

    counts: NDArray[np.unsignedinteger]
    axis: EnergyAxis
    labels: NDArray[np.uint8] | None
    path: Path

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.counts.shape[0], self.counts.shape[1]

    @property
    def spectra(self) -> NDArray[np.unsignedinteger]:
        """The same counts, a row for each pixel: (rows × columns, n_channels)."""
        return self.counts.reshape(-1, self.counts.shape[2])


def list_maps(folder: Path) -> list[Path]:
    """Maps in a folder by their names, sorted; DataError if there is no such folder, or no map in it."""
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder")
    found = sorted(
        p
        for p in folder.iterdir()
        if p.suffix.lower() in MAP_FORMATS and (p.is_file() or p.suffix == ".zspy")
    )
    if not found:
        raise DataError(f"{folder}: holds no map ({', '.join(MAP_FORMATS)})")
    return found


def read_map(path: str | Path) -> SpectrumMap:
    """Read a map.

    Raises
    ------
    ConfigError
        If the extension is not one of `MAP_FORMATS`, or its reader is not installed.
    DataError
        Naming the file and what is missing, damaged or no map.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in MAP_FORMATS:
        raise ConfigError(f"{path}: {suffix or 'no extension'} is not one of {', '.join(MAP_FORMATS)}")
    if not path.exists():
        raise DataError(f"{path}: there is no such file")
    counts, offset_kev, width_kev, labels = (_from_npz if suffix == ".npz" else _from_signals)(path)
    if counts.ndim != 3:
        raise DataError(
            f"{path}: field counts must be (rows, columns, channels), it has the shape {counts.shape}"
        )
    if counts.shape[0] * counts.shape[1] < LEAST_PIXELS:
        raise DataError(f"{path}: a map of {counts.shape[0]} × {counts.shape[1]} pixels is too small")
    try:
        axis = EnergyAxis(offset_kev, width_kev, counts.shape[2])
    except ConfigError as error:
        raise DataError(f"{path}: {error}") from error
    return SpectrumMap(_whole(path, counts), axis, _segmentation(path, labels, counts.shape[:2]), path)


def _from_npz(path: Path) -> tuple[NDArray[Any], float, float, NDArray[Any] | None]:
    try:
        # numpy leaves a file open that it opened and could not read
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as data:
            if not isinstance(data, np.lib.npyio.NpzFile):
                raise DataError(f"{path}: holds one array, not a .npz's fields")
            missing = [k for k in ("counts", "energy_scale", "energy_offset") if k not in data.files]
            if missing:
                raise DataError(f"{path}: field {missing[0]} is missing")
            labels = data["labels"] if "labels" in data.files else None
            return data["counts"], float(data["energy_offset"]), float(data["energy_scale"]), labels
    except DataError:
        raise
    except (
        Exception
    ) as error:  # zip, zlib, tokenize and numpy have their own; all say that the file is not one
        raise DataError(f"{path}: truncated or no .npz file ({error})") from error


def _from_signals(path: Path) -> tuple[NDArray[Any], float, float, None]:
    """Take the largest signal with an energy axis and two others."""
    found: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = []
    for signal in foreign_signals(path):
        energy = energy_axis_of(signal)
        if energy is not None and len(signal["axes"]) == 3:
            found.append((signal, energy))
    if not found:
        raise DataError(f"{path}: holds no map: no signal of two axes and one of energy in eV or keV")
    signal, energy_axis = max(found, key=lambda pair: np.asarray(pair[0]["data"]).size)
    to_kev = 1e-3 if str(energy_axis["units"]).lower() == "ev" else 1.0
    if "scale" not in energy_axis:
        raise DataError(f"{path}: field axes: the energy axis has no scale")
    counts = np.moveaxis(np.asarray(signal["data"]), list(signal["axes"]).index(energy_axis), -1)
    return counts, float(energy_axis.get("offset", 0.0)) * to_kev, float(energy_axis["scale"]) * to_kev, None


def _whole(path: Path, counts: NDArray[Any]) -> NDArray[np.unsignedinteger]:
    """Counts as unsigned integers, in the narrowest type; thinning a spectrum needs whole counts."""
    if counts.dtype.kind not in "uif":
        raise DataError(f"{path}: field counts holds {counts.dtype}, not numbers")
    if counts.dtype.kind == "f" and not np.isfinite(counts).all():
        raise DataError(f"{path}: field counts holds what is not finite")
    low, high = counts.min(), counts.max()
    if high > MAX_COUNTS:
        raise DataError(f"{path}: field counts holds {high:g} counts in a channel, more than {MAX_COUNTS}")
    if low < 0:
        raise DataError(f"{path}: field counts holds negative counts ({low})")
    if high == 0:
        raise DataError(f"{path}: field counts holds no counts at all")
    whole = counts.astype(np.min_scalar_type(int(high)), copy=False)
    if counts.dtype.kind == "f" and not np.array_equal(whole, counts):
        raise DataError(f"{path}: field counts holds fractions of counts, a map has whole ones")
    return np.ascontiguousarray(whole)


def _segmentation(
    path: Path, labels: NDArray[Any] | None, shape: tuple[int, ...]
) -> NDArray[np.uint8] | None:
    """Check labels that came with a file and number them from 1; numbers from 0 are taken for phases too."""
    if labels is None:
        return None
    if labels.shape != shape or labels.dtype.kind not in "ui":
        raise DataError(
            f"{path}: field labels is {labels.dtype} of shape {labels.shape}, not whole numbers of {shape}"
        )
    values = np.unique(labels)
    if not 2 <= values.size <= 255:
        raise DataError(f"{path}: field labels holds {values.size} different labels, not 2 to 255")
    return number_labels(labels)
