"""PVs of the simulated scan generator for point lists, and of the X-ray processor in mapping mode.

The scan generator latches its waveforms at ``Scan:Start``; its gate advances the processor by a pixel. The processor
fills a ring of buffers; a client reads a full one and says so in ``BuffersRead``. A buffer that is full when none is
free is lost, as on real processors, and counted as an overrun.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from caproto import ChannelType
from caproto.server import PVGroup, pvproperty

from ...pointlist import MOST_POINTS, Settling
from .driver import Driver
from .listrun import GateRun, ListRun

__all__ = ["MOST_PIXELS", "N_BUFFERS", "ListGroup", "buffer_properties", "make_lists"]

N_BUFFERS = 4
"""Buffers of the ring; an XMAP has two."""
MOST_PIXELS = 64
"""Pixels that a buffer may hold."""
TICK_S = 2e-3
"""How often the hardware's time is looked at, s of wall time."""
GRACE_S = 0.1
"""How long a full buffer waits for a free one before it is lost, s of wall time."""

_NO, _YES = "No", "Yes"


def _number(name: str, value: float, doc: str, units: str = "", **more: Any) -> Any:
    return pvproperty(name=name, value=float(value), doc=doc, units=units, precision=6, **more)


def _whole(name: str, value: int, doc: str, **more: Any) -> Any:
    return pvproperty(name=name, value=int(value), doc=doc, **more)


def _choice(name: str, states: tuple[str, ...], doc: str, **more: Any) -> Any:
    return pvproperty(
        name=name, value=states[0], dtype=ChannelType.ENUM, enum_strings=list(states), doc=doc, **more
    )


def _waveform(name: str, doc: str, units: str = "", length: int = MOST_POINTS, **more: Any) -> Any:
    return pvproperty(
        name=name, value=np.zeros(1), dtype=float, max_length=length, doc=doc, units=units, **more
    )


