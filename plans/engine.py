"""A RunEngine that blanks the beam first: on Ctrl-C, on SIGTERM and SIGHUP, whatever the plan is doing.

bluesky's own handler lets a first Ctrl-C wait for the next checkpoint, which with a long dwell is the end of the
dwell, and knows no other signal, so that a terminal that closes or a service that is stopped leaves the beam on the
specimen. Nothing can be done here against SIGKILL: for that the instrument needs a watchdog, see `devices.guard`.
"""

import contextlib
import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Protocol

from bluesky import RunEngine
from bluesky.utils import Msg, TransitionError  # type: ignore[attr-defined]

__all__ = ["BeamSafeEngine", "Lease"]

_log = logging.getLogger(__name__)

BLANK_S = 1.0
"""How long blanking may take before a plan is paused or a process ends all the same, s."""
APART_S = 0.1
"""Ctrl-C within so short a time counts once, s."""
MANY, WITHIN_S = 10, 10.0
"""After more than so many Ctrl-C in so short a time, s, KeyboardInterrupt is raised, as bluesky does."""
GRACE_S = 8.0
"""A process that was asked to end is ended by the signal's default after so long, s, if nothing else does."""

ENDING = (signal.SIGTERM, signal.SIGHUP)


class Lease(Protocol):
    """What keeps two processes from using one instrument at the same time."""

    def acquire(self) -> None:
        """Take it, or raise InstrumentError."""

    def release(self) -> None:
        """Give it back."""


class BeamSafeEngine(RunEngine):
    """A RunEngine for instruments with a beam.

    On the first Ctrl-C the beam is blanked at once and the plan paused immediately; `resume` measures the interrupted
    point again. On SIGTERM and SIGHUP the beam is blanked at once, the run is closed with a stop document, and
    SystemExit is raised.

    Parameters
    ----------
    *args, **more
        As for RunEngine.

    Attributes
    ----------
    beams : list
        Blanked by their ``stop`` method; a `protocols.Beam` each.
    lease : Lease, optional
        Taken while a plan runs or is paused.
    on_ending : callable, optional
        Called with the number of the signal once the run is closed, in the thread that runs the plan.
    """

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **{"context_managers": [_Signals], **more})
        self.beams: list[Any] = []
        self.lease: Lease | None = None
        self.on_ending: Callable[[int], None] | None = None
        self._ending = 0
        self.register_command("save", self._save_for_good)  # type: ignore[no-untyped-call]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run a plan; SystemExit if the process is about to end."""
        self._check_not_ending()
        if self.lease is not None and self.state == "idle":
            self.lease.acquire()
        return self._whole(lambda: super(BeamSafeEngine, self).__call__(*args, **kwargs))

    def resume(self) -> Any:
        """Resume a paused plan."""
        self._check_not_ending()
        return self._whole(super().resume)

    def abort(self, reason: str = "") -> Any:
        """End a plan and mark its run as aborted."""
        return self._whole(lambda: super(BeamSafeEngine, self).abort(reason))  # type: ignore[no-untyped-call]

    def stop(self) -> Any:
        """End a plan and mark its run as successful."""
        return self._whole(super().stop)

    def halt(self) -> Any:
        """End a plan without its cleanup."""
        return self._whole(super().halt)

    async def _save_for_good(self, message: Any) -> None:
        """Save an event; with ``checkpoint=True`` a pause that comes meanwhile does not measure the point once more.

        A pause takes effect between two messages, and one between ``save`` and ``checkpoint`` would go back to before
        the point: its dose would be given twice for one spectrum.
        """
        await self._save(message)  # type: ignore[no-untyped-call]
        if message.kwargs.get("checkpoint"):
            await self._checkpoint(Msg("checkpoint"))  # type: ignore[no-untyped-call]

    def _whole(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        finally:
            if self.lease is not None and self._is_over:
                self.lease.release()
            if self._ending and self._is_over:
                self._end()

    @property
    def _is_over(self) -> bool:
        """Whether no plan is under way: not after an `abort` from another thread than the plan's, say."""
        return self.state in ("idle", "panicked")

    def _check_not_ending(self) -> None:
        if self._ending:
            raise SystemExit(128 + self._ending)

    def _end(self) -> None:
        if self.on_ending is not None:
            self.on_ending(self._ending)
        if threading.current_thread() is threading.main_thread():
            raise SystemExit(128 + self._ending)

    def blank(self) -> None:
        """Blank all beams now, in a thread of its own; return when they are, at the latest after `BLANK_S`."""

        def one(beam: Any) -> None:
            try:
                beam.stop()
            except Exception:
                _log.exception("%s could not be blanked", getattr(beam, "name", beam))

        threads = [threading.Thread(target=one, args=(beam,), daemon=True) for beam in self.beams]
        for thread in threads:
            thread.start()
        limit = time.monotonic() + BLANK_S
        for thread in threads:
            thread.join(max(0.0, limit - time.monotonic()))

    def end_by(self, number: int) -> None:
        """Blank, close the run, let the process end, as a signal asks for; from any thread but the plan's."""
        self.blank()
        if self._ending:
            return
        self._ending = number
        threading.Thread(target=_end_at_last, args=(number,), daemon=True).start()
        name = signal.Signals(number).name
        _log.warning("%s: the beam is blanked, the run is closed, the process ends", name)
        with contextlib.suppress(TransitionError):
            super().abort(f"{name} received")  # type: ignore[no-untyped-call]

    @contextlib.contextmanager
    def ended_by_signals(self) -> Iterator[None]:
        """Handle SIGTERM and SIGHUP between plans too: blank, close a paused run, end; in the main thread only."""
        before: dict[int, Any] = {number: signal.getsignal(number) for number in ENDING}

        def handle(number: int, frame: FrameType | None) -> None:
            self.blank()
            if self.state == "paused":
                self._ending = number
                with contextlib.suppress(BaseException):
                    self.abort(f"{signal.Signals(number).name} received")
            if self.on_ending is not None:
                self.on_ending(number)
            _again(number, before[number])

        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, handle)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _again(number: int, handler: Any) -> None:
    """Let a signal have the effect that it had before."""
    signal.signal(number, handler)
    os.kill(os.getpid(), number)


