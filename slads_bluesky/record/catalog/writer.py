"""From the journal into the catalog: in batches, and again for what the catalog lacks or holds in part."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slads_bluesky.errors import RecordError
from slads_bluesky.progress import Progress, no_progress
from slads_bluesky.streams import StreamRouter, events_by_stream

from ..hdf5_spectra import own_file
from ..journal.order import order_of_runs
from ..journal.reading import JournalTail
from ..journal.writing import SUFFIX
from ..location import catalog_directory, spectra_directory
from .embedded import ORDER
from .left_out import first_line, note_left_out, note_written, reason_left_out
from .owed import runs_owed
from .tiled_writer import FlushingRunWriter

__all__ = [
    "Rewound",
    "RunWriter",
    "catch_up",
    "catch_up_owed",
    "hold_journal",
    "leave_out",
    "remove_run",
    "run_metadata",
    "write_run",
    "writer_of",
]

BATCH = 1000
"""Events of a stream that are written at once at most."""

_UNFINISHED = "journal_bytes"  # metadata of a run without a stop document: how much of its journal is in
_log = logging.getLogger(__name__)


class Rewound(RecordError):
    """A stream went back to an event that the catalog holds already: the run must be written again."""


class RunWriter(StreamRouter):
    """Writes the documents of one run into a catalog, arrays to zarr, scalars to tables.

    Holds back the last event of each stream: a pause that rewinds past a save emits a ``seq_num`` again, and the
    last of these is the one that counts. (Written as they come, they would shift arrays against scalars.)

    Parameters
    ----------
    catalog : databroker client
        Where to write.
    batch : int
        Events of a stream to write at once.
    number : int, optional
        Of the run in the order of the record's runs.
    files : Path, optional
        The only folder in which external files may be.
    """

    def __init__(
        self, catalog: Any, batch: int = BATCH, number: int | None = None, files: Path | None = None
    ) -> None:
        super().__init__()
        self._writer = FlushingRunWriter(catalog, batch)
        self._number, self._files = number, files
        self._held: dict[str, dict[str, Any]] = {}  # stream -> its last event
        self.n_events = 0
        """Different events taken so far, over all streams."""

    def __call__(self, name: str, doc: dict[str, Any], validate: bool = False) -> tuple[str, Any]:
        """Take one document; events are written when a batch is full, at `flush` and with the stop document.

        Raises
        ------
        Rewound
            If an event comes before the one held back.
        """
        if name == "stop":
            self._release()
        if self._files is not None and name in ("resource", "stream_resource"):
            own_file(str(doc.get("uri", doc.get("resource_path", ""))), self._files)
        routed = super().__call__(name, doc, validate)
        if name not in ("event", "event_page"):
            self._writer(name, doc)
        if name == "start" and self._number is not None:
            # SQLite sorts the JSON text: 10 would come before 9
            self._writer.update_metadata({ORDER: f"{self._number:010d}"})
        return routed

    def stream_descriptor(self, stream: str, doc: dict[str, Any]) -> None:
        """Check that the stream can have a place of its own below its run."""
        if not stream.strip(".") or "/" in stream:
            raise RecordError(f"a stream of the name '{stream}' has no place in a catalog")

    def stream_event(self, stream: str, doc: dict[str, Any]) -> None:
        """Hold an event back, and write the one before it."""
        held = self._held.get(stream)
        if held is None or doc["seq_num"] > held["seq_num"]:
            self.n_events += 1
            if held is not None:
                self._writer("event", held)
        elif doc["seq_num"] < held["seq_num"]:
            raise Rewound(f"stream {stream!r} went back from event {held['seq_num']} to {doc['seq_num']}")
        self._held[stream] = doc

    def _release(self) -> None:
        for doc in self._held.values():
            self._writer("event", doc)
        self._held.clear()

    def flush(self, everything: bool = False) -> None:
        """Write what was taken but for the events held back; with `everything`, those too."""
        if everything:
            self._release()
        self._writer.flush()

    def mark_unfinished(self, journal_bytes: int) -> None:
        """Note that the run has no stop document, and how much of its journal was written."""
        self.flush(everything=True)
        self._writer.update_metadata({_UNFINISHED: journal_bytes})


def write_run(catalog: Any, path: Path, batch: int = BATCH) -> int:
    """Write a whole journal into a catalog that does not hold its run; of a repeated event, the last.

    Parameters
    ----------
    catalog : databroker client
        Where to write.
    path : path
        The journal; a run without a stop document is written as far as it goes and marked so.

    Returns
    -------
    int
        Events written, over all streams; records that are damaged are logged and left out.

    Raises
    ------
    RecordError
        If the journal cannot be read.
    """
    last: dict[tuple[str, int], int] = {}
    with JournalTail(path, _log.warning) as tail:
        for i, (name, stream, doc) in enumerate(events_by_stream(tail.read())):
            if name == "event":
                last[stream, doc["seq_num"]] = i
    writer = writer_of(catalog, path, batch)
    with JournalTail(path, _ignore) as tail:
        for i, (name, stream, doc) in enumerate(events_by_stream(tail.read())):
            if name == "event" and last[stream, doc["seq_num"]] != i:
                continue
            writer(name, doc)
        if tail.position and not tail.stopped:
            writer.mark_unfinished(tail.position)
    return writer.n_events


def writer_of(catalog: Any, path: Path, batch: int = BATCH) -> RunWriter:
    """Return a writer for the run of a journal; into an embedded catalog, external files must be the record's own."""
    number = order_of_runs(path.parent).get(path.stem)
    embedded = catalog_directory(path.parent.parent).is_dir()
    return RunWriter(catalog, batch, number, spectra_directory(path.parent.parent) if embedded else None)


