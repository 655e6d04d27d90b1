"""Monitors that have gone silent while their PVs still answer: noticed, and their values brought by hand.

A client thread that has ended, a gateway that was restarted or a lost subscription leave a PV that reads as ever and
whose changes nobody hears of. Whatever waits for a change (a suspender, the settings that a run keeps, the blanker's
watch) would wait for ever. So what the monitors brought last is compared with what the PVs answer.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["EVERY_S", "MonitorCheck"]

_log = logging.getLogger(__name__)

EVERY_S = 2.0
"""Time between two looks, s; a monitor counts as silent after the second that finds another value."""
ANSWER_S = 10.0
"""How long a PV may take to answer, s: caproto's client drops a connection whose answer comes after its timeout."""
DEADBAND = 0.05
"""A monitor may hold back changes of so much of the value."""


class MonitorCheck:
    """Looks at some monitored signals from time to time, in a thread of its own while it is started.

    Parameters
    ----------
    name : str
        Of the device, for messages.
    signals : callable
        Gives the signals to look at.
    """

    def __init__(self, name: str, signals: Callable[[], Iterable[Any]]) -> None:
        self._name, self._signals = name, signals
        self._heard: dict[Any, tuple[int, Any]] = {}  # how many values a monitor brought, and the last
        self._found: dict[Any, tuple[int, Any]] = {}  # at the last look, another value than that
        self._stop: threading.Event | None = None

    def start(self) -> None:
        """Look every `EVERY_S` seconds; twice does no harm."""
        if self._stop is None:
            self._stop = threading.Event()
            threading.Thread(
                target=self._run, args=(self._stop,), name=f"{self._name}-monitors", daemon=True
            ).start()

    def stop(self) -> None:
        """Look no more."""
        if self._stop is not None:
            self._stop.set()
            self._stop = None

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(EVERY_S):
            try:
                self.look()
            except Exception as error:  # a PV that does not answer is noticed by whoever needs it
                _log.debug("%s: %s", self._name, error)

    def look(self) -> list[str]:
        """Compare once; return the names of signals whose monitors are silent. Their subscribers get the value."""
        silent = []
        for signal in tuple(self._signals()):
            if not signal.connected:
                continue
            if signal not in self._heard:
                self._heard[signal] = (0, None)
                signal.subscribe(self._hear)
            value = signal.get(use_monitor=False, timeout=ANSWER_S)
            number, last = self._heard[signal]
            if number == 0 or _same(value, last):
                self._found.pop(signal, None)
                continue
            if self._found.get(signal, (0, None))[0] != number:
                self._found[signal] = (number, value)  # its monitor may be on its way
                continue
            _log.warning(
                "%s: the monitor of %s is silent: it is %r, not %r as heard last",
                self._name, getattr(signal, "pvname", signal.name), value, last,
            )  # fmt: skip
            silent.append(signal.name)
            signal._run_subs(sub_type=signal.SUB_VALUE, value=value, timestamp=signal.timestamp)
        return silent

    def _hear(self, *, value: Any, obj: Any, **_: Any) -> None:
        self._heard[obj] = (self._heard.get(obj, (0, None))[0] + 1, value)


def _same(found: Any, last: Any) -> bool:
    if isinstance(found, str) or isinstance(last, str):
        return str(found) == str(last)
    return math.isclose(float(found), float(last), rel_tol=DEADBAND, abs_tol=1e-12)
