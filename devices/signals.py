"""Asking a signal and putting to it, whatever the control layer and whoever else listens; errors in one line."""

from __future__ import annotations

import logging
from typing import Any

from ophyd import EpicsSignal, EpicsSignalRO

from ..errors import DeviceAwayError, InstrumentError, in_one_line, is_away
from .status import QuickStatus

__all__ = ["not_taken", "now", "put", "put_if_there"]

_log = logging.getLogger(__name__)


def now(signal: EpicsSignalRO) -> float:
    """Ask for a value, whoever monitors it: pyepics has one PV of a name, whose monitor answers all its signals."""
    return float(signal.get(use_monitor=False))


def put(signal: EpicsSignal, value: Any, status: QuickStatus, then: Any) -> None:
    """Put `value` with completion, then call `then`; what goes wrong becomes the status's exception."""

    def completed(**_: Any) -> None:
        try:
            then()
        except Exception as error:
            status.set_exception(error)

    try:
        if isinstance(signal, EpicsSignal):
            signal.put(value, use_complete=True, callback=completed)
        else:  # of a device that `ophyd.sim.make_fake_device` made: the put is all there is
            signal.put(value)
            completed()
    except Exception as error:
        status.set_exception(not_taken(signal, error))


def not_taken(signal: EpicsSignal, error: Exception) -> InstrumentError:
    """Say in one line why a signal did not take a value."""
    if is_away(error) and not signal.connected:
        return DeviceAwayError(
            f"{signal.name}: {getattr(signal, 'setpoint_pvname', signal.name)} does not answer"
        )
    return (DeviceAwayError if is_away(error) else InstrumentError)(in_one_line(signal.name, error))


def put_if_there(signal: EpicsSignal, value: Any) -> bool:
    """Put a value on the way out of something, where nothing may be raised; whether it was put, or else logged."""
    try:
        if signal.connected:
            signal.put(value)
            return True
    except Exception as error:
        if not is_away(error):
            raise
    _log.error("%s: %s does not answer; it is not set to %s", signal.name, signal.setpoint_pvname, value)
    return False
