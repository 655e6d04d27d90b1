"""A backscatter frame of the simulated microscope as pure state: scanned line by line, dark where there is no beam.

No clock and no EPICS: whoever uses it says how far the hardware's time has come.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...errors import InstrumentError
from ...grid import ScanGrid
from .model import SimulatedSEM

__all__ = ["FrameRun"]


class FrameRun:
    """One frame under way.

    Parameters
    ----------
    sem : SimulatedSEM
        Its beam is lit by whoever scans.
    wanted : ScanGrid
        Pixels of the frame.
    dwell_s : float
        Time at each pixel, s.

    Raises
    ------
    InstrumentError
        If there is no current, or the frame lies outside the field.
    """

    def __init__(self, sem: SimulatedSEM, wanted: ScanGrid, dwell_s: float) -> None:
        if sem.current_na <= 0:
            raise InstrumentError("no beam current for a frame")
        self._sem = sem
        self.grey: NDArray[np.float32] = sem.frame(wanted, dwell_s)
        """(rows, columns): grey levels; 0 where a line was scanned without beam."""
        self.charge_nc = 0.0
        """Charge of the lines so far, nC."""
        self.line_s = dwell_s * wanted.shape[1]
        """Time of a line, s."""
        self._done = 0

    @property
    def over(self) -> bool:
        """Whether every line is scanned."""
        return self._done == len(self.grey)

    @property
    def left_s(self) -> float:
        """Time that the lines take which are left, s."""
        return (len(self.grey) - self._done) * self.line_s

    def advance(self, time_s: float) -> None:
        """Let the hardware come to `time_s` since its start, with the beam as it is now; whole lines only.

        A line in which the beam changes is scanned with the beam as it is then.
        """
        reached = int(min(len(self.grey), time_s / self.line_s * (1 + 1e-9)))
        if reached <= self._done:
            return
        lit = not self._sem.blanked and self._sem.current_na > 0
        if lit:
            charge = self._sem.current_na * self.line_s * (reached - self._done)
            self.charge_nc += charge
            self._sem.dose_nc += charge
        else:
            self.grey[self._done : reached] = 0.0
        self._done = reached
