"""Publishing every document, without the plan ever waiting for a receiver.

The RunEngine's thread appends each document to a bounded queue and returns; a thread of its own polls the queue,
encodes and sends. It is not woken for each document: on a busy machine waking another thread may take a while.
A document that cannot be sent is dropped and counted, and the first is reported: the journal, not a publisher, is
the record.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from ...errors import ConfigError

__all__ = ["QUEUED", "Publisher"]

_log = logging.getLogger(__name__)

QUEUED = 2000
"""Events that may wait: about 20 MB of spectra with 2040 channels."""
POLL_S = 0.03
"""Interval at which the queue is polled, s."""
IDLE_S = 0.3
"""The same after a while without documents, s."""
CLOSE_S = 2.0
"""How long the end of a process waits for the last documents to leave."""
_LOSSY = frozenset({"event", "event_page", "datum", "datum_page"})


class Publisher(ABC):
    """Document callback with a queue and a thread behind it; the subclass sends the documents.

    Parameters
    ----------
    queued : int
        Events that may wait. Further ones are dropped; start, descriptor and stop documents never are.
    on_problem : callable, optional
        Called once for each kind of problem, from another thread; by default it is logged as a warning.
    """

    def __init__(self, queued: int = QUEUED, on_problem: Callable[[str], None] | None = None) -> None:
        if queued < 1:
            raise ConfigError(f"a publisher's queue holds at least one document, not {queued}")
        self.n_sent = 0
        """Documents sent so far."""
        self.n_dropped = 0
        """Documents that could not be sent."""
        self.call_s = 0.0
        """Time spent so far in the thread of the RunEngine, s."""
        self.work_s = 0.0
        """Processor time spent so far in the publisher's own thread, s."""
        self._queued = queued
        self._on_problem = on_problem
        self._reported: set[str] = set()
        self._queue: deque[tuple[str, Mapping[str, Any]] | threading.Event] = deque()
        self._closing, self._called = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name=type(self).__name__, daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take a document, and return at once."""
        began = time.perf_counter()
        if self._closing.is_set():
            self.n_dropped += 1
        elif name in _LOSSY and len(self._queue) >= self._queued:
            self.n_dropped += 1
            self._problem("slow", f"{self}: {self._queued} documents wait, further ones are dropped")
        else:
            self._queue.append((name, doc))
        self.call_s += time.perf_counter() - began

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until everything given so far was sent or dropped; whether that came about in `timeout` s."""
        done = threading.Event()
        self._queue.append(done)
        self._called.set()
        return done.wait(timeout)

    def close(self, timeout: float = CLOSE_S) -> bool:
        """Send what waits, for `timeout` s at most, and end; twice does no harm. Whether nothing was left."""
        atexit.unregister(self.close)
        self._closing.set()
        self._called.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @abstractmethod
    def __str__(self) -> str:
        """Where the documents go, for messages."""

    @abstractmethod
    def _open(self) -> None:
        """Get ready; called in the publisher's thread."""

    @abstractmethod
    def _send(self, name: str, doc: Mapping[str, Any]) -> bool:
        """Send a document; False if there is no receiver."""

    @abstractmethod
    def _shut(self) -> None:
        """Let go of what `_open` got."""

    def _problem(self, kind: str, text: str) -> None:
        if kind in self._reported:
            return
        self._reported.add(kind)
        if self._on_problem is not None:
            self._on_problem(text)
        else:
            _log.warning("%s", text)

    def _work(self) -> None:
        opened = False
        try:
            self._open()
            opened = True
        except Exception as error:
            self._problem("open", f"{self}: {error}")
        idle_since = time.monotonic()
        while True:
            if not self._queue:
                if self._closing.is_set():
                    break
                busy = time.monotonic() - idle_since < 10 * IDLE_S
                self._called.wait(POLL_S if busy else IDLE_S)
                self._called.clear()
                continue
            idle_since = time.monotonic()
            item = self._queue.popleft()
            if isinstance(item, threading.Event):
                item.set()
                continue
            began = time.thread_time()
            try:
                sent = opened and self._send(*item)
            except Exception as error:  # whatever it is, it is no reason to stop a run, or the next document
                sent = False
                self._problem("send", f"{self}: {item[0]} document not sent: {error}")
            self.n_sent += sent
            self.n_dropped += not sent
            self.work_s += time.thread_time() - began
        if opened:
            self._shut()
