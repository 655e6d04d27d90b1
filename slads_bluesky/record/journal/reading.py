"""Journals read back: whole, while they grow, and as far as they are undamaged."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import event_model
import msgpack
import msgpack_numpy

from slads_bluesky.errors import RecordError

from .checksums import Checksum, Checksums
from .writing import Document

__all__ = ["JournalTail", "read_journal", "read_start", "read_stop"]

_NAMES = frozenset(name.name for name in event_model.DocumentNames)
_CHUNK = 1 << 20
_STOP = b"\x92\xa4stop"  # how msgpack begins the record ["stop", {…}]
_log = logging.getLogger(__name__)

Told = Callable[[str], None]


class JournalTail:
    """Reader of a journal that may still be growing: each `read` gives the documents that were added.

    Parameters
    ----------
    path : path
        The file.
    on_damage : callable, optional
        Told in a sentence of each record that is not what was written, which is then left out. Without it, and where
        the record was the start or a descriptor, damage is an error.

    Raises
    ------
    RecordError
        If the file cannot be read, is not a journal, or is damaged other than at its end.
    """

    def __init__(self, path: str | Path, on_damage: Told | None = None) -> None:
        self.path = Path(path)
        self.stopped = False
        """Whether the stop document was read."""
        self.n_damaged = 0
        """Records that were left out."""
        try:
            self._file = self.path.open("rb")
        except OSError as error:
            raise RecordError(f"journal {self.path}: {error.strerror}") from error
        self._checksums = Checksums(self.path)
        self._on_damage = on_damage
        self._buffer = b""
        self._at = 0  # in the buffer: begin of the next record
        self._fed = 0
        self._position = 0
        self._records = 0
        self._descriptors: set[str] = set()
        self._unchecked: Any = None  # once the length of a record is not known, msgpack finds the ends
        self._unchecked_from = 0

    @property
    def position(self) -> int:
        """Bytes of whole records read so far."""
        return self._position

    @property
    def pending(self) -> int:
        """Bytes after the last whole record: one that is being written, or was cut."""
        return self._fed - self._position

    def read(self) -> Iterator[Document]:
        """Yield the whole records up to the present end of the file."""
        while self._unchecked is None:
            if self._at == len(self._buffer) and not self._more():
                return
            known = self._checksums.of(self._records)  # written before the record itself
            if known is None:
                self._unchecked, self._unchecked_from = _unpacker(), self._position
                self._unchecked.feed(memoryview(self._buffer)[self._at :])
                break
            while len(self._buffer) - self._at < known.length:
                if not self._more():
                    return
            record = memoryview(self._buffer)[self._at : self._at + known.length]
            if known.holds(record):
                document = self._unpacked(record)
            elif self._zeros_to_the_end():
                return
            else:
                self._leave_out(known, bytes(record))
                document = None
            self._at += known.length
            self._position += known.length
            self._records += 1
            if document is not None:
                yield self._noted(document)
        yield from self._read_unchecked()

    def _read_unchecked(self) -> Iterator[Document]:
        while True:
            try:
                record = self._unchecked.unpack()
            except msgpack.OutOfData:
                chunk = self._file.read(_CHUNK)
                if not chunk:
                    return
                self._unchecked.feed(chunk)
                self._fed += len(chunk)
                continue
            except Exception as error:
                if self._zeros_to_the_end():
                    return
                raise self._foreign(f"{error!r}") from error
            if not _is_document(record, first=self._records == 0):
                if self._records and self._zeros_to_the_end():
                    return
                raise self._foreign("a record that is no document of a run")
            self._records += 1
            # now: when a record is incomplete it runs ahead
            self._position = self._unchecked_from + int(self._unchecked.tell())
            yield self._noted((record[0], record[1]))

    def _more(self) -> bool:
        """Read on; False at the present end of the file."""
        chunk = self._file.read(_CHUNK)
        self._fed += len(chunk)
        self._buffer, self._at = self._buffer[self._at :] + chunk, 0
        return bool(chunk)

    def _unpacked(self, record: memoryview) -> Document:
        try:
            found = msgpack.unpackb(record, object_hook=_decode, raw=False, strict_map_key=False)
        except Exception as error:
            raise self._foreign(f"{error!r}") from error
        if not _is_document(found, first=self._records == 0):
            raise self._foreign("a record that is no document of a run")
        return found[0], found[1]

    def _noted(self, document: Document) -> Document:
        name, doc = document
        self.stopped = self.stopped or name == "stop"
        if name == "descriptor":
            self._descriptors.add(doc["uid"])
        elif (
            self.n_damaged and name in ("event", "event_page") and doc["descriptor"] not in self._descriptors
        ):
            raise RecordError(
                f"journal {self.path}: the descriptor of the {name} before byte {self.position} is lost, "
                "without which no event of its stream can be read"
            )
        return document

    def _leave_out(self, known: Checksum, record: bytes) -> None:
        where = f"at byte {self.position}, record {self._records + 1}"
        told = f"journal {self.path} is damaged {where}: {_what(record)} of {known.length} bytes is lost"
        if self._on_damage is None or self._records == 0:
            raise RecordError(f"{told}; the {self._records} records before it are whole")
        self.n_damaged += 1
        self._on_damage(f"{told}; what stands before and after it is read")

    def _zeros_to_the_end(self) -> bool:
        # A machine that lost power may leave a file that was extended but not filled.
        with self.path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(self.position)
            return size > self.position and not any(file.read())

    def _foreign(self, why: str) -> RecordError:
        if self._records == 0:
            return RecordError(f"{self.path} is not a journal of a run ({why})")
        where = f"at byte {self.position}, after {self._records} records"
        return RecordError(f"journal {self.path} is damaged {where}; what follows cannot be read ({why})")

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        self._checksums.close()

    def __enter__(self) -> JournalTail:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def read_journal(
    path: str | Path, on_cut: Told | None = None, on_damage: Told | None = None
) -> Iterator[Document]:
    """Yield the documents of a journal as they were emitted.

    Arrays come back with their dtype, read-only; tuples as lists, the way of all document stores.

    Parameters
    ----------
    path : path
        A file that `Journal` (or suitcase-msgpack) wrote; pages, if any, come as single events and datums.
    on_cut : callable, optional
        Told in a sentence if the last record was cut, which is otherwise logged as a warning; every record
        before it is yielded all the same.
    on_damage : callable, optional
        Told in a sentence of each record in the middle that was changed since it was written, which is then left
        out; without it, damage is an error.

    Raises
    ------
    RecordError
        Naming the file, if it is not a journal, is cut within its first record, or is damaged in the middle.
    """
    with JournalTail(path, on_damage) as tail:
        n = 0
        page: Any
        for name, page in tail.read():
            n += 1
            if name == "event_page":
                yield from (("event", dict(event)) for event in event_model.unpack_event_page(page))
            elif name == "datum_page":
                yield from (("datum", dict(datum)) for datum in event_model.unpack_datum_page(page))
            else:
                yield name, page
        if n == 0:
            raise _headless(path)
        size = tail.path.stat().st_size
        if size > tail.position:
            (on_cut or _log.warning)(
                f"journal {path}: the last record was cut, {size - tail.position} bytes; "
                f"the {n} records before it are whole"
            )


def read_start(path: str | Path) -> dict[str, Any]:
    """Start document of a journal, without reading the rest; RecordError as `read_journal`."""
    with JournalTail(path) as tail:
        for _, doc in tail.read():
            return doc
    raise _headless(path)


def read_stop(path: str | Path) -> dict[str, Any] | None:
    """Stop document of a journal, from its last bytes alone; None for a run without one."""
    path = Path(path)
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 65536, 0))
        tail = file.read()
    begin = tail.rfind(_STOP)
    while begin >= 0:
        unpacker = _unpacker()
        unpacker.feed(tail[begin:])
        try:
            record = unpacker.unpack()
        except Exception:
            record = None
        if unpacker.tell() == len(tail) - begin and _is_document(record) and "run_start" in record[1]:
            doc: dict[str, Any] = record[1]
            return doc
        begin = tail.rfind(_STOP, 0, begin)
    return None


def _headless(path: str | Path) -> RecordError:
    return RecordError(f"journal {path} is empty or cut within its first record: no run can be read from it")


def _is_document(record: Any, first: bool = False) -> bool:
    if not (isinstance(record, list) and len(record) == 2 and isinstance(record[1], dict)):
        return False
    name, doc = record
    if first:
        return name == "start" and isinstance(doc.get("uid"), str) and "time" in doc
    return isinstance(name, str) and name in _NAMES


def _unpacker() -> Any:
    return msgpack.Unpacker(
        object_hook=_decode, raw=False, strict_map_key=False, max_buffer_size=(1 << 31) - 1, use_list=True
    )


def _what(record: bytes) -> str:
    """Say what a damaged record was, by its first bytes: the name of its document."""
    for name in _NAMES:
        head = msgpack.packb([name, {}])[:-1]
        if record.startswith(head):
            return f"the {name}"
    return "a document"


def _decode(obj: dict[Any, Any]) -> Any:
    # msgpack-numpy would unpickle them, and run whatever code a foreign file brings along
    if obj.get(b"kind") == b"O":
        raise RecordError("an array of pickled Python objects, which is never read")
    return msgpack_numpy.decode(obj)
