"""The electron beam of an SEM: where it stands, whether it is blanked, and what it has done to the specimen."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from functools import partial
from typing import Any

from ophyd import Component as Cpt
from ophyd import Device, EpicsSignal, EpicsSignalRO, Kind

from ..errors import DeviceAwayError, InstrumentError, in_one_line, is_away
from .blanker import Blanker
from .connect import connect
from .encoding import check_units, usual_units
from .guard import InstrumentGuard
from .kept import KeptSettings
from .monitors import MonitorCheck
from .placewatch import PlaceWatch
from .reading import BEAM_FIELDS, data_key
from .signals import now, put, put_if_there
from .status import QuickStatus

__all__ = ["Blanker", "SEMBeam"]

_log = logging.getLogger(__name__)


UNITS = {
    "x": "µm", "y": "µm", "field_width": "µm", "current": "nA", "energy": "kV", "dose": "nC", "pixel_dose": "nC",
    "settle_time_s": "s",
}  # fmt: skip
"""Units in which the PVs of a beam must be."""


class SEMBeam(Device):  # type: ignore[misc]
    """The electron beam: ``set((x, y))`` in µm blanks it, moves it, and is done when it has settled.

    Readbacks are read when they are asked for and never taken from a monitor: a put completes before the monitor
    of what it changed arrives. Monitors show besides where the beam was while it was lit (`PlaceWatch`): if somebody
    moved it away and back, `read` gives the place that was farthest off, and a plan refuses the point. A position
    outside the field (the control limits of the PVs) is refused.

    Parameters
    ----------
    prefix : str
    connection_timeout_s : float
        For all PVs together, when staged.
    position_tolerance_um : float, optional
        How far from its pixel a recorded position may be; by default a plan decides.
    """

    x = Cpt(EpicsSignal, "X_RBV", write_pv="X", auto_monitor=False, limits=True, kind=Kind.hinted)
    y = Cpt(EpicsSignal, "Y_RBV", write_pv="Y", auto_monitor=False, limits=True, kind=Kind.hinted)
    pixel_dose = Cpt(EpicsSignalRO, "PixelDose", auto_monitor=False, kind=Kind.normal)
    dose = Cpt(EpicsSignalRO, "Dose", auto_monitor=False, kind=Kind.normal)
    mode = Cpt(EpicsSignal, "Mode", string=True, kind=Kind.config)
    settle_time_s = Cpt(EpicsSignal, "SettleTime", kind=Kind.config)
    energy = Cpt(EpicsSignalRO, "HV", kind=Kind.config)
    current = Cpt(EpicsSignalRO, "Current", kind=Kind.config)
    field_width = Cpt(EpicsSignalRO, "HFW", kind=Kind.config)
    dose_budget = Cpt(EpicsSignal, "DoseBudget", kind=Kind.config)
    dose_ok = Cpt(EpicsSignalRO, "DoseOK", kind=Kind.omitted)
    blanker = Cpt(Blanker, "", kind=Kind.omitted)

    def __init__(
        self,
        prefix: str,
        *,
        connection_timeout_s: float = 5.0,
        position_tolerance_um: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(prefix, **kwargs)
        self.connection_timeout_s = connection_timeout_s
        self.position_tolerance_um = position_tolerance_um
        self.guard = InstrumentGuard(self.name, prefix, type(self.blanker.setpoint))
        self.blanker.guard = self.guard
        self._places = self.blanker.places = PlaceWatch()
        self._monitored: tuple[Any, ...] = ()
        self._kept = KeptSettings(self.name)
        self._monitors = MonitorCheck(
            self.name, lambda: (self.current, self.dose_ok, self.blanker.readback, *self._kept.signals)
        )
        self._before: tuple[float, float] | None = None
        self._mode_before: Any = None

    @property
    def position(self) -> tuple[float, float]:
        """(x, y) in µm."""
        return now(self.x), now(self.y)

    def check_value(self, position: tuple[float, float]) -> None:
        """Raise InstrumentError for a position outside the field."""
        for axis, value in zip((self.x, self.y), position, strict=True):
            self._require_limits(axis)
            try:
                axis.check_value(float(value))
            except ValueError as error:
                raise InstrumentError(f"{self.name}: {error}") from None

    def _require_limits(self, axis: Any) -> None:
        """Ask for the limits of an axis again where the answer at its connection was lost."""
        if None not in axis.limits:
            return
        try:
            axis.get_setpoint(form="ctrl", use_monitor=False)
        except TimeoutError as error:
            raise DeviceAwayError(f"{self.name}: {axis.setpoint_pvname} did not answer ({error})") from None
        if None in axis.limits:
            raise InstrumentError(f"{self.name}: {axis.setpoint_pvname} states no limits of the field")

    def set(self, position: tuple[float, float]) -> QuickStatus:
        """Blank the beam and move it to (x, y) µm; InstrumentError outside the field.

        Where this object itself blanked it, and has not lit it since, the move does not wait for the answer to
        being blanked once more. After a lost connection (the IOC may have been restarted) settings are
        restored first.
        """
        self.check_value(position)
        self.guard.check_free()
        self._places.send(position)
        status = QuickStatus()
        if self._kept.uncertain:
            threading.Thread(target=self._restore_and_move, args=(position, status), daemon=True).start()
        else:
            self._move(position, status)
        return status

    def _restore_and_move(self, position: tuple[float, float], status: QuickStatus) -> None:
        try:
            self.blanker.confirmed_blanked = False
            if self._kept.lost and self.guard.held:
                self.guard.claim()
            self._kept.restore(self.connection_timeout_s)
            self._move(position, status)
        except Exception as error:
            known = isinstance(error, InstrumentError)
            status.set_exception(error if known else InstrumentError(f"{self.name}: {error}"))

    def _move(self, position: tuple[float, float], status: QuickStatus) -> None:
        self.blanker.note_lit(False)
        lock, left = threading.Lock(), [3]

        def arrived() -> None:
            with lock:
                left[0] -= 1
            if left[0] == 0:
                status.set_finished()

        def go() -> None:
            self.blanker.note_dark()
            put(self.x, float(position[0]), status, arrived)
            put(self.y, float(position[1]), status, arrived)

        if self.blanker.confirmed_blanked:
            put(self.blanker.setpoint, 1, status, arrived)
            go()
        else:
            left[0] = 2
            put(self.blanker.setpoint, 1, status, go)

    def describe(self) -> dict[str, Any]:
        """Describe what `read` gives; units and decimals are known without asking the microscope."""
        return {
            f"{self.name}_{key}": data_key(f"PV:{getattr(self, key).pvname}", "number", "<f8", units=unit,
                                           precision=precision)
            for key, (unit, precision) in BEAM_FIELDS.items()
        }  # fmt: skip

    def describe_configuration(self) -> OrderedDict[str, Any]:
        """Describe the settings, units in their usual spelling."""
        keys: OrderedDict[str, Any] = usual_units(super().describe_configuration())
        return keys

    def read(self) -> dict[str, Any]:
        """Read where the beam is, what this pixel got and what the specimen got.

        After an acquisition the place is that of the whole time that the beam was lit; see `PlaceWatch.farthest`.
        """
        reading = {}
        for key in BEAM_FIELDS:
            signal = getattr(self, key)
            try:
                value = now(signal)
            except Exception as error:
                kind = DeviceAwayError if is_away(error) else InstrumentError
                raise kind(f"{self.name}: {signal.pvname}: {in_one_line('', error)}") from error
            if key in ("x", "y"):
                value = self._places.farthest(key, value, signal.timestamp or 0.0)
            reading[f"{self.name}_{key}"] = {"value": value, "timestamp": signal.timestamp}
        return reading

    def stage(self) -> list[Any]:
        """Connect, blank, and remember where the beam stands."""
        self.connect(self.connection_timeout_s)
        self.guard.acquire(self.name)
        self.blanker.set(True).wait(self.connection_timeout_s)
        self.watch()
        self._before = self.position
        self._mode_before = self.mode.get()
        self._kept.keep(self.mode, "Spot")
        self.mode.set("Spot").wait(self.connection_timeout_s)
        for signal in (self.settle_time_s, self.dose_budget):
            self._kept.keep(signal, signal.get(), follow=True)
        self._monitors.start()
        return list(super().stage())

    def unstage(self) -> list[Any]:
        """Blank, and go back to where the beam stood; give the instrument back, whatever goes wrong with that."""
        self._monitors.stop()
        self._kept.forget()
        before, self._before = self._before, None
        try:
            if not self.blanker.setpoint.connected:
                raise DeviceAwayError(f"{self.blanker.setpoint.pvname} does not answer")
            if before is not None:
                self.set(before).wait(self.connection_timeout_s)
                self.mode.set(self._mode_before).wait(self.connection_timeout_s)
        except Exception as error:
            if not (is_away(error) or isinstance(error, InstrumentError)):
                raise
            _log.error("%s: nothing is restored: %s", self.name, in_one_line("", error))
        finally:
            self.guard.release(self.name)
        return list(super().unstage())

    def connect(self, timeout_s: float) -> None:
        """Wait until all PVs answer, look for watchdog and lease, and refuse PVs in other units than ours.

        Raises
        ------
        InstrumentError
            Naming the PVs that do not answer, or the one with another unit.
        """
        connect(self, timeout_s)
        self.guard.look()
        self.check_units()

    def watch(self) -> None:
        """Monitor where the beam is and whether it is blanked; to be called when its PVs have answered."""
        self.blanker.watch()
        if hasattr(self.x, "_read_pv") and not self._monitored:  # not of a fake device
            # signals of their own: what is read must never come from a monitor (see `now`)
            self._monitored = tuple(
                type(self.dose)(signal.pvname, name=f"{signal.name}_heard") for signal in (self.x, self.y)
            )
            for axis, signal in zip("xy", self._monitored, strict=True):
                signal.subscribe(partial(self._heard, axis))
                readback = getattr(self, axis)
                now(readback)
                self._places.begins(axis, readback.timestamp or 0.0)

    def _heard(self, axis: str, *, value: Any, timestamp: float | None = None, **_: Any) -> None:
        self._places.heard(axis, float(value), timestamp or 0.0)

    def check_units(self) -> None:
        """Raise InstrumentError for a PV in another unit than ours; one without a unit is taken to be in it."""
        check_units(self, UNITS)

    def stop(self, *, success: bool = False) -> None:
        """Blank; the RunEngine calls this on a pause and at every end of a plan."""
        self.blanker.note_lit(False)
        put_if_there(self.blanker.setpoint, 1)

    def pause(self) -> None:
        """Blank while the RunEngine is paused."""
        self.stop()

    def resume(self) -> None:
        """Nothing: the plan unblanks when it acquires again."""
