"""The journal: every document of a run in one append-only file, on disk before the plan continues.

A file is a sequence of msgpack records ``(name, document)``, the encoding of suitcase-msgpack with numpy arrays by
msgpack-numpy, so that suitcase's readers read ours and `reading.read_journal` reads theirs. Events are kept as they
were emitted, never as pages. Objects that would need pickle are refused both ways. Length and checksum of each record
are in a file beside it (`checksums`).
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from slads_bluesky.codec import make_packer
from slads_bluesky.errors import RecordError

from .checksums import checksum_path, entry_of
from .order import append_to_order

__all__ = ["SUFFIX", "Document", "Journal", "is_being_taken"]

_log = logging.getLogger(__name__)
SUFFIX = ".msgpack"
Document = tuple[str, dict[str, Any]]


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
        has no place in a document): the plan must not measure what is not recorded. A record that was
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
        self._packer = make_packer()
        self._files: dict[str, int] = {}
        self._checksums: dict[str, int] = {}
        self._locks: dict[str, int] = {}
        self._run_of: dict[str, str] = {}  # uid of a descriptor or resource -> uid of its run
        self._counts: dict[str, dict[str, int]] = {}  # run -> stream -> highest seq_num in the file
        self._stream_of: dict[str, str] = {}  # descriptor -> stream
        self._lost: set[str] = set()  # runs of which an event could not be written

    def path(self, uid: str) -> Path:
        """File of the run `uid`."""
        return self.directory / f"{uid}{SUFFIX}"

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Append one document, whatever its kind, to the file of its run."""
        run = self._run(name, doc)
        if name == "stop":
            doc = self._counted(run, doc)
        record = self._pack(name, doc)
        if name == "start":
            self._open(run)
        try:
            self._append(run, record)
        except RecordError:
            if name in ("event", "event_page"):
                self._lost.add(run)  # the RunEngine counts it all the same
            elif name == "stop":  # the run is over all the same, and can be resumed by this very process
                self._close_run(run)
            raise
        self._count(run, name, doc)
        if name == "stop":
            self._close_run(run)

    def _counted(self, run: str, doc: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a stop document that counts the events which are here.

        The RunEngine counts those that could not be written, and does not count those before which it went back at a
        resumption, where the run ended before it had come to them again.
        """
        told, held = dict(doc.get("num_events") or {}), self._counts.get(run, {})
        if run in self._lost or any(n > told.get(stream, 0) for stream, n in held.items()):
            return {**doc, "num_events": {**told, **held}}
        return doc

    def _count(self, run: str, name: str, doc: Mapping[str, Any]) -> None:
        if name == "descriptor":
            self._stream_of[doc["uid"]] = str(doc.get("name", ""))
            self._counts.setdefault(run, {}).setdefault(self._stream_of[doc["uid"]], 0)
        elif name in ("event", "event_page"):
            counts, stream = self._counts.setdefault(run, {}), self._stream_of.get(doc["descriptor"], "")
            highest = doc["seq_num"] if name == "event" else max(doc["seq_num"], default=0)
            counts[stream] = max(counts.get(stream, 0), highest)

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
        append_to_order(self.directory, run)
        self._checksums[run] = os.open(
            checksum_path(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o644
        )
        self._locks[run] = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(self._locks[run], fcntl.LOCK_EX)
        if self.fsync:
            folder = os.open(self.directory, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)

    def _append(self, run: str, record: bytes) -> None:
        if run not in self._files:
            raise RecordError(f"journal {self.path(run)} is closed; the run {run} is over")
        if os.fstat(self._files[run]).st_nlink == 0:
            self._restore(run)
        handle = self._files[run]
        checksums = self._checksums[run]
        before, checksums_before = os.fstat(handle).st_size, os.fstat(checksums).st_size
        try:
            # first the checksum: whoever sees a whole record can check it
            _write(checksums, entry_of(record))
            _write(handle, record)
            if self.fsync:
                os.fsync(handle)
        except OSError as error:
            os.ftruncate(handle, before)
            os.ftruncate(checksums, checksums_before)
            if before == 0:  # not even the start: no file is better than an empty one
                self._close_run(run)
                self.path(run).unlink(missing_ok=True)
                checksum_path(self.path(run)).unlink(missing_ok=True)
            reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
            raise RecordError(
                f"journal {self.path(run)}: {reason}; all documents before this one are safe"
            ) from error

    def _restore(self, run: str) -> None:
        """Write the file of a run again that was deleted while it is recorded; this process still has its content."""
        path = self.path(run)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            for target, handles in ((checksum_path(path), self._checksums), (path, self._files)):
                if os.fstat(handles[run]).st_nlink:
                    continue
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
                with open(f"/proc/self/fd/{handles[run]}", "rb") as old:
                    new = os.open(target, flags, 0o644)
                    while chunk := old.read(1 << 20):
                        _write(new, chunk)
                os.close(handles[run])
                handles[run] = new
            fcntl.flock(self._files[run], fcntl.LOCK_SH)
            lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            os.close(self._locks[run])
            self._locks[run] = lock
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            raise RecordError(
                f"journal {path} was deleted while the run is recorded, and cannot be written again: {error}"
            ) from error
        _log.warning("journal %s was deleted while the run is recorded; it was written again", path)

    def _close_run(self, run: str) -> None:
        handle = self._files.pop(run, None)
        if handle is not None:
            self.path(run).with_suffix(".lock").unlink(missing_ok=True)
            os.close(self._locks.pop(run))  # this drops the locks
            os.close(self._checksums.pop(run))
            os.close(handle)
        self._stream_of = {uid: of for uid, of in self._stream_of.items() if self._run_of.get(uid) != run}
        self._run_of = {uid: other for uid, other in self._run_of.items() if other != run}
        self._counts.pop(run, None)
        self._lost.discard(run)


def _write(handle: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


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