class ListGroup(PVGroup):  # type: ignore[misc]
    """Scan generator ``Scan:`` and mapping mode ``EDS:Map:``; the buffers are added by `make_lists`."""

    # --- the scan generator
    x = _waveform("Scan:X", "Points to visit, x", "um")
    y = _waveform("Scan:Y", "Points to visit, y", "um")
    dwell = _waveform("Scan:Dwell", "Real time at each point", "s")
    start = _choice(
        "Scan:Start", ("Done", "Start"), "Latches the waveforms and starts; the put does not wait"
    )
    abort = _choice("Scan:Abort", ("Done", "Abort"), "Stops after the point that it is at, and blanks")
    running = _choice("Scan:Running", (_NO, _YES), "Whether a list is being visited", read_only=True)
    index = _whole("Scan:Index", 0, "Points visited so far", read_only=True)
    inline = _choice("Scan:InlineBlank", (_YES, _NO), "Blanks between points; only Yes is simulated")
    settle_base = _number("Scan:SettleBase", 50e-6, "Settle time of the shortest move", "s")
    settle_per_um = _number("Scan:SettlePerUm", 0.0, "Settle time for each µm of a move", "s/um")

    # --- the X-ray processor in mapping mode
    pixels_per_run = _whole("EDS:Map:PixelsPerRun", 0, "Pixels that are to come after the next Arm")
    pixels_per_buffer = _whole("EDS:Map:PixelsPerBuffer", 32, f"Pixels of a buffer, at most {MOST_PIXELS}")
    advance_mode = _choice("EDS:Map:PixelAdvanceMode", ("Gate", "Software"), "Who advances to the next pixel")
    next_pixel = _choice("EDS:Map:NextPixel", ("Done", "Next"), "Advances by a pixel, by software")
    arm = _choice(
        "EDS:Map:EraseStart", ("Done", "Acquire"), "Empties the buffers and waits for the first gate"
    )
    stop = _choice("EDS:Map:StopAll", ("Done", "Stop"), "Ends the run")
    acquiring = _choice("EDS:Map:Acquiring", (_NO, _YES), "Whether pixels are still to come", read_only=True)
    current_pixel = _whole("EDS:Map:CurrentPixel", 0, "Pixels of this run so far", read_only=True)
    run_number = _whole(
        "EDS:Map:RunNumber", 0, "Runs armed so far; every buffer names its own", read_only=True
    )
    filled = _whole("EDS:Map:BuffersFilled", 0, "Buffers handed over since Arm", read_only=True)
    buffers_read = _whole("EDS:Map:BuffersRead", 0, "Buffers that the client has read since Arm")
    overruns = _whole(
        "EDS:Map:Overruns", 0, "Buffers lost since Arm: full when none was free", read_only=True
    )

    # --- what goes wrong on command
    lose = _whole("Sim:Overrun", 0, "The next n buffers are lost")
    late_read = _number("Sim:ListLate", 0.0, "Every buffer's read-out takes this much longer", "s")

    def __init__(self, prefix: str, driver: Driver) -> None:
        super().__init__(prefix=prefix)
        self.driver = driver
        self._run: ListRun | None = None
        self._began = 0.0
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._software: tuple[float, int] | None = None
        self._slot = 0
        self.gate = GateRun(driver.sem)
        """Pixels since the processor was armed, if another generator's gate makes them."""
        self._expected = 0
        driver.on_change.append(self._catch_up)
        driver.on_blank.append(self._blanked)

    # --- what happens on a put

    async def put_start(self, instance: Any, value: Any) -> Any:
        """Visit the points; a list that runs is an error."""
        if not _is(instance, value, 1):
            return "Done"
        await self._ended()
        settling = Settling(float(self.settle_base.value), float(self.settle_per_um.value))
        x, y, dwell = (np.atleast_1d(np.asarray(pv.value, float)) for pv in (self.x, self.y, self.dwell))
        if not len(x) == len(y) == len(dwell):
            raise ValueError(f"{len(x)} x, {len(y)} y and {len(dwell)} dwells")
        self.driver.stop()
        self._run = ListRun(self.driver.sem, x, y, dwell, settling)
        self.driver.list_running = True
        self._stop = asyncio.Event()
        self._began = asyncio.get_running_loop().time()
        await self.running.write(_YES)
        self._task = asyncio.get_running_loop().create_task(self._visit(self._run))
        return "Done"

    async def _ended(self) -> None:
        """Wait for the last words of a list whose points are over; one that is not is an error."""
        if self._task is not None and not self._task.done():
            if self._run is not None and not self._run.over and not self._stop.is_set():
                raise ValueError("a list is being visited")
            await asyncio.wait([self._task])

    async def put_abort(self, instance: Any, value: Any) -> Any:
        """Stop the list; complete when it has stopped."""
        if _is(instance, value, 1):
            self._stop.set()
            if self._task is not None:
                await asyncio.wait([self._task])
        return "Done"

    async def put_arm(self, instance: Any, value: Any) -> Any:
        """Empty the buffers."""
        if _is(instance, value, 1):
            await self._ended()
            for pv in (self.filled, self.buffers_read, self.overruns, self.current_pixel):
                await pv.write(0)
            self._slot = 0
            await self.run_number.write(self.run_number.value + 1)
            await self.acquiring.write(_YES)
            self.gate, self._expected = GateRun(self.driver.sem), int(self.pixels_per_run.value)
            self._software = None
            if self.advance_mode.value == "Software":
                self._software = (asyncio.get_running_loop().time(), 0)
        return "Done"

    async def put_stop(self, instance: Any, value: Any) -> Any:
        """End the run; what another generator's gate has made by now is handed over first."""
        if _is(instance, value, 1):
            await self._hand_over_gate(1)
            await self.acquiring.write(_NO)
            self._software = None
        return "Done"

    async def put_next_pixel(self, instance: Any, value: Any) -> Any:
        """End a pixel where the beam stands, and begin the next: a buffer of one pixel."""
        if not _is(instance, value, 1):
            return "Done"
        if self._software is None:
            raise ValueError("not armed with software advance")
        began, pixel = self._software
        now = asyncio.get_running_loop().time()
        sem = self.driver.sem
        if sem.blanked:
            raise ValueError("the beam is blanked")
        x, y, dwell = (np.array([value]) for value in (sem.x_um, sem.y_um, max(now - began, 1e-6)))
        run = ListRun(sem, x, y, dwell, Settling(0.0))
        run.advance(float(run.ends_s[-1]))
        sem.blanked = False
        await self._hand_over(run, pixel)
        self._software = (now, pixel + 1)
        return "Done"

    async def put_pixels_per_buffer(self, instance: Any, value: int) -> int:
        """Keep within what a buffer holds."""
        if not 1 <= value <= MOST_PIXELS:
            raise ValueError(f"1 to {MOST_PIXELS} pixels a buffer, not {value}")
        return value

    start.putter(put_start)
    abort.putter(put_abort)
    arm.putter(put_arm)
    stop.putter(put_stop)
    next_pixel.putter(put_next_pixel)
    pixels_per_buffer.putter(put_pixels_per_buffer)

    # --- the list in time

    async def _visit(self, run: ListRun) -> None:
        loop, scale = asyncio.get_running_loop(), self.driver.time_scale
        try:
            while not run.over and not self._stop.is_set():
                size = int(self.pixels_per_buffer.value)
                if scale > 0:
                    last = min(run.reached - run.waiting + size, len(run.ends_s)) - 1
                    left = self._began + float(run.ends_s[last]) * scale - loop.time()
                    if left > 0:  # the pulses are drawn meanwhile, not when the buffer is due
                        await asyncio.sleep(min(left, TICK_S))
                    run.advance((loop.time() - self._began) / scale)
                else:
                    run.advance(float(run.ends_s[min(run.reached + size, len(run.ends_s)) - 1]))
                    await asyncio.sleep(0)
                while run.waiting >= size:
                    await self._hand_over(run, run.reached - run.waiting)
            while run.waiting:
                await self._hand_over(run, run.reached - run.waiting)
        finally:
            self._run = None
            self.driver.list_running = False
            await self.index.write(run.reached)
            await self.acquiring.write(_NO)
            await self.running.write(_NO)
            await self.show_dose()

    async def gate_closed(self) -> None:
        """Take the pixel that another generator's gate has ended."""
        if self.acquiring.value == _NO or self.gate.reached >= self._expected:
            return  # not armed: the pixel is lost
        self.gate.next_pixel()
        whole = self.gate.reached >= self._expected
        await self._hand_over_gate(1 if whole else int(self.pixels_per_buffer.value))
        if whole:
            await self.acquiring.write(_NO)

    async def _hand_over_gate(self, least: int) -> None:
        while self.gate.waiting >= least:
            await self._hand_over(self.gate, self.gate.reached - self.gate.waiting)

    show_dose: Callable[[], Awaitable[None]]
    """Brings the beam's PVs of the dose up to date, and what follows from it; given by `make_lists`."""

    async def _hand_over(self, run: ListRun | GateRun, first: int) -> None:
        buffer = run.hand_over(int(self.pixels_per_buffer.value))
        if self.late_read.value > 0:
            await asyncio.sleep(float(self.late_read.value))
        n = len(buffer.spectra)
        # without a clock the client's pace is the hardware's; with one, a late simulation is no fault of the client
        until = asyncio.get_running_loop().time() + GRACE_S
        while self._full() and not self._stop.is_set():
            if self.driver.time_scale > 0 and asyncio.get_running_loop().time() > until:
                break
            await asyncio.sleep(1e-3)
        if self.lose.value > 0 or self._full():
            if self.lose.value > 0:
                await self.lose.write(self.lose.value - 1)
            await self.overruns.write(self.overruns.value + 1)
        else:
            slot = self._slot % N_BUFFERS
            head = [int(self.run_number.value), self._slot, first, n]
            header = np.concatenate([head, buffer.live_s, buffer.real_s, buffer.charge_nc])
            self._slot += 1
            await self.slots[slot][0].write(
                np.concatenate([np.array(head, np.int32), buffer.spectra.ravel()])
            )
            await self.slots[slot][1].write(header)
            await self.filled.write(self._slot)
        await self.current_pixel.write(first + n)
        await self.index.write(run.reached)
        await self.show_dose()

    slots: list[tuple[Any, Any]]
    """Spectra and header of each buffer; given by `make_lists`."""

    def _full(self) -> bool:
        return self._slot - int(self.buffers_read.value) >= N_BUFFERS

    def _catch_up(self) -> None:
        """Expose with the beam as it was until now: it is about to change."""
        run, scale = self._run, self.driver.time_scale
        if run is not None and scale > 0:
            run.advance((asyncio.get_running_loop().time() - self._began) / scale, partly=True)

    def _blanked(self, blanked: bool) -> None:
        """Abort the list when somebody blanks the beam."""
        if blanked and self._run is not None:
            self._stop.set()


