"""The settings of the microscope's column, for the baseline."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from ophyd import Component as Cpt
from ophyd import Device, EpicsSignal, EpicsSignalRO, Kind

from .encoding import check_units, usual_units

__all__ = ["Microscope"]


UNITS = {"high_voltage": "kV", "current": "nA", "working_distance": "mm", "field_width": "µm"}
"""Units in which the PVs must be."""


class Microscope(Device):  # type: ignore[misc]
    """High voltage (kV), current (nA), working distance (mm), field width (µm), magnification.

    All but the magnification, which follows from the field width, are shown in tables.
    """

    high_voltage = Cpt(EpicsSignal, "HV", kind=Kind.hinted)
    current = Cpt(EpicsSignalRO, "Current", auto_monitor=False, kind=Kind.hinted)
    working_distance = Cpt(EpicsSignal, "WD", kind=Kind.hinted)
    field_width = Cpt(EpicsSignalRO, "HFW", kind=Kind.hinted)
    magnification = Cpt(EpicsSignalRO, "Mag", kind=Kind.normal)

    def check_units(self) -> None:
        """Raise InstrumentError for a PV in another unit than ours; one without a unit is taken to be in it."""
        check_units(self, UNITS)

    def describe(self) -> OrderedDict[str, Any]:
        """Describe the values of `read`, units in their usual spelling."""
        keys: OrderedDict[str, Any] = usual_units(super().describe())
        return keys
