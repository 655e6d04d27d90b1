"""What a RunEngine subscribes: documents into the journal at once, into the catalog in the background."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from slads_bluesky.errors import ConfigError
from slads_bluesky.progress import Progress, no_progress

from .catalog.owed import note_owed
from .catalog.store import is_elsewhere, open_catalog
from .journal.writing import Journal
from .location import journal_directory, record_path

if TYPE_CHECKING:
    from .hdf5_spectra import SpectraToFiles

__all__ = ["Recorder"]

_log = logging.getLogger("slads_bluesky.record")


class Recorder:
    """Document callback that loses nothing: ``RE.subscribe(recorder)``.

    Each document is in the journal when the call returns; a process of its own carries the journal into the
    catalog. If that process, or the catalog, fails, this is reported once, and the plan continues. A catalog that
    works again is caught up by itself, else the next time that it is opened.

    Parameters
    ----------
    directory : path, optional
        The record, ``journal/`` and ``catalog/`` in it; by default the user's own.
    catalog : str, optional
        Another catalog than the embedded one in `directory`: a Tiled server's URI or a profile. It gets the runs of
        this recorder, and those that an earlier recorder with the same address could not write; others by
        `slads_bluesky.record.catalog.writer.catch_up`.
    fsync : bool
        Wait for the disk after each document.
    spectra : {"inline", "hdf5"}
        Keep spectra in the events, or in HDF5 files beside the journal; `open_catalog` and the exports read both.
    on_problem : callable, optional
        Called with a sentence for each problem of the catalog, from another thread; without it, problems are logged
        as warnings. `problems` keeps them.

    Raises
    ------
    RecordError
        If the directory cannot be written; and from the call, if a document cannot be recorded.
    """

    def __init__(
        self,
        directory: str | Path | None = None,
        *,
        catalog: str | None = None,
        fsync: bool = False,
        spectra: str = "inline",
        on_problem: Callable[[str], None] | None = None,
    ) -> None:
        self.directory = record_path(directory)
        self.uids: list[str] = []
        """Runs recorded so far, oldest first."""
        self.problems: list[str] = []
        """What went wrong on the way to the catalog, and has not been repaired since."""
        self.n_events = 0
        """Events in the journal since this recorder was made."""
        self.n_catalogued = 0
        """Events of these that the catalog's writer has taken."""
        self._where = catalog if catalog is not None else str(self.directory)
        self._elsewhere = catalog is not None and is_elsewhere(catalog)
        self._on_problem = on_problem
        self._changed = threading.Condition()
        self._synced = 0
        self._asked = 0
        self._closing = False
        self._events: dict[str, int] = {}  # descriptor -> highest seq_num
        if spectra not in ("inline", "hdf5"):
            raise ConfigError(f"spectra are kept 'inline' or in 'hdf5', not '{spectra}'")
        self.journal = Journal(journal_directory(self.directory), fsync)
        self._files: SpectraToFiles | None = None
        if spectra == "hdf5":
            from .hdf5_spectra import SpectraToFiles

            self._files = SpectraToFiles(self.directory, self.journal)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the recorder)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "slads_bluesky.record.catalog.follower_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,  # Ctrl-C at the terminal is for the plan, not for the catalog
        )
        self._send({"catalog": self._where, "journal": str(self.journal.directory)})
        self._listener = threading.Thread(target=self._listen, name="catalog-writer", daemon=True)
        self._listener.start()

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Record one document; RecordError if the journal cannot take it."""
        (self._files or self.journal)(name, doc)
        if name in ("event", "event_page"):
            for seq_num in [doc["seq_num"]] if name == "event" else doc["seq_num"]:
                # a pause may emit an event again: counted once, as the catalog will hold it
                if seq_num > self._events.get(doc["descriptor"], 0):
                    self._events[doc["descriptor"]] = seq_num
                    self.n_events += 1
        elif name == "start":
            self.uids.append(doc["uid"])
            if self._elsewhere:
                note_owed(self.journal.path(doc["uid"]), self._where)
            self._send({"follow": str(self.journal.path(doc["uid"]))})

    @property
    def catalog(self) -> Any:
        """The databroker client, opened in this process at the first use (some seconds)."""
        return open_catalog(self._where)

    @property
    def writer_pid(self) -> int:
        """Process id of the catalog's writer."""
        return self._process.pid

    @property
    def up_to_date(self) -> bool:
        """Whether the catalog's writer has taken all that was recorded, and without trouble."""
        return not self.problems and self.n_catalogued >= self.n_events

    def flush(self, timeout: float = 60.0, progress: Progress = no_progress) -> bool:
        """Wait until the catalog holds what was recorded so far.

        Parameters
        ----------
        timeout : float
            Seconds to wait at most.
        progress : callable
            Called as ``progress("catalog", fraction)`` with the fraction of the events in the catalog, a few times a
            second.

        Returns
        -------
        bool
            Whether it does. If not, nothing is lost: the journal has it, and the next opening catches up.
        """
        self._asked += 1
        if self._send({"sync": self._asked}):
            asked = self._asked
            self._wait(lambda: self._synced >= asked, timeout, progress)
            return self._synced >= asked and self.up_to_date
        return False

    def close(self, timeout: float = 60.0, progress: Progress = no_progress) -> bool:
        """Close the journal and wait for the catalog as `flush` does; twice does no harm.

        After `timeout` the writer is left to finish by itself.
        """
        if self._files is not None:
            self._files.close()
        self.journal.close()
        if not self._closing:
            self._closing = True
            try:
                if self._process.stdin is not None:
                    self._process.stdin.close()
            except BrokenPipeError:
                pass
        self._wait(lambda: not self._listener.is_alive(), timeout, progress)
        if self._listener.is_alive():
            self._problem(f"catalog not up to date after {timeout:g} s; its writer continues by itself")
            return False
        self._process.wait()
        self._errors.close()
        return self.up_to_date

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _send(self, command: dict[str, Any]) -> bool:
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            return False  # the listener reports that, and why, the process is gone
        return True

    def _wait(self, done: Callable[[], bool], timeout: float, progress: Progress) -> None:
        deadline = time.monotonic() + timeout
        with self._changed:
            while not done() and self._listener.is_alive() and time.monotonic() < deadline:
                progress("catalog", self.n_catalogued / max(self.n_events, 1))
                self._changed.wait(min(0.2, max(deadline - time.monotonic(), 0)))
        progress("catalog", self.n_catalogued / max(self.n_events, 1))

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            with self._changed:
                self.n_catalogued = message.get("events", self.n_catalogued)
                self._synced = message.get("synced", self._synced)
                self._changed.notify_all()
            if "problem" in message:
                self._problem(message["problem"])
            if "repaired" in message:
                self._repaired(message["repaired"])
        self._process.stdout.close()
        code = self._process.wait()
        if code != 0 and not self.problems:
            self._errors.seek(0)
            last = self._errors.read().decode(errors="replace").strip().splitlines()[-1:]
            self._problem(f"its writer ended with code {code}: {''.join(last)}")

    def _problem(self, text: str) -> None:
        if text not in self.problems:
            self.problems.append(text)
            self._report(text, "the journal has everything")

    def _repaired(self, text: str) -> None:
        if text in self.problems:
            self.problems.remove(text)
        self._report(f"{text.partition(':')[0]} was written again", "the catalog is complete again")

    def _report(self, text: str, addition: str) -> None:
        if self._on_problem is not None:
            self._on_problem(text)
        else:
            _log.warning("catalog: %s (%s)", text, addition)
