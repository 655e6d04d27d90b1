"""Length and checksum of each record of a journal, in a file beside it: ``<uid>.crc``.

A disk may change what it holds. With its checksum, a changed record is found; with its length, the next one is found
behind it. In a file of its own, so that a journal stays a plain sequence of documents for everybody; without that
file, it is read unchecked.

Entry n is 12 bytes, little-endian: length of record n in bytes, its CRC-32, and the CRC-32 of these eight bytes, by
which an entry that was itself changed, or never reached the disk, is known.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

__all__ = ["Checksum", "Checksums", "checksum_path", "entry_of"]

_ENTRY = struct.Struct("<III")


class Checksum(NamedTuple):
    """What is known of one record."""

    length: int
    """Bytes."""
    crc32: int

    def holds(self, record: bytes | memoryview) -> bool:
        """Whether the record is as it was written."""
        return len(record) == self.length and zlib.crc32(record) == self.crc32


def checksum_path(journal: Path) -> Path:
    """File with the checksums of a journal."""
    return journal.with_suffix(".crc")


def entry_of(record: bytes) -> bytes:
    """Entry of a record, to be appended."""
    length, crc32 = len(record), zlib.crc32(record)
    return _ENTRY.pack(length, crc32, zlib.crc32(_ENTRY.pack(length, crc32, 0)[:8]))


class Checksums:
    """Checksums of a journal that may still be growing; none at all if their file is missing.

    Parameters
    ----------
    journal : Path
        The journal's own file.
    """

    def __init__(self, journal: Path) -> None:
        try:
            self._handle: int | None = os.open(checksum_path(journal), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._handle = None
        self._known = b""

    def of(self, number: int) -> Checksum | None:
        """Checksum of record `number`, 0 the first; None if it is not there or was itself changed."""
        begin = number * _ENTRY.size
        if begin + _ENTRY.size > len(self._known) and self._handle is not None:
            size = os.fstat(self._handle).st_size
            self._known += os.pread(self._handle, max(size - len(self._known), 0), len(self._known))
        if begin + _ENTRY.size > len(self._known):
            return None
        length, crc32, own = _ENTRY.unpack_from(self._known, begin)
        return Checksum(length, crc32) if own == zlib.crc32(self._known[begin : begin + 8]) else None

    def close(self) -> None:
        """Close the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
