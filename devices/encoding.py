"""Texts of PVs in any encoding: units are Latin-1 by Channel Access's custom, UTF-8 by that of newer IOCs.

pyepics decodes every text as UTF-8 and raises an error for a micro sign of one byte, so that a PV with such a unit
cannot be used at all. Latin-1 decodes any byte; `unit_text` then gives a unit its usual spelling.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from ..errors import InstrumentError

__all__ = ["accept_any_bytes", "check_units", "unit_text", "usual_units"]

_MICRO = ("um", "µm", "μm", "Âµm", "Î¼m", "micron", "microns", "micrometer", "micrometre")


def accept_any_bytes() -> None:
    """Let pyepics decode texts as Latin-1; the environment variable PYEPICS_ENCODING wins."""
    encoding = os.environ.setdefault("PYEPICS_ENCODING", "latin-1")
    loaded = sys.modules.get("epics.utils")
    if loaded is not None:
        loaded.IOENCODING = encoding  # type: ignore[attr-defined]


def unit_text(unit: str) -> str:
    """Give a unit its usual spelling: ``um``, however a micro sign came through, is ``µm``.

    Examples
    --------
    >>> unit_text("um/s")
    'µm/s'
    """
    head, slash, tail = unit.strip().partition("/")
    return ("µm" if head in _MICRO else head) + slash + tail


def usual_units(keys: Any) -> Any:
    """Give the units of data keys their usual spelling, in place; return the keys."""
    for key in keys.values():
        if isinstance(key.get("units"), str):
            key["units"] = unit_text(key["units"])
    return keys


def check_units(device: Any, units: Mapping[str, str]) -> None:
    """Refuse a device with a PV in another unit than ours; a PV without a unit is taken to be in it.

    Parameters
    ----------
    device : ophyd Device
    units : mapping
        By signal of the device.

    Raises
    ------
    InstrumentError
        Naming the PV and both units.
    """
    for name, wanted in units.items():
        signal = getattr(device, name)
        unit = unit_text(str(signal.metadata.get("units") or ""))
        if unit and unit.replace("keV", "kV") != wanted:
            raise InstrumentError(f"{device.name}: {signal.pvname} is in {unit}, and must be in {wanted}")
