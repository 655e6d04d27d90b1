"""The journal: every document of a run in one append-only file, on disk before the plan goes on.

A file is a sequence of msgpack records ``(name, document)``, the encoding of suitcase-msgpack with numpy
arrays by msgpack-numpy, so that suitcase's readers read ours and `read_journal` reads theirs. Events are kept as they
were emitted, never as pages. Objects that would need pickle are refused both ways.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import event_model
import msgpack
import msgpack_numpy

from slads_bluesky.errors import RecordError

__all__ = [
    "SUFFIX",
    "Document",
    "Journal",
    "JournalTail",
    "is_being_taken",
    "read_journal",
    "read_start",
    "read_stop",
]

SUFFIX = ".msgpack"
Document = tuple[str, dict[str, Any]]

_NAMES = frozenset(name.name for name in event_model.DocumentNames)
_CHUNK = 1 << 20
_STOP = b"\x92\xa4stop"  # how msgpack begins the record ["stop", {…}]
_log = logging.getLogger(__name__)


class Journal:
    """Document callback that appends every document to the file of its run and returns when it is written.

    Synchronous and unbuffered: after ``journal(name, doc)`` the record is with the operating system, so that
    the death of this process loses nothing (with `fsync`, that of the machine neither). The file of an open
    run is locked (shared) so that nobody takes a run in progress for one that was left behind.

    Parameters
    ----------
    directory : path
        Where the files are, one a run, ``<uid>.msgpack``; made if it does not exist.
    fsync : bool
        Wait for the disk after each document.

    Raises
    ------
    RecordError
        If the directory cannot be written; from the call, if a document cannot be (disk full, an object that
        has no place in a document): the plan must not go on measuring what is not recorded. A record that was
        cut short by the failure is taken back, so that the file stays readable.
    """

    def __init__(self, directory: str | Path, fsync: bool = False) -> None:
        self.directory = Path(directory)
        self.fsync = fsync
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordError(f"journal directory {self.directory}: {error.strerror}") from error
        if not os.access(self.directory, os.W_OK | os.X_OK):
            raise RecordError(f"journal directory {self.directory} is not writable")
        self._packer = msgpack.Packer(default=_encode, use_bin_type=True)
        self._files: dict[str, int] = {}
        self._locks: dict[str, int] = {}
        self._run_of: dict[str, str] = {}  # uid of a descriptor or resource -> uid of its run

    def path(self, uid: str) -> Path:
        """File of the run `uid`."""
        return self.directory / f"{uid}{SUFFIX}"

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Append one document, whatever its kind, to the file of its run."""
        run = self._run(name, doc)
        record = self._pack(name, doc)
        if name == "start":
            self._open(run)
        self._append(run, record)
        if name == "stop":
            self._close_run(run)

    def close(self) -> None:
        """Close the files of runs that have had no stop document."""
        for run in list(self._files):
            self._close_run(run)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _run(self, name: str, doc: Mapping[str, Any]) -> str:
        try:
            if name == "start":
                return str(doc["uid"])
            if name in ("descriptor", "stop", "resource", "stream_resource"):
                run = str(doc["run_start"])
                if name != "stop":
                    self._run_of[doc["uid"]] = run
                return run
            if name in ("datum", "datum_page"):
                return self._run_of[doc["resource"]]
            return self._run_of[doc["descriptor"]]
        except KeyError as error:
            raise RecordError(f"{name} document belongs to no run of this journal: {error}") from error

    def _pack(self, name: str, doc: Mapping[str, Any]) -> bytes:
        try:
            return bytes(self._packer.pack((name, dict(doc))))
        except (TypeError, ValueError, OverflowError) as error:
            self._packer.reset()
            raise RecordError(f"{name} document {doc.get('uid')} cannot be recorded: {error}") from error

    def _open(self, run: str) -> None:
        path = self.path(run)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise RecordError(f"journal {path}: {error.strerror}") from error
        fcntl.flock(handle, fcntl.LOCK_SH)
        self._files[run] = handle
        self._locks[run] = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(self._locks[run], fcntl.LOCK_EX)
        if self.fsync:
            folder = os.open(self.directory, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)

    def _append(self, run: str, record: bytes) -> None:
        handle = self._files.get(run)
        if handle is None:
            raise RecordError(f"journal {self.path(run)} is closed; the run {run} is over")
        before = os.fstat(handle).st_size
        try:
            rest = memoryview(record)
            while rest:
                rest = rest[os.write(handle, rest) :]
            if self.fsync:
                os.fsync(handle)
        except OSError as error:
            os.ftruncate(handle, before)
            if before == 0:  # not even the start: no file is better than an empty one
                self._close_run(run)
                self.path(run).unlink(missing_ok=True)
            reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
            raise RecordError(
                f"journal {self.path(run)}: {reason}; all documents before this one are safe"
            ) from error

    def _close_run(self, run: str) -> None:
        handle = self._files.pop(run, None)
        if handle is not None:
            self.path(run).with_suffix(".lock").unlink(missing_ok=True)
            os.close(self._locks.pop(run))  # this drops the locks
            os.close(handle)
        self._run_of = {uid: other for uid, other in self._run_of.items() if other != run}