def _end_at_last(number: int) -> None:
    time.sleep(GRACE_S)
    # from another thread a handler cannot be set, so the process is ended as the signal's default would
    os._exit(128 + number)


class _Signals:
    """Handles the signals while the RunEngine runs; one of its context managers."""

    def __init__(self, engine: BeamSafeEngine) -> None:
        self._engine = engine
        self._requests: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._before: dict[int, Any] = {}
        self._thread: threading.Thread | None = None
        self._times: list[float] = []

    def __enter__(self) -> "_Signals":
        if threading.current_thread() is not threading.main_thread():
            return self  # no handler can be set from here; signals go to the main thread
        self._thread = threading.Thread(target=self._watch, name="beam-signals", daemon=True)
        self._thread.start()
        for number in (signal.SIGINT, *ENDING):
            before = signal.getsignal(number)
            if number == signal.SIGINT or before is not signal.SIG_IGN:
                self._before[number] = before
                signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._thread is not None:
            self._requests.put(None)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Note the signal, in the main thread, in the middle of anything: so no lock, no print, no I/O."""
        if number == signal.SIGINT:
            now = time.monotonic()
            self._times = [t for t in self._times if now - t < WITHIN_S]
            if self._times and now - self._times[-1] < APART_S:
                return
            self._times.append(now)
            if len(self._times) > MANY and callable(self._before[number]):
                self._before[number](number, frame)
                return
        self._requests.put(number)

    def _watch(self) -> None:
        while (number := self._requests.get()) is not None:
            try:
                if number == signal.SIGINT:
                    self._engine.blank()
                    self._engine.request_pause(defer=False)  # type: ignore[no-untyped-call]
                else:
                    self._engine.end_by(number)
            except TransitionError:
                continue
            except Exception:
                _log.exception("signal %s could not be handled", number)
