"""The spectrum of one point, read from the journal where it lies: the page holds none in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..codec import unpack
from ..errors import DataError, RecordError
from ..record.hdf5_spectra import own_file
from .points import SpectrumPlace

__all__ = ["SpectrumReader"]


class SpectrumReader:
    """Reads spectra of a map by their places.

    Parameters
    ----------
    key : str
        Data key of the spectra.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self.journals: list[Path] = []
        """Files of the map's runs, the oldest first."""
        self.datasets: list[tuple[str, str] | None] = []
        """Of each, the HDF5 file with its spectra as the record names it and the data set; None where inline."""
        self.folder = Path()
        """Where the record keeps HDF5 files."""

    def read(self, place: SpectrumPlace) -> NDArray[Any] | None:
        """Return the (channels,) spectrum of a point, None if its event has none.

        Raises
        ------
        RecordError
            If the file cannot be read there, or holds something else.
        """
        if not place.length:
            return None
        external = self.datasets[place.file] if place.file < len(self.datasets) else None
        if external is not None:
            return self._of_dataset(*external, place.row)
        values = self.value(place, self._key)
        return None if values is None else np.asarray(values)

    def value(self, place: SpectrumPlace, key: str) -> Any:
        """Return what the event of a point has for a data key, None if there is none; raises as `read`."""
        if not place.length:
            return None
        path = self.journals[place.file]
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                record = os.pread(handle, place.length, place.begin)
            finally:
                os.close(handle)
            name, doc = unpack(record)
            values = doc["data"].get(key)
            return values if values is None or name != "event_page" else values[place.row]
        except (OSError, DataError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise RecordError(f"journal {path} at byte {place.begin}: {error}") from error

    def _of_dataset(self, uri: str, dataset: str, row: int) -> NDArray[Any] | None:
        import h5py

        path = own_file(uri, self.folder)
        try:
            with h5py.File(path, "r", swmr=True) as file:
                found = file[dataset]
                return np.asarray(found[row]) if row < len(found) else None
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise RecordError(f"spectra file {path}: {error}") from error
