"""The settings of the microscope's column, for the baseline."""

from __future__ import annotations

from ophyd import Component as Cpt
from ophyd import Device, EpicsSignal, EpicsSignalRO, Kind

__all__ = ["Microscope"]


class Microscope(Device):  # type: ignore[misc]
    """High voltage (kV), current (nA), working distance (mm), field width (µm), magnification."""

    high_voltage = Cpt(EpicsSignal, "HV", kind=Kind.normal)
    current = Cpt(EpicsSignalRO, "Current", auto_monitor=False, kind=Kind.normal)
    working_distance = Cpt(EpicsSignal, "WD", kind=Kind.normal)
    field_width = Cpt(EpicsSignalRO, "HFW", kind=Kind.normal)
    magnification = Cpt(EpicsSignalRO, "Mag", kind=Kind.normal)
