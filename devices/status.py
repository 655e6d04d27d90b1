"""A status object without a thread: what a device gives the RunEngine for something that will be done.

ophyd's own starts a thread for each status; at a few milliseconds a point that is a good part of the time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["QuickStatus"]


class QuickStatus:
    """Done once, with success or an exception; satisfies ``bluesky.protocols.Status``.

    Parameters
    ----------
    done : bool
        Whether it is done from the start.
    """

    def __init__(self, *, done: bool = False) -> None:
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[QuickStatus], None]] = []
        self._exception: BaseException | None = None
        self._event: threading.Event | None = None
        self._done = done

    def __repr__(self) -> str:
        # the RunEngine writes this into a stop document as the reason of the end
        if not self._done:
            return f"{type(self).__name__}(under way)"
        return f"{type(self).__name__}(done)" if self._exception is None else str(self._exception)

    @property
    def done(self) -> bool:
        """Whether it is over, well or badly."""
        return self._done

    @property
    def success(self) -> bool:
        """Whether it is over and went well."""
        return self._done and self._exception is None

    def add_callback(self, callback: Callable[[QuickStatus], None]) -> None:
        """Call `callback` with this object once it is done; now, if it is."""
        with self._lock:
            if not self._done:
                self._callbacks.append(callback)
                return
        callback(self)

    def set_finished(self) -> None:
        """It went well; does nothing if it is over already."""
        self._finish(None)

    def set_exception(self, exception: BaseException) -> None:
        """It failed; does nothing if it is over already."""
        self._finish(exception)

    def _finish(self, exception: BaseException | None) -> None:
        with self._lock:
            if self._done:
                return
            self._exception = exception
            self._done = True
            callbacks, self._callbacks = self._callbacks, []
            if self._event is not None:
                self._event.set()
        for callback in callbacks:
            callback(self)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what went wrong, None if nothing did; waits up to `timeout` seconds and then raises TimeoutError."""
        self._wait(timeout)
        return self._exception

    def wait(self, timeout: float | None = None) -> None:
        """Wait until it is done; raise what went wrong, or TimeoutError."""
        self._wait(timeout)
        if self._exception is not None:
            raise self._exception

    def _wait(self, timeout: float | None) -> None:
        with self._lock:
            if self._done:
                return
            if self._event is None:
                self._event = threading.Event()
        if not self._event.wait(timeout):
            raise TimeoutError(f"not done within {timeout} s")