class JournalTail:
    """Reader of a journal that may still be growing: each `read` gives the documents that were added.

    Parameters
    ----------
    path : path
        The file.

    Raises
    ------
    RecordError
        If the file cannot be read, is not a journal, or is damaged other than at its end.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.stopped = False
        try:
            self._file = self.path.open("rb")
        except OSError as error:
            raise RecordError(f"journal {self.path}: {error.strerror}") from error
        self._unpacker = _unpacker()
        self._fed = 0
        self._position = 0
        self._records = 0

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
        while chunk := self._file.read(_CHUNK):
            self._unpacker.feed(chunk)
            self._fed += len(chunk)
            while True:
                try:
                    record = self._unpacker.unpack()
                except msgpack.OutOfData:
                    break
                except Exception as error:
                    if self._zeros_to_the_end():
                        return
                    raise self._foreign(f"{error!r}") from error
                if not _is_document(record, first=self._records == 0):
                    if self._records and self._zeros_to_the_end():
                        return
                    raise self._foreign("a record that is no document of a run")
                self._records += 1
                self._position = int(self._unpacker.tell())  # now: when a record is incomplete it runs ahead
                self.stopped = self.stopped or record[0] == "stop"
                yield record[0], record[1]

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
        return RecordError(f"journal {self.path} is damaged {where}")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> JournalTail:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def read_journal(path: str | Path, on_cut: Callable[[str], None] | None = None) -> Iterator[Document]:
    """Yield the documents of a journal as they were emitted.

    Arrays come back with their dtype, read-only; tuples as lists, the way of all document stores.

    Parameters
    ----------
    path : path
        A file that `Journal` (or suitcase-msgpack) wrote; pages, if any, come as single events and datums.
    on_cut : callable, optional
        Told in a sentence if the last record was cut, which is otherwise logged as a warning; every record
        before it is yielded all the same.

    Raises
    ------
    RecordError
        Naming the file, if it is not a journal, is cut within its first record, or is damaged in the middle.
    """
    with JournalTail(path) as tail:
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


def is_being_taken(path: str | Path) -> bool:
    """Whether a living process still adds to the journal at `path`."""
    try:
        handle = os.open(Path(path).with_suffix(".lock"), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


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


def _encode(obj: Any) -> Any:
    # msgpack-numpy would pickle arrays of objects
    if getattr(getattr(obj, "dtype", None), "kind", "") == "O":
        raise TypeError("an array of Python objects has no place in a document")
    return msgpack_numpy.encode(obj)


def _decode(obj: dict[Any, Any]) -> Any:
    # msgpack-numpy would unpickle them, and run whatever code a foreign file brings along
    if obj.get(b"kind") == b"O":
        raise RecordError("an array of pickled Python objects, which is never read")
    return msgpack_numpy.decode(obj)
