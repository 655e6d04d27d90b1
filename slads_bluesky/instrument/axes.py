"""x and y of a beam, one by one, for ``%mov x 10``, ``%wa`` and one-dimensional scans.

A map moves the beam as a whole (``beam.set((x, y))``); a person at a prompt thinks of one axis at a time.
"""

from __future__ import annotations

import threading
from typing import Any

__all__ = ["BeamAxis", "beam_axes"]


class _Target:
    """Where both axes are to go; two moves at a time must not undo each other."""

    def __init__(self, beam: Any) -> None:
        self.beam = beam
        self._lock = threading.Lock()
        self._wanted: list[float] = [0.0, 0.0]
        self._status: Any = None

    def set(self, index: int, value: float) -> Any:
        with self._lock:
            if self._status is None or self._status.done:
                self._wanted = [float(v) for v in self.beam.position]
            self._wanted[index] = value
            self._status = self.beam.set((self._wanted[0], self._wanted[1]))
            return self._status


class _NoOffset:
    """The user offset of an axis that has none, as ``%wa`` asks for it."""

    def get(self) -> float:
        return 0.0


class BeamAxis:
    """One axis of a beam as a positioner; made by `beam_axes`."""

    parent = None
    precision = 3
    user_offset = _NoOffset()
    egu = "µm"

    def __init__(self, target: _Target, index: int) -> None:
        self._target, self._index = target, index
        self.name = f"{target.beam.name}_{'xy'[index]}"
        self._ophyd_labels_ = {"motors"}

    def __repr__(self) -> str:
        return f"<{self.name} at {self.position:.{self.precision}f} {self.egu}>"

    def __lt__(self, other: BeamAxis) -> bool:
        return self.name < other.name

    @property
    def position(self) -> float:
        """Where it is, µm."""
        return float(self._target.beam.position[self._index])

    @property
    def limits(self) -> tuple[float, float]:
        """How far the field reaches, µm; (0, 0), as EPICS has it, where the beam has no limits."""
        beam = self._target.beam
        if hasattr(beam, "sem"):
            (y0, y1), (x0, x1) = beam.sem.limits_um
            return ((x0, x1), (y0, y1))[self._index]
        low, high = getattr(getattr(beam, "xy"[self._index], None), "limits", (0.0, 0.0))
        return float(low), float(high)

    @property
    def hints(self) -> dict[str, Any]:
        """Its position, for tables."""
        return {"fields": [self.name]}

    def check_value(self, value: float) -> None:
        """InstrumentError outside the field."""
        position = [float(v) for v in self._target.beam.position]
        position[self._index] = float(value)
        self._target.beam.check_value((position[0], position[1]))

    def set(self, value: float) -> Any:
        """Move there blanked; the other axis stays, or goes to its own target."""
        return self._target.set(self._index, float(value))

    def read(self) -> dict[str, Any]:
        """Read the position."""
        return {self.name: self._target.beam.read()[self.name]}

    def describe(self) -> dict[str, Any]:
        """Describe the position."""
        return {self.name: self._target.beam.describe()[self.name]}

    def read_configuration(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def describe_configuration(self) -> dict[str, Any]:
        """Nothing."""
        return {}


def beam_axes(beam: Any) -> tuple[BeamAxis, BeamAxis]:
    """Return x and y of a beam (an `SEMBeam` or a `SoftBeam`)."""
    target = _Target(beam)
    return BeamAxis(target, 0), BeamAxis(target, 1)
