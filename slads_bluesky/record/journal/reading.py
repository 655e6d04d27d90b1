"""Journals read back: whole, while they grow, and as far as they are undamaged."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import event_model
import msgpack

from slads_bluesky.codec import Unpacker, pack, unpack
from slads_bluesky.documents import check_document
from slads_bluesky.errors import DataError, RecordError

from .checksums import Checksum, Checksums
from .writing import Document

__all__ = ["JournalTail", "read_journal", "read_start", "read_stop"]

_NAMES = frozenset(name.name for name in event_model.DocumentNames)
_CHUNK = 1 << 20
_STOP = b"\x92\xa4stop"  # how msgpack begins the record ["stop", {…}]
_log = logging.getLogger(__name__)

Report = Callable[[str], None]


class JournalTail:
    """Reader of a journal that may still be growing: each `read` gives the documents that were added.

    Parameters
    ----------
    path : path
        The file.
    on_damage : callable, optional
        Called with a sentence for each record that is not what was written, which is then left out. Without it, and
        where the record was the start or a descriptor, damage is an error.

    Raises
    ------
    RecordError
        If the file cannot be read, is not a journal, or is damaged other than at its end.
    """

    def __init__(self, path: str | Path, on_damage: Report | None = None) -> None:
        self.path = Path(path)
        self.stopped = False
        """Whether the stop document was read."""
        self.n_damaged = 0
        """Records that were left out."""
        self._file = _opened(self.path)
        self._checksums = Checksums(self.path)
        self._on_damage = on_damage
        self._buffer = bytearray()
        self._at = 0  # in the buffer: begin of the next record
        self._fed = 0
        self._position = 0
        self.last_record = (0, 0)
        """Begin and length, in bytes, of the record of the document that `read` gave last."""
        self._records = 0
        self._descriptors: set[str] = set()
        self._ends: Any = None  # once the length of a record is not known, msgpack finds the ends

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
        while True:
            if self._at == len(self._buffer) and not self._more():
                return
            known = self._checksums.of(self._records) if self._ends is None else None
            length = self._unchecked_length() if known is None else self._checked_length(known)
            if length is None:
                return
            record = bytes(memoryview(self._buffer)[self._at : self._at + length])
            if known is None or known.holds(record):
                document = self._unpacked(record)
                if document is None:
                    return
            elif self._zeros_to_the_end():
                return
            else:
                self._leave_out(known, record)
                document = None
            self.last_record = (self._position, length)
            self._at += length
            self._position += length
            self._records += 1
            if document is not None:
                yield self._noted(document)

    def _checked_length(self, known: Checksum) -> int | None:
        """Length of the next record by its checksum, which was written before it; None if it is not whole yet."""
        while len(self._buffer) - self._at < known.length:
            if not self._more():
                return None
        return known.length

    def _unchecked_length(self) -> int | None:
        """Length of the next record as msgpack finds it, without building anything; None if it is not whole yet."""
        if self._ends is None:
            self._ends = Unpacker(max_buffer_size=(1 << 31) - 1)
            self._ends_from = self._position
            self._ends.feed(memoryview(self._buffer)[self._at :])
        while True:
            try:
                self._ends.skip()
            except msgpack.OutOfData:
                if not self._more():
                    return None
            except Exception as error:  # msgpack has no common class for what it finds wrong
                if self._zeros_to_the_end():
                    return None
                raise self._foreign(repr(error)) from error
            else:
                return self._ends_from + int(self._ends.tell()) - self._position

    def _more(self) -> bool:
        """Read on; False at the present end of the file."""
        chunk = self._file.read(_CHUNK) or self._of_its_successor()
        self._fed += len(chunk)
        if chunk:
            del self._buffer[: self._at]
            self._at = 0
            self._buffer += chunk
            if self._ends is not None:
                self._ends.feed(chunk)
        return bool(chunk)

    def _of_its_successor(self) -> bytes:
        """Read on in the file that took the place of a deleted one, see `Journal`; nothing if there is none."""
        if os.fstat(self._file.fileno()).st_nlink or not self.path.exists():
            return b""
        successor = _opened(self.path)
        if os.fstat(successor.fileno()).st_size < self._fed:  # not written again as far as this one
            successor.close()
            return b""
        successor.seek(self._fed)
        self._file.close()
        self._checksums.close()
        self._file, self._checksums = successor, Checksums(self.path)
        return successor.read(_CHUNK)

    def _unpacked(self, record: bytes) -> Document | None:
        """Decode a record; None if nothing but zeros follow, which a machine without power may leave."""
        try:
            found = unpack(record)
            if not (isinstance(found, list) and len(found) == 2):
                raise DataError("a record that is no document of a run")
            name, doc = found
            check_document(name, doc)
            if self._records == 0 and name != "start":
                raise DataError("it begins with no start document")
        except DataError as error:
            if self._zeros_to_the_end():
                return None
            raise self._foreign(str(error)) from error
        return name, doc

    def _noted(self, document: Document) -> Document:
        name, doc = document
        self.stopped = self.stopped or name == "stop"
        if name == "descriptor":
            self._descriptors.add(doc["uid"])
        elif name in ("event", "event_page") and doc["descriptor"] not in self._descriptors:
            raise RecordError(
                f"journal {self.path}: the descriptor of the {name} before byte {self.position} is lost, "
                "without which no event of its stream can be read"
            )
        return document

    def _leave_out(self, known: Checksum, record: bytes) -> None:
        where = f"at byte {self.position}, record {self._records + 1}"
        text = f"journal {self.path} is damaged {where}: {_what(record)} of {known.length} bytes is lost"
        if self._on_damage is None or self._records == 0:
            raise RecordError(f"{text}; the {self._records} records before it are whole")
        self.n_damaged += 1
        self._on_damage(f"{text}; the records before and after it are read")

    def _zeros_to_the_end(self) -> bool:
        # A machine that lost power may leave a file that was extended but not filled.
        with self.path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if not self._records or size <= self.position:
                return False
            file.seek(self.position)
            return not any(any(chunk) for chunk in iter(lambda: file.read(_CHUNK), b""))

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


def _opened(path: Path) -> BinaryIO:
    """Open a file to read; RecordError for anything else, such as a pipe, which would be waited for."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise RecordError(f"journal {path} is not a file")
        return os.fdopen(handle, "rb")
    except OSError as error:
        raise RecordError(f"journal {path}: {error.strerror}") from error