def _is(instance: Any, value: Any, state: int) -> bool:
    found = instance.enum_strings.index(value) if isinstance(value, str) else int(value)
    return bool(found == state)


def buffer_properties(channels: int) -> dict[str, Any]:
    """PVs of the ring of buffers, by their attributes; a buffer's size depends on the channels of a spectrum."""
    buffers: dict[str, Any] = {}
    for k in range(N_BUFFERS):
        buffers[f"spectra{k}"] = pvproperty(
            name=f"EDS:Map:Buffer{k}:Spectra", value=np.zeros(1, np.int32), dtype=int, read_only=True,
            max_length=4 + MOST_PIXELS * channels, units="counts",
            doc="Run, number of the buffer, first pixel, number of pixels; spectra, one after the other",
        )  # fmt: skip
        buffers[f"header{k}"] = pvproperty(
            name=f"EDS:Map:Buffer{k}:Header", value=np.zeros(1), dtype=float, read_only=True,
            max_length=4 + 3 * MOST_PIXELS,
            doc="Run, number, first pixel, pixels n; n live times (s), n real times (s), n charges (nC)",
        )  # fmt: skip
    return buffers


def make_lists(prefix: str, driver: Driver, show_dose: Callable[[], Awaitable[None]]) -> ListGroup:
    """Make the PVs of lists under `prefix`; `show_dose` brings the beam's PVs of the dose up to date."""
    buffers = buffer_properties(int(driver.sem.specimen.axis.n_channels))
    kind = type("ListGroup", (ListGroup,), {**buffers, "__doc__": ListGroup.__doc__})
    group: ListGroup = kind(prefix, driver)
    group.show_dose = show_dose
    group.slots = [(getattr(group, f"spectra{k}"), getattr(group, f"header{k}")) for k in range(N_BUFFERS)]
    return group