def catch_up(catalog: Any, journal_dir: str | Path, progress: Progress = no_progress) -> list[str]:
    """Write the runs that a catalog lacks or holds in part, from their journals; idempotent.

    Runs that a living process still writes, or that another is catching up, are left alone. A run that cannot be
    written, whatever the catalog raises, is logged once, noted beside its journal and left out.

    Parameters
    ----------
    catalog : databroker client
        Where to write.
    journal_dir : path
        Folder of the journals.
    progress : callable
        Called as ``progress("catalog", fraction)``, with the fraction of the runs.

    Returns
    -------
    list of str
        The uids that were written.
    """
    journals = sorted(Path(journal_dir).glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime)
    if not journals:
        return []
    from tiled.queries import KeyPresent

    finished = set(catalog.search(KeyPresent("stop.uid")).keys())
    missing = [path for path in journals if path.stem not in finished]
    written = []
    for done, path in enumerate(missing):
        progress("catalog", done / len(missing))
        with hold_journal(path) as held:
            if not held or not _written(catalog, path):
                continue
        written.append(path.stem)
    progress("catalog", 1.0)
    return written


def catch_up_owed(catalog: Any, journal_dir: str | Path, where: str) -> list[str]:
    """Write the runs that a catalog elsewhere is still to get (`owed`); return their uids. Else as `catch_up`."""
    written = []
    for path in runs_owed(Path(journal_dir), where):
        with hold_journal(path) as held:
            if not held:
                continue
            if _written(catalog, path):
                written.append(path.stem)
            elif reason_left_out(path) is None:  # it was there
                note_written(path)
    return written


def _written(catalog: Any, path: Path) -> bool:
    """Write a run that a catalog lacks or holds in part; whether it did. A run that cannot be written is noted."""
    try:
        metadata = run_metadata(catalog, path.stem)
        if metadata is not None:
            if "stop" in metadata or metadata.get(_UNFINISHED) == _whole_bytes(path):
                return False
            remove_run(catalog, path.stem)
        write_run(catalog, path)
    except Exception as error:  # whatever Tiled, SQL or JSON raise: one odd run stands in nobody's way
        leave_out(catalog, path, error)
        return False
    note_written(path)
    return True


def leave_out(catalog: Any, path: Path, error: Exception) -> str:
    """Note that a run cannot be written, and why; what was written of it is removed. Returns the reason."""
    reason = first_line(error)
    if note_left_out(path, reason):
        _log.warning("run %s is in the journal only: %s", path.stem[:8], reason)
    with contextlib.suppress(Exception):
        if run_metadata(catalog, path.stem) is not None:
            remove_run(catalog, path.stem)
    return reason


def run_metadata(catalog: Any, uid: str) -> dict[str, Any] | None:
    """Metadata of a run in the catalog (``start``, ``stop`` if it has one), or None if it is not there."""
    try:
        return dict(catalog[uid].metadata)
    except KeyError:
        return None


def remove_run(catalog: Any, uid: str) -> None:
    """Take a run out of the catalog, data and all."""
    catalog.delete_contents(uid, recursive=True, external_only=False)


@contextmanager
def hold_journal(path: Path, shared: bool = False) -> Iterator[bool]:
    """Hold a journal for oneself (or, `shared`, with its writer) for a while; yields whether it was free."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def _ignore(text: str) -> None:
    """Ignore what was reported before."""


def _whole_bytes(path: Path) -> int:
    with JournalTail(path, _ignore) as tail:
        for _ in tail.read():
            pass
        return tail.position
