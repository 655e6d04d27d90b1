"""The soft twin of scan generator and mapping detector: point lists in this process, as fast as they come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ...pointlist import PointList, Settling
from ..mapping import MappingBuffer
from ..status import QuickStatus
from .listrun import ListRun
from .model import SimulatedSEM

__all__ = ["SoftListEngine"]


class SoftListEngine:
    """Runs point lists on a `SimulatedSEM`.

    Parameters
    ----------
    sem : SimulatedSEM
    settling : Settling
    pixels_per_buffer : int
    time_scale : float
        Wall time per simulated time; 0: each buffer at once.
    """

    def __init__(
        self,
        sem: SimulatedSEM,
        settling: Settling | None = None,
        *,
        pixels_per_buffer: int = 32,
        time_scale: float = 0.0,
    ) -> None:
        self.sem = sem
        self.settling = settling or Settling()
        self.pixels_per_buffer = pixels_per_buffer
        self.time_scale = time_scale
        self._abort = threading.Event()

    @property
    def n_channels(self) -> int:
        """Channels of a spectrum."""
        return int(self.sem.specimen.axis.n_channels)

    @property
    def energy_kev(self) -> tuple[float, float]:
        """Energy of channel 0 and width of a channel, keV."""
        axis = self.sem.specimen.axis
        return float(axis.offset_kev), float(axis.width_kev)

    @property
    def current_na(self) -> float:
        """Beam current, nA."""
        return self.sem.current_na

    @property
    def dose_nc(self) -> float:
        """Total dose so far, nC."""
        return self.sem.dose_nc

    def stage(self) -> None:
        """Nothing to connect."""
        self._abort.clear()

    def unstage(self) -> None:
        """Blank."""
        self.sem.blanked = True

    def load(self, points: PointList, status: QuickStatus) -> None:
        """Nothing to load."""
        status.set_finished()

    def run(
        self, points: PointList, take: Callable[[MappingBuffer], None], started: Callable[[], None]
    ) -> None:
        """Run a list; returns when it is over or aborted."""
        self._abort.clear()
        started()
        going = ListRun(self.sem, points.x_um, points.y_um, points.dwell_s, self.settling)
        began = time.perf_counter()
        while not going.over and not self._abort.is_set():
            last = min(going.reached + self.pixels_per_buffer, len(points)) - 1
            end = float(going.ends_s[last])
            if self.time_scale > 0:
                self._abort.wait(max(0.0, began + end * self.time_scale - time.perf_counter()))
                if self._abort.is_set():
                    going.advance((time.perf_counter() - began) / self.time_scale)
                    end = 0.0
            going.advance(end)
            take(going.hand_over(self.pixels_per_buffer))

    def abort(self) -> None:
        """Stop the running list after the buffer that it is at."""
        self._abort.set()
