"""The beam blanker, and what it knows of how long, and where, the beam was lit."""

from __future__ import annotations

import time
from typing import Any

from ophyd import Component as Cpt
from ophyd import Device, EpicsSignal, EpicsSignalRO, Kind

from ..errors import DeviceAwayError
from .beamwatch import BlankerWatch
from .guard import InstrumentGuard
from .placewatch import PlaceWatch
from .signals import put
from .status import QuickStatus

__all__ = ["Blanker"]

ANSWER_S = 5.0
"""How long the state of the blanker may take to arrive, s."""


class Blanker(Device):  # type: ignore[misc]
    """The beam blanker: set it to True to blank."""

    setpoint = Cpt(EpicsSignal, "Blank", put_complete=True, kind=Kind.omitted)
    readback = Cpt(EpicsSignalRO, "Blank_RBV", kind=Kind.omitted)

    confirmed_blanked = False
    """Whether the last command of this object, and one that was confirmed, was to blank."""
    lit = False
    """Whether the last command of this object was to unblank."""
    guard: InstrumentGuard | None = None
    """Of the beam that this is the blanker of."""
    places: PlaceWatch | None = None
    """Likewise."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._watch = BlankerWatch()
        self._watching = False
        self._lit_since: float | None = None
        self._lit_s = 0.0

    def watch(self) -> None:
        """Monitor the state from now on; to be called when its PVs have answered."""
        if not self._watching:
            self._watching = True
            self.readback.subscribe(self._heard)

    def _heard(self, *, value: Any, timestamp: float | None = None, **_: Any) -> None:
        self._watch.state(value, timestamp or 0.0)
        if value and self.places is not None:
            self.places.blanked(timestamp or 0.0)

    @property
    def interrupted(self) -> bool:
        """Whether the beam, which this object has lit, was blanked by somebody else since `read_open`."""
        return self._watch.interrupted

    def read_open(self) -> bool:
        """Ask for the state; whether it is open. What the monitor brings is compared with its time."""
        blanked, at = self.state()
        if not blanked:
            self._watch.opened(at)
            if self.places is not None:
                self.places.opened(at)
        return not blanked

    def was_interrupted(self) -> bool:
        """Return `interrupted`, after asking for the state as well, which a late monitor may not have brought."""
        return self.lit and (self.interrupted or self.state()[0])

    def state(self) -> tuple[bool, float]:
        """Ask whether the beam is blanked, and since when by the instrument's time, s."""
        pv = getattr(self.readback, "_read_pv", None)
        if pv is None:  # of a device that `ophyd.sim.make_fake_device` made
            return bool(self.readback.get()), 0.0
        found = pv.get_with_metadata(form="time", use_monitor=False, timeout=ANSWER_S)
        if found is None:
            raise DeviceAwayError(f"{self.name}: {self.readback.pvname} does not answer")
        return bool(found["value"]), float(found["timestamp"] or 0.0)

    @property
    def lit_s(self) -> float:
        """How long the beam may have been lit by this object so far, s: from each command to its opposite's end."""
        since = self._lit_since
        return self._lit_s + (time.monotonic() - since if since is not None else 0.0)

    def note_dark(self) -> None:
        """Take that the beam is blanked, as confirmed."""
        since, self._lit_since = self._lit_since, None
        if since is not None:
            self._lit_s += time.monotonic() - since

    def set(self, blanked: bool) -> QuickStatus:
        """Blank or unblank; done when the microscope confirms it.

        Raises
        ------
        InstrumentError
            If the beam is to be lit and another process uses the instrument.
        """
        if not blanked and self.guard is not None:
            self.guard.look()
            self.guard.check_free()
        status = QuickStatus()
        self.confirmed_blanked = False
        self.note_lit(not blanked)

        def confirmed() -> None:
            self.confirmed_blanked = bool(blanked)
            if blanked:
                self.note_dark()
            status.set_finished()

        put(self.setpoint, int(bool(blanked)), status, confirmed)
        return status

    def note_lit(self, lit: bool) -> None:
        """Take what the last command was; while the beam is lit, the instrument is given beats."""
        self._watch.command(lit)
        self.lit = lit
        if lit and self._lit_since is None:
            self._lit_since = time.monotonic()
        if self.guard is not None:
            self.guard.lit(lit)

    def get(self) -> bool:
        """Whether the beam is blanked."""
        return bool(self.readback.get(use_monitor=False))
