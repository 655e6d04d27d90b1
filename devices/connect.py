"""Connecting, with a message that names every PV that does not answer, and its device."""

from __future__ import annotations

import time
from weakref import WeakSet

from ophyd import Device

from ..errors import DeviceAwayError, InstrumentError
from .caproto_client import keep_client

__all__ = ["connect"]

_answered: WeakSet[Device] = WeakSet()
"""Devices that have answered once: they may be away, where others were never there."""


def connect(device: Device, timeout_s: float = 5.0) -> None:
    """Wait until every signal of a device is connected.

    Parameters
    ----------
    device : Device
    timeout_s : float
        For all of them together.

    Raises
    ------
    InstrumentError
        Naming the device and the PVs that did not answer; DeviceAwayError if it has answered before.
    """
    keep_client()
    limit = time.monotonic() + timeout_s
    silent = []
    for signal in (walk.item for walk in device.walk_signals()):
        if signal.connected:
            continue
        try:
            signal.wait_for_connection(timeout=max(0.01, limit - time.monotonic()))
        except TimeoutError:
            names = {getattr(signal, "setpoint_pvname", None), getattr(signal, "pvname", None)} - {None}
            silent.append(" and ".join(sorted(str(name) for name in names)) or signal.name)
    if not silent:
        _answered.add(device)
    else:
        kind = DeviceAwayError if device in _answered else InstrumentError
        raise kind(f"{device.name}: no answer within {timeout_s:g} s from {', '.join(silent)}")
