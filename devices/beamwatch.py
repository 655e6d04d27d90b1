"""Whether the beam was there while a spectrum was acquired, by the charge that reached the specimen."""

from __future__ import annotations

from collections import deque
from statistics import median

from ..errors import InstrumentError

__all__ = ["BeamWatch"]


class BeamWatch:
    """Compares each acquisition's mean current with that of the ones before.

    A monitor of the current comes too late, or not at all for a short dip; the charge since the acquisition began,
    over its real time, cannot miss one. A slow drift raises no alarm.

    Parameters
    ----------
    tolerance : float
        Part of the current that may be missing.
    """

    def __init__(self, tolerance: float = 0.2) -> None:
        self._tolerance = tolerance
        self._usual: deque[float] = deque(maxlen=21)
        self._dose_nc = 0.0

    def begin(self, dose_nc: float) -> None:
        """Take the total dose before an acquisition; needed after one that was abandoned."""
        self._dose_nc = dose_nc

    def start(self, dose_nc: float, current_na: float) -> None:
        """Start with the dose so far and the current that the microscope reports."""
        self._dose_nc = dose_nc
        self._usual.clear()
        if current_na > 0:
            self._usual.append(current_na)

    def check(self, dose_nc: float, real_s: float) -> None:
        """Take the total dose after an acquisition of `real_s` seconds.

        Raises
        ------
        InstrumentError
            If charge is missing.
        """
        before, self._dose_nc = self._dose_nc, dose_nc
        if real_s <= 0:
            return
        current, usual = (dose_nc - before) / real_s, median(self._usual) if self._usual else 0.0
        if current <= 0:
            raise InstrumentError("no beam: no charge reached the specimen during the acquisition")
        if current < (1 - self._tolerance) * usual:
            raise InstrumentError(f"beam current lost: {current:.3g} nA on average instead of {usual:.3g} nA")
        if current <= (1 + self._tolerance) * (usual or current):  # more: an acquisition that was abandoned
            self._usual.append(current)
