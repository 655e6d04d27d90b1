"""One acquisition of the simulated detector as it grows: presets, times, counts, and the beam that comes and goes."""

from __future__ import annotations

import math
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError
from ...protocols import AgeingSpecimen, Specimen

__all__ = ["PULSE_S", "Column", "Exposure", "LogEntry", "Presets", "Record"]

PULSE_S = 36e-6
"""Time that the detector is busy with one pulse, s: a real Phenom stored 12.3 kcps at 44 % dead time."""

STEPS = 1 << 16
"""Presets are looked for in steps of this part of a whole record: 0.15 ms of 10 s."""

LONGEST_S = 3600.0
"""An acquisition without a preset ends here, s of live time."""


class _Growing(Protocol):
    def counts_at(self, live_time_s: float) -> NDArray[np.int32]: ...


class Column(Protocol):
    """What an exposure needs of the column that it happens in; `model.SimulatedSEM` is one."""

    specimen: Specimen
    log: deque[LogEntry]
    blanked: bool
    nominal_current_na: float
    damage_nc: float
    clock_s: float

    @property
    def current_na(self) -> float:
        """Beam current, nA."""

    def pixel_here(self) -> int:
        """Flat index of the pixel under the beam; -1 without a beam."""

    def visit(self, pixel: int) -> int:
        """Count a visit; return how many there were before."""

    def expose(self, real_s: float) -> None:
        """Count the dose of `real_s` seconds of beam."""

    def dose_at(self, pixel: int) -> float:
        """All charge that a pixel has had, nC."""


@dataclass(frozen=True, slots=True)
class Presets:
    """When an acquisition stops, whichever comes first; 0 means no limit, as in the mca record."""

    live_s: float = 0.0
    real_s: float = 0.0
    counts: int = 0
    window: tuple[int, int] = (0, 0)
    """First and last channel that `counts` looks at, both included."""

    def __post_init__(self) -> None:
        if not (self.live_s >= 0 and self.real_s >= 0 and self.counts >= 0):
            raise ConfigError(f"presets must be 0 (no limit) or more, not {asdict(self)}")


class Record(NamedTuple):
    """A spectrum with its times."""

    counts: NDArray[np.int32]
    live_s: float
    real_s: float
    dead_percent: float


@dataclass(frozen=True, slots=True)
class LogEntry:
    """The simulation's own record of one acquisition: what a recorded Event is compared with."""

    number: int
    pixel: int
    visit: int
    live_s: float
    total: int
    crc32: int
    """Of the counts as little-endian int32."""
    valid: bool
    """False if there was no beam on the pixel during any of it."""


