"""What carries growing journals into the catalog, in a process of its own: see `follower_process`.

A process of its own, because writing to the catalog is milliseconds of Python a point, which in a thread would be
taken from the plan's loop; and because it finishes its work when the acquiring process is killed. It is driven by
`Recorder` over its standard input and output, one JSON object a line:

    in:  {"catalog": WHERE, "journal": FOLDER} first, since an address may hold a key and arguments are seen by all;
         {"follow": PATH}   {"sync": NUMBER}   end of file: write what is left and exit
    out: {"ready": true}   {"events": N}   {"synced": NUMBER}   {"problem": TEXT}   {"repaired": TEXT}

A catalog may fail in mid-run: its server restarts, its disk is full, another process holds its database. The run is
then written again, from the journal, after a while that doubles each time, at each ``sync`` and at the end.
"""

from __future__ import annotations

import json
import math
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from slads_bluesky.errors import RecordError, SladsError
from slads_bluesky.memory import collection_paused

from ..journal.reading import JournalTail
from .left_out import first_line, note_left_out, note_written
from .store import close_catalog, is_elsewhere, open_catalog
from .writer import (
    Rewound,
    RunWriter,
    catch_up,
    catch_up_owed,
    hold_journal,
    leave_out,
    remove_run,
    run_metadata,
    write_run,
    writer_of,
)

__all__ = ["Follower", "main"]

POLL_S = 0.2
"""How often the journals are looked at."""
FLUSH_S = 2.0
"""How long an event may wait for its batch."""
FIRST_FLUSH_S = 10.0
"""How long the first batch may gather: its size becomes the chunk of the arrays on disk."""
FIRST_FLUSH = 100
"""Events after which the first batch is big enough."""
RETRY_S = 5.0
"""How soon after its first failure the catalog is tried again; twice as long after each further one."""
AT_ONCE = 3
"""Failures after which a run is no longer tried at each ``sync``: it may be the run that is odd, not the catalog."""
RETRY_MOST_S = 300.0
"""How long it may be left alone."""
END_S, END_RETRY_S = 30.0, 2.0
"""At the end a catalog that is away is waited for so long, and tried so often, s; the next session tries again."""


class _Run:
    """One journal on its way into the catalog."""

    def __init__(self, catalog: Any, path: Path) -> None:
        self.path = path
        self.failed = False
        self.error: Exception = RecordError("not written")
        self.problem: str | None = None
        """What was reported of its failure, until it is repaired."""
        self._retry_at, self._failures = math.inf, 0
        self._lock = ExitStack()
        self._lock.enter_context(hold_journal(path, shared=True))
        self._tail = JournalTail(path)
        self._catalog = catalog
        self._writer: RunWriter | None = None  # made in the first step: the catalog may be out of reach now
        self._held: int | None = None  # events of a run that the catalog holds whole already
        self.rewound = False
        self._waiting_since: float | None = None
        self._flushed = self._rewritten = 0

    def fail(self, error: Exception) -> None:
        """Note a failure, and when to try again; what the journal itself is to blame for is not tried again."""
        self.failed, self.error = True, error
        self._failures += 1
        pause = min(RETRY_S * 2 ** (self._failures - 1), RETRY_MOST_S)
        self._retry_at = math.inf if isinstance(error, RecordError) else time.monotonic() + pause

    def wants_retry(self, at_once: bool) -> bool:
        """Whether it failed, and it is time to try again, or may be tried `at_once`."""
        if not self.failed or math.isinf(self._retry_at):
            return False
        return (at_once and self._failures <= AT_ONCE) or time.monotonic() >= self._retry_at

    @property
    def away(self) -> bool:
        """Whether it failed because the catalog did not answer: it may be back in a moment."""
        return self.failed and _is_away(self.error)

    def forget(self) -> None:
        """Write the run from its first document at the next step, whatever the catalog took of it."""
        self._writer = None
        self.failed = False

    def _begin(self) -> RunWriter:
        """Start from the first document, with nothing of the run in the catalog; leave a whole one alone."""
        metadata = run_metadata(self._catalog, self.path.stem)
        if metadata is not None and "stop" in metadata:
            # a short run may have been caught up together with the earlier ones
            self._held = sum(metadata["stop"].get("num_events", {}).values())
        elif metadata is not None:
            remove_run(self._catalog, self.path.stem)
        self._tail.close()
        self._tail = JournalTail(self.path)
        self.rewound = False
        self._waiting_since = None
        self._flushed = self._rewritten = 0
        return writer_of(self._catalog, self.path)

    @property
    def n_events(self) -> int:
        if self._held is not None:
            return self._held
        return 0 if self._writer is None else self._rewritten or self._writer.n_events

    @property
    def over(self) -> bool:
        return self._tail.stopped or self._held is not None

    def step(self, flush: bool) -> None:
        """Take what the journal has; write it if it is time, or at once with `flush`."""
        if self.failed:
            return
        if self._writer is None:
            self._writer = self._begin()
        if self._held is not None:
            return
        for name, doc in self._tail.read():
            if self.rewound:
                continue
            try:
                self._writer(name, doc)
            except Rewound:
                self.rewound = True
        if self.rewound:
            return
        if self._writer.n_events > self._flushed and self._waiting_since is None:
            self._waiting_since = time.monotonic()
        if flush or self._due():
            self._writer.flush()
            self._flushed = self._writer.n_events
            self._waiting_since = None

    def _due(self) -> bool:
        if self._waiting_since is None:
            return False
        waited = time.monotonic() - self._waiting_since
        if self._flushed:
            return waited > FLUSH_S
        return waited > FIRST_FLUSH_S or (self.n_events >= FIRST_FLUSH and waited > FLUSH_S)

    def finish(self) -> None:
        """Nothing more will come: leave the catalog as whole as the journal."""
        if self.rewound:
            remove_run(self._catalog, self.path.stem)
            self._rewritten = write_run(self._catalog, self.path)
        elif self._writer is not None and not self.failed and not self.over:
            self._writer.mark_unfinished(self._tail.position)
        self.close()

    def close(self) -> None:
        self._tail.close()
        self._lock.close()