def read_journal(
    path: str | Path, on_cut: Report | None = None, on_damage: Report | None = None
) -> Iterator[Document]:
    """Yield the documents of a journal as they were emitted.

    Arrays come back with their dtype, read-only; tuples as lists, the way of all document stores.

    Parameters
    ----------
    path : path
        A file that `Journal` (or suitcase-msgpack) wrote; pages, if any, come as single events and datums.
    on_cut : callable, optional
        Called with a sentence if the last record was cut, which is otherwise logged as a warning; every record
        before it is yielded all the same.
    on_damage : callable, optional
        Called with a sentence for each record in the middle that was changed since it was written, which is then
        left out; without it, damage is an error.

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
    with _opened(Path(path)) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 65536, 0))
        tail = file.read()
    begin = tail.rfind(_STOP)
    while begin >= 0:
        try:
            name, doc = unpack(tail[begin:])
            check_document(name, doc)
        except DataError:
            begin = tail.rfind(_STOP, 0, begin)
        else:
            found: dict[str, Any] = doc
            return found
    return None


def _headless(path: str | Path) -> RecordError:
    return RecordError(f"journal {path} is empty or cut within its first record: no run can be read from it")


def _what(record: bytes) -> str:
    """Say what a damaged record was, by its first bytes: the name of its document."""
    for name in _NAMES:
        head = pack([name, {}])[:-1]
        if record.startswith(head):
            return f"the {name}"
    return "a document"
