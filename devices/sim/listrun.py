"""A point list on the simulated microscope as pure state: no clock, no EPICS.

Whoever uses it says how far the hardware's time has come; a beam that changes in the middle of a point changes that
point's rest. The soft flyer and the IOC have this in common.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
from numpy.typing import NDArray

from ...pointlist import Settling, settle_times
from ..mapping import MappingBuffer
from .exposure import PULSE_S, LogEntry
from .model import SimulatedSEM

__all__ = ["GateRun", "ListRun"]


class ListRun:
    """One list under way.

    Parameters
    ----------
    sem : SimulatedSEM
        Its beam stays blanked but where a point is exposed.
    x_um, y_um, dwell_s : (n,) float64
        Points and the real time at each.
    settling : Settling

    Attributes
    ----------
    ends_s : (n,) float64
        When each point's dwell is over, s since the start.
    """

    def __init__(
        self,
        sem: SimulatedSEM,
        x_um: NDArray[np.float64],
        y_um: NDArray[np.float64],
        dwell_s: NDArray[np.float64],
        settling: Settling,
    ) -> None:
        channels = int(sem.specimen.axis.n_channels)
        for x, y in zip(x_um, y_um, strict=True):
            sem.check_position(float(x), float(y))
        self._sem, self._x, self._y = sem, x_um, y_um
        self.ends_s = np.cumsum(settle_times(x_um, y_um, settling, (sem.x_um, sem.y_um)) + dwell_s)
        self._begins_s = self.ends_s - dwell_s
        self._at = 0.0
        self._pixels = _Pixels(channels)
        sem.blanked = True

    @property
    def reached(self) -> int:
        """Points that are over."""
        return self._pixels.reached

    @property
    def over(self) -> bool:
        """Whether every point is over."""
        return self.reached == len(self.ends_s)

    @property
    def waiting(self) -> int:
        """Points that are over and not handed over."""
        return self._pixels.waiting

    def advance(self, time_s: float, *, partly: bool = False) -> None:
        """Let the hardware come to `time_s` since its start, with the beam as it is now.

        Whole points only; with `partly` the point that it is at as well, before the beam changes.
        """
        while not self.over:
            i = self.reached
            until = float(min(time_s, self.ends_s[i]))
            if until < self.ends_s[i] and not partly:
                return
            since = max(self._at, float(self._begins_s[i]))
            if until > since:
                self._expose(i, until - since)
            self._at = max(self._at, until)
            if until < self.ends_s[i]:
                return
            self._pixels.next_pixel()

    def hand_over(self, most: int) -> MappingBuffer:
        """Return the next points that are over, at most `most` of them."""
        return self._pixels.hand_over(most)

    def _expose(self, i: int, real_s: float) -> None:
        sem = self._sem
        sem.move(x_um=float(self._x[i]), y_um=float(self._y[i]))
        sem.blanked = False
        self._pixels.expose(sem, real_s)
        sem.blanked = True


class GateRun:
    """Pixels that the gate of another scan generator makes: one each time that it was open.

    Parameters
    ----------
    sem : SimulatedSEM
        Moved by whoever opens the gate; no counts and no dose while it is blanked.
    """

    def __init__(self, sem: SimulatedSEM) -> None:
        self._sem = sem
        self._pixels = _Pixels(int(sem.specimen.axis.n_channels))

    @property
    def reached(self) -> int:
        """Pixels that are over."""
        return self._pixels.reached

    @property
    def waiting(self) -> int:
        """Pixels that are over and not handed over."""
        return self._pixels.waiting

    def expose(self, real_s: float) -> None:
        """Expose the pixel under way for so long, where the beam stands and as it is."""
        self._pixels.expose(self._sem, real_s)

    def next_pixel(self) -> None:
        """Close the gate."""
        self._pixels.next_pixel()

    def hand_over(self, most: int) -> MappingBuffer:
        """Return the next pixels that are over, at most `most` of them."""
        return self._pixels.hand_over(most)


class _Pixels:
    """What an X-ray processor in mapping mode holds: the pixel under way, and those that were not handed over."""

    def __init__(self, n_channels: int) -> None:
        self.reached = 0
        self._handed = 0
        self._spectra: list[NDArray[np.int32]] = []
        self._times: list[tuple[float, float, float]] = []
        self._counts = np.zeros(n_channels, np.int32)
        self._live = self._real = self._charge = 0.0

    @property
    def waiting(self) -> int:
        return self.reached - self._handed

    def expose(self, sem: SimulatedSEM, real_s: float) -> None:
        pixel, before = sem.pixel_here(), sem.dose_nc
        live = real_s
        if pixel >= 0:
            rate = sem.current_na / sem.nominal_current_na
            if sem.damage_nc > 0:
                rate *= math.exp(-sem.dose_at(pixel) / sem.damage_nc)
            visit = sem.visit(pixel)
            counts, live = _short(sem, pixel, visit, real_s, rate)
            self._counts = self._counts + counts
            crc = zlib.crc32(np.ascontiguousarray(counts, "<i4").tobytes())
            number = sem.log[-1].number + 1 if sem.log else 1
            sem.log.append(LogEntry(number, pixel, visit, live, int(counts.sum()), crc, True))
        sem.expose(real_s)
        sem.clock_s += real_s
        self._live += live
        self._real += real_s
        self._charge += sem.dose_nc - before

    def next_pixel(self) -> None:
        self._spectra.append(self._counts)
        self._times.append((self._live, self._real, self._charge))
        self._counts = np.zeros_like(self._counts)
        self._live = self._real = self._charge = 0.0
        self.reached += 1

    def hand_over(self, most: int) -> MappingBuffer:
        m = min(most, self.waiting)
        times = np.array(self._times[:m], np.float64).reshape(-1, 3)
        spectra = np.array(self._spectra[:m], np.int32)
        del self._times[:m], self._spectra[:m]
        first, self._handed = self._handed, self._handed + m
        return MappingBuffer(first, spectra, times[:, 0], times[:, 1], times[:, 2])


def _short(
    sem: SimulatedSEM, pixel: int, visit: int, real_s: float, rate: float
) -> tuple[NDArray[np.int32], float]:
    """Counts and live time of a short exposure, also of a specimen that knows only records that grow."""
    brief = getattr(sem.specimen, "brief", None)
    if brief is not None and real_s < 0.1:
        counts, live = brief(pixel, visit, real_s, PULSE_S, rate)
        return counts, live
    growing = sem.specimen.acquisition(pixel, visit)
    expected = float(growing.counts_at(rate * real_s).sum())
    live = real_s / (1.0 + expected * PULSE_S / real_s)
    counts = growing.counts_at(rate * live)
    return counts, max(0.0, real_s - float(counts.sum()) * PULSE_S)