class Exposure:
    """One acquisition under way.

    Attributes
    ----------
    end_live_s : float
        Live time at which its presets stop it, s, as long as the beam stays as it is.
    record : Record
        What stands in the detector's memory now.
    """

    def __init__(self, sem: Column, number: int, presets: Presets) -> None:
        self._sem, self._number, self._presets = sem, number, presets
        self._nothing = np.zeros(sem.specimen.axis.n_channels, np.int32)
        self._pixel, self._visit = -1, 0
        self._growing: _Growing | None = None
        self._beam_s = (
            0.0  # live time under the nominal beam on a fresh specimen: it stands still while there is none
        )
        self._logged = False
        self.record = Record(self._nothing, 0.0, 0.0, 0.0)
        self._look_for_beam()
        self._valid = self._pixel >= 0
        self.end_live_s = self._end()

    def _look_for_beam(self) -> None:
        """Take the first pixel that the beam is on: the spectrum is of that one."""
        if self._growing is None and (pixel := self._sem.pixel_here()) >= 0:
            self._pixel, self._visit = pixel, self._sem.visit(pixel)
            specimen = self._sem.specimen
            if isinstance(specimen, AgeingSpecimen):
                self._growing = specimen.acquisition_at(pixel, self._visit, self._sem.clock_s)
            else:
                self._growing = specimen.acquisition(pixel, self._visit)

    def advance(self, live_s: float) -> Record:
        """Let it run on to `live_s` of live time (no further than its end) with the beam as it is now."""
        live = float(min(live_s, self.end_live_s))
        if live > self.record.live_s:
            self._valid = self._valid and self._sem.pixel_here() == self._pixel
            self._beam_s = self._beam_time(live)
            real = self.record.real_s
            self.record = _record(self._counts(self._beam_s), live)
            self._sem.expose(self.record.real_s - real)
            self._sem.clock_s += self.record.real_s - real
        return self.record

    @property
    def done(self) -> bool:
        """Whether a preset has been reached."""
        return self.record.live_s >= self.end_live_s

    @property
    def valid(self) -> bool:
        """Whether the beam stood on a pixel all the time."""
        return self._valid

    def extend(self, presets: Presets) -> None:
        """Continue with other presets, without erasing; they count from its beginning."""
        self._presets = presets
        self._logged = False
        self.end_live_s = self._end()

    @property
    def here(self) -> bool:
        """Whether the beam still stands, unblanked, where it began."""
        return self._pixel >= 0 and self._pixel == self._sem.pixel_here()

    def forecast(self) -> tuple[float, float]:
        """Live and real time that are left until the end, s, if the beam stays as it is."""
        live = self.end_live_s
        counts = self._counts(self._beam_time(live))
        return live - self.record.live_s, _record(counts, live).real_s - self.record.real_s

    def replan(self) -> None:
        """Compute the end again after the beam has changed."""
        self._look_for_beam()
        self.end_live_s = self._end()

    def finish(self) -> Record:
        """Stop it here, and write what was measured to the log."""
        if not self._logged:
            self._logged = True
            counts, live, _, _ = self.record
            crc = zlib.crc32(np.ascontiguousarray(counts, "<i4").tobytes())
            self._sem.log.append(
                LogEntry(self._number, self._pixel, self._visit, live, int(counts.sum()), crc, self._valid)
            )
        return self.record

    def _beam_time(self, live_s: float) -> float:
        """What live time under the nominal beam, on a fresh specimen, would give the counts of `live_s`."""
        sem, step = self._sem, live_s - self.record.live_s
        if self._growing is None or sem.blanked or sem.current_na <= 0:
            return self._beam_s
        rate = sem.current_na / sem.nominal_current_na
        if sem.damage_nc > 0:  # counts fall with the charge, also during the step
            fresh = math.exp(-sem.dose_at(self._pixel) / sem.damage_nc)
            lasting_s = sem.damage_nc / sem.current_na
            step = fresh * lasting_s * -math.expm1(-step / lasting_s)
        return self._beam_s + rate * step

    def _counts(self, beam_s: float) -> NDArray[np.int32]:
        return self._nothing if self._growing is None else self._growing.counts_at(beam_s)

    def _end(self) -> float:
        """Live time at which the first preset is reached if the beam stays as it is."""
        presets, now = self._presets, self.record.live_s
        ends = [LONGEST_S]
        if presets.live_s > 0:
            ends.append(presets.live_s)
        end, unit = min(ends), self._sem.specimen.full_dwell_s / STEPS

        def real(live: float) -> float:
            return _record(self._counts(self._beam_time(live)), live).real_s

        def enough(live: float) -> bool:
            low, high = presets.window
            counts = self._counts(self._beam_time(live))
            return int(counts[low : high + 1].sum()) >= presets.counts

        if presets.real_s > 0:  # real time is never shorter than live time
            end = _first(lambda live: real(live) >= presets.real_s, now, min(end, presets.real_s), unit)
        if presets.counts > 0:
            end = _first(enough, now, end, unit)
        return max(end, now)


def _record(counts: NDArray[np.int32], live_s: float) -> Record:
    real = live_s + float(counts.sum()) * PULSE_S
    return Record(counts, live_s, real, 100.0 * (1.0 - live_s / real) if real > 0 else 0.0)


def _first(reached: Callable[[float], bool], low: float, high: float, unit: float) -> float:
    """Smallest multiple of `unit` in (low, high] at which `reached` holds; `high` if it never does.

    Looked for at powers of two and their halves: a record that grows by being halved again and again is cheapest
    to look at there.
    """
    last, first = int(low / unit + 1e-6), math.ceil(high / unit - 1e-6)
    step = 1
    while step <= last:
        step *= 2
    while step < first and not reached(step * unit):
        last, step = step, 2 * step
    first = min(first, step)
    while first - last > 1:
        middle = (last + first) // 2
        if reached(middle * unit):
            first = middle
        else:
            last = middle
    return min(first * unit, high)
