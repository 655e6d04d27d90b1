"""The simulated microscope in time: acquisitions that last, stop, hang or come late, over the pure model.

Time scale 0 lets an acquisition end at once; 1 is real time; 0.001 makes 10 s of dwell last 10 ms. Spectra, live
and real times and dose are those of the full dwell whatever the scale.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from ...errors import ConfigError
from .exposure import Exposure, Presets, Record
from .framerun import FrameRun
from .model import SimulatedSEM

__all__ = ["Driver", "Faults"]

TICK_S = 0.05
"""How often a running acquisition is looked at, s of wall time."""

COUNTER_LIMIT = 2**16 - 1
"""Counts of a channel whose counter of 16 bits is full."""


@dataclass
class Faults:
    """Faults to simulate; each counts down the acquisitions that it affects."""

    hang: int = 0
    short: int = 0
    empty: int = 0
    saturated: int = 0
    trip: int = 0
    late_s: float = 0.0
    """Every acquisition's answer comes this much later, s."""


@dataclass
class Driver:
    """Runs the acquisitions of a `SimulatedSEM`.

    Parameters
    ----------
    sem : SimulatedSEM
    time_scale : float
        Wall time per simulated time, 0 or more.
    log : Path, optional
        Each acquisition is appended to it as a line of JSON.
    """

    sem: SimulatedSEM
    time_scale: float = 0.0
    log: Path | None = None
    faults: Faults = field(default_factory=Faults)
    exposure: Exposure | None = None
    on_change: list[Callable[[], None]] = field(default_factory=list)
    """Called before the beam changes."""
    on_blank: list[Callable[[bool], None]] = field(default_factory=list)
    """Called when somebody blanks or unblanks the beam."""
    list_running: bool = False
    """Whether a scan generator visits a list: the beam is lit in it, though not between points."""
    scanning: bool = False
    """Whether a frame is scanned, which counts its own charge."""
    external: bool = False
    """Whether another scan generator has the blanker's line; it says itself when the beam is lit."""

    def __post_init__(self) -> None:
        if not self.time_scale >= 0:
            raise ConfigError(f"time scale must be 0 or more, not {self.time_scale}")
        self._stop = asyncio.Event()
        self._stream: IO[str] | None = self.log.open("a", buffering=1) if self.log is not None else None
        self._anchor = (0.0, 0.0)  # wall time, live time
        self._speed = 0.0  # live seconds per second of wall time
        self._lit_since: float | None = None
        self._last: Exposure | None = None

    def blank(self, blanked: bool) -> None:
        """Blank or unblank, in the middle of an acquisition too."""
        self._change()
        self.sem.blanked = blanked
        self._lit_since = None if blanked else _now()
        self._replan()
        for hook in self.on_blank:
            hook(blanked)

    def move(self, *, x_um: float | None = None, y_um: float | None = None) -> None:
        """Put the beam elsewhere, in the middle of an acquisition too."""
        self._change()
        self.sem.move(x_um=x_um, y_um=y_um)
        self._replan()

    def trip(self, tripped: bool) -> None:
        """Trip the beam, or bring it back."""
        self._change()
        self.sem.tripped = tripped
        self._replan()

    @property
    def nothing(self) -> Record:
        """An erased spectrum."""
        return Record(np.zeros(self.sem.specimen.axis.n_channels, np.int32), 0.0, 0.0, 0.0)

    def reset(self) -> None:
        """Forget doses, visits and faults: a fresh specimen, the beam blanked in the middle of the field."""
        self.stop()
        for hook in self.on_blank:
            hook(True)
        self.faults = Faults()
        self.sem.reset()
        self._last = None
        self._lit_since = None

    def stop(self) -> None:
        """Stop the acquisition that is running, if one is."""
        self._stop.set()

    def look(self) -> Record | None:
        """Return what the running acquisition has gathered by now, None if none is running."""
        self._catch_up()
        return self.exposure.record if self.exposure is not None else None

    async def acquire(
        self, presets: Presets, progress: Callable[[Record], Awaitable[None]], *, erase: bool = True
    ) -> Record:
        """Acquire until a preset is reached or somebody stops it; a running acquisition is stopped first.

        Parameters
        ----------
        presets : Presets
        progress : coroutine function
            Called now and then with what has been gathered.
        erase : bool
            Otherwise the last acquisition is continued, if the beam is still where it was.
        """
        while self.exposure is not None:
            self._stop.set()
            await asyncio.sleep(0)
        self._idle_dose()
        self._stop = asyncio.Event()
        last = self._last
        if not erase and last is not None and last.here:
            last.extend(presets)
            exposure = last
        else:
            exposure = self.sem.start(presets)
        self.exposure = self._last = exposure
        try:
            if self.faults.hang > 0:
                self.faults.hang -= 1
                await self._stop.wait()
                return exposure.finish()
            if self.faults.trip > 0:  # the beam trips half-way
                self.faults.trip -= 1
                exposure.advance(exposure.end_live_s / 2)
                self.sem.tripped = True
            if self.time_scale == 0:
                exposure.advance(exposure.end_live_s)
            else:
                await self._run(exposure, progress)
            if self.faults.late_s > 0:
                await self._wait(self.faults.late_s)
            return self._faulty(exposure.finish())
        finally:
            if self._stream is not None:
                exposure.finish()
                self._stream.write(json.dumps(asdict(self.sem.log[-1])) + "\n")
            self.exposure = None
            self._lit_since = None if self.sem.blanked else _now()

    async def scan(self, run: FrameRun) -> None:
        """Scan a frame line by line, the beam as whoever lights, blanks or trips it has it."""
        began, scale = _now(), self.time_scale

        def catch_up() -> None:
            if scale > 0:
                run.advance((_now() - began) / scale)

        self.on_change.append(catch_up)
        self.scanning = True
        try:
            if self.faults.trip > 0:  # the beam trips half-way
                self.faults.trip -= 1
                run.advance(run.left_s / 2)
                self.sem.tripped = True
            while scale > 0 and not run.over:
                await asyncio.sleep(min(TICK_S, max(run.left_s * scale, 1e-3)))
                catch_up()
            run.advance(float("inf"))
        finally:
            self.scanning = False
            self.on_change.remove(catch_up)
            self._lit_since = None if self.sem.blanked else _now()

    async def _run(self, exposure: Exposure, progress: Callable[[Record], Awaitable[None]]) -> None:
        self._replan()
        while not exposure.done and not self._stop.is_set():
            left = (exposure.end_live_s - exposure.record.live_s) / self._speed
            await self._wait(min(left, TICK_S))
            self._catch_up()
            if not exposure.done:
                await progress(exposure.record)

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    def _catch_up(self) -> None:
        if self.exposure is not None and self._speed > 0:
            wall, live = self._anchor
            reached = live + (_now() - wall) * self._speed
            # within a tolerance the end is reached: timers wake a little early
            end = self.exposure.end_live_s
            self.exposure.advance(end if reached >= end - 1e-4 * self._speed else reached)

    def _change(self) -> None:
        for hook in self.on_change:
            hook()
        self._catch_up()
        self._idle_dose()

    def _replan(self) -> None:
        if self.exposure is None or self.time_scale == 0:
            self._speed = 0.0
            return
        self.exposure.replan()
        live, real = self.exposure.forecast()
        self._anchor = (_now(), self.exposure.record.live_s)
        self._speed = (live / real if real > 0 else 1.0) / self.time_scale

    def _idle_dose(self) -> None:
        """Count the time that the beam stood unblanked with nothing acquired; only where the clock is the wall's."""
        if (
            self._lit_since is not None
            and self.exposure is None
            and self.time_scale == 1
            and not self.external
            and not self.scanning
        ):
            self.sem.expose(_now() - self._lit_since)
            self._lit_since = _now()

    def _faulty(self, record: Record) -> Record:
        if self.faults.empty > 0:
            self.faults.empty -= 1
            return record._replace(counts=np.zeros_like(record.counts))
        if self.faults.saturated > 0:
            self.faults.saturated -= 1
            return saturated(record)
        if self.faults.short > 0:
            self.faults.short -= 1
            return record._replace(counts=record.counts[: len(record.counts) // 2])
        return record


def saturated(record: Record) -> Record:
    """Give a record as a counter of 16 bits ends it: the highest tenth of its filled channels stand at the limit."""
    counts = record.counts
    level = max(1.0, float(np.quantile(counts[counts > 0], 0.9))) if counts.any() else 1.0
    clipped = np.minimum(counts * (COUNTER_LIMIT / level), COUNTER_LIMIT).astype(np.int32)
    clipped[int(counts.argmax())] = COUNTER_LIMIT
    return record._replace(counts=clipped)


def _now() -> float:
    return asyncio.get_running_loop().time()