class Follower:
    """Carries any number of growing journals into one catalog.

    Parameters
    ----------
    catalog : databroker client
        Where to write.
    report : callable
        Takes the JSON objects described on top of this module.
    """

    def __init__(self, catalog: Any, report: Callable[[dict[str, Any]], None]) -> None:
        self._catalog = catalog
        self._report = report
        self._runs: dict[Path, _Run] = {}
        self._done = 0
        self._reported = -1

    @property
    def n_events(self) -> int:
        """Events taken from all journals followed so far."""
        return self._done + sum(run.n_events for run in self._runs.values())

    def follow(self, path: Path) -> None:
        """Begin with the journal at `path`, which has its start document."""
        if path in self._runs:
            return
        self._runs[path] = _Run(self._catalog, path)

    def step(self, flush: bool = False) -> None:
        """One round over all journals."""
        for path, run in list(self._runs.items()):
            failed_before = run.failed
            self._guarded(run, lambda run=run: run.step(flush))  # type: ignore[misc]
            if run.wants_retry(at_once=flush and failed_before):
                self._retry(run)
            if run.over and not run.failed:
                self._guarded(run, run.finish)
            if run.over and not run.failed:
                note_written(path)
                self._done += run.n_events
                run.close()
                del self._runs[path]
        if self.n_events != self._reported:
            self._reported = self.n_events
            self._report({"events": self._reported})

    def finish(self, patience_s: float = 0.0) -> None:
        """Write all that is left; runs without a stop document are marked as such.

        Parameters
        ----------
        patience_s : float
            How long a catalog that is away is waited for, s.
        """
        self.step(flush=True)  # with a last try for what failed
        limit = time.monotonic() + patience_s
        while any(run.away for run in self._runs.values()) and time.monotonic() < limit:
            time.sleep(END_RETRY_S)
            for run in self._runs.values():
                if run.away:
                    self._retry(run)
            self.step(flush=True)
        for run in self._runs.values():
            if run.failed:
                leave_out(self._catalog, run.path, run.error)
            self._guarded(run, run.finish)
            if not run.failed:
                note_written(run.path)
            run.close()
        self._runs.clear()

    def _guarded(self, run: _Run, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # whatever the catalog raises, the journal continues
            run.fail(error)
            note_left_out(run.path, first_line(error))
            if run.problem is None:
                run.problem = f"run {run.path.stem[:8]}: {first_line(error)}"
                self._report({"problem": run.problem})

    def _retry(self, run: _Run) -> None:
        run.forget()
        self._guarded(run, lambda: run.step(flush=True))
        if not run.failed:
            note_written(run.path)
            self._report({"repaired": run.problem})
            run.problem = None


def _is_away(error: Exception) -> bool:
    """Whether an error means that a server does not answer, or that it is not well."""
    import httpx

    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= 500
    return isinstance(error, (OSError, httpx.TransportError))


def main() -> int:
    """Follow what standard input names until it ends."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints must not end up among our lines
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # zarr has a pool that gains threads for hours; one writes the few chunks of a batch as soon as many do
    os.environ.setdefault("ZARR_THREADING__MAX_WORKERS", "1")

    def report(message: dict[str, Any]) -> None:
        # with the acquiring process gone nobody reads, and the work continues
        try:
            out.write(json.dumps(message) + "\n")
        except BrokenPipeError:
            sys.stderr.write(f"{message}\n")

    lines = _lines()
    first = next((line for line in lines if line is not None), None)
    if first is None:  # the acquiring process is gone already
        return 0
    where, journal_dir = first["catalog"], first["journal"]
    try:
        with collection_paused():
            catalog = open_catalog(where, catch_up=False)
    except SladsError as error:
        report({"problem": str(error)})
        return 1
    report({"ready": True})
    elsewhere = is_elsewhere(where)
    try:
        if elsewhere:  # a facility's server gets the runs of the sessions with it, none unasked
            catch_up_owed(catalog, journal_dir, where)
        else:
            catch_up(catalog, journal_dir)
    except Exception as error:
        report({"problem": f"earlier runs could not be caught up: {first_line(error)}"})
    follower = Follower(catalog, report)
    _serve(lines, follower, report)
    follower.finish(END_S if elsewhere else 0.0)
    close_catalog(catalog)
    return 0


def _lines() -> Iterator[dict[str, Any] | None]:
    """Yield what standard input says, and None each time that it says nothing for a while; ends with it."""
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    rest = b""
    while True:
        if not selector.select(POLL_S):
            yield None
            continue
        chunk = os.read(0, 65536)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        yield from map(json.loads, lines)


def _serve(
    lines: Iterator[dict[str, Any] | None], follower: Follower, report: Callable[[dict[str, Any]], None]
) -> None:
    """Obey standard input until its end."""
    for command in lines:
        if command is not None and "follow" in command:
            try:
                follower.follow(Path(command["follow"]))
            except (OSError, RecordError) as error:
                report({"problem": str(error)})
        if command is not None and "sync" in command:
            follower.step(flush=True)
            report({"synced": command["sync"]})
        follower.step()
