"""Settings that must stay as they were set as long as a run lasts: noticed when they change, and put back.

A PV that reports another value than the wanted one, or whose connection was lost (its IOC may have been restarted,
with other settings), makes them uncertain; they are read back before the next point.
"""

from __future__ import annotations

import logging
import math
import threading
from typing import Any

from ..errors import DeviceAwayError, InstrumentError

__all__ = ["KeptSettings"]

_log = logging.getLogger(__name__)


class KeptSettings:
    """Wanted values of some signals of a device.

    Parameters
    ----------
    name : str
        Of the device, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._wanted: dict[Any, Any] = {}
        self._watched: set[Any] = set()
        self._followed: set[Any] = set()
        self._uncertain = threading.Event()
        self._lost = threading.Event()

    def keep(self, signal: Any, value: Any, *, follow: bool = False) -> None:
        """Want `value` of a signal from now on; to be called before it is put.

        With `follow`, a change is taken for the wish of an operator, and only what a lost connection brings (the
        IOC's own defaults) is put back.
        """
        self._wanted[signal] = value
        (self._followed.add if follow else self._followed.discard)(signal)
        if signal not in self._watched:
            self._watched.add(signal)
            signal.subscribe(self._changed, run=False)
            signal.subscribe(self._connection, event_type=signal.SUB_META, run=False)

    def forget(self, *signals: Any) -> None:
        """Want nothing of these signals any more; without signals, of none."""
        for signal in signals or tuple(self._wanted):
            self._wanted.pop(signal, None)
        if not self._wanted:
            self._uncertain.clear()
            self._lost.clear()

    @property
    def signals(self) -> tuple[Any, ...]:
        """The signals that must keep their values."""
        return tuple(self._wanted)

    @property
    def uncertain(self) -> bool:
        """Whether a value may have changed since it was put or read back."""
        return self._uncertain.is_set()

    @property
    def lost(self) -> bool:
        """Whether a connection was lost since the last `restore`."""
        return self._lost.is_set()

    def _changed(self, *, value: Any, obj: Any, **_: Any) -> None:
        if obj not in self._wanted or _equal(value, self._wanted[obj]):
            return
        if obj in self._followed and not self.lost:
            self._wanted[obj] = value
        else:
            self._uncertain.set()

    def _connection(self, *, obj: Any, connected: bool = True, **_: Any) -> None:
        if obj in self._wanted and not connected:
            self._lost.set()
            self._uncertain.set()

    def differences(self) -> list[str]:
        """Read back; describe each value that is not the wanted one.

        Raises
        ------
        InstrumentError
            If one cannot be read.
        """
        return [f"{signal.name} is {found!r}, not {wanted!r}" for signal, found, wanted in self._differing()]

    def restore(self, timeout_s: float = 5.0) -> list[str]:
        """Read back and put what differs once more; return what differed, each also logged as a warning.

        Raises
        ------
        InstrumentError
            If one cannot be read, or does not take its value.
        """
        self._uncertain.clear()
        self._lost.clear()
        restored = []
        try:
            for signal, found, wanted in self._differing():
                signal.set(wanted).wait(timeout_s)
                restored.append(f"{signal.name} was {found!r} instead of {wanted!r}")
                _log.warning("%s: %s; restored", self._name, restored[-1])
            if left := self._differing():
                signal, found, wanted = left[0]
                raise InstrumentError(f"{self._name}: {signal.name} stays {found!r} instead of {wanted!r}")
        except Exception as error:
            self._uncertain.set()
            if isinstance(error, InstrumentError):
                raise
            raise InstrumentError(f"{self._name}: settings cannot be restored: {error}") from error
        return restored

    def _differing(self) -> list[tuple[Any, Any, Any]]:
        found = []
        for signal, wanted in list(self._wanted.items()):
            try:
                value = signal.get(use_monitor=False)
            except Exception as error:
                raise DeviceAwayError(f"{self._name}: {signal.name} cannot be read back: {error}") from error
            if not _equal(value, wanted):
                found.append((signal, value, wanted))
        return found


def _equal(found: Any, wanted: Any) -> bool:
    if isinstance(found, str) or isinstance(wanted, str):
        return str(found) == str(wanted)
    return math.isclose(float(found), float(wanted), rel_tol=1e-6, abs_tol=1e-12)
