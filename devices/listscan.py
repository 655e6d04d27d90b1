"""A scan generator for point lists and an X-ray processor in mapping mode, over EPICS.

The generator has waveforms of positions and dwells; its gate advances the processor by a pixel. The processor fills a
ring of buffers of spectra, each with the live time, real time and charge of its pixels, as dxp and Xspress3 do.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from ophyd import Component as Cpt
from ophyd import Device, EpicsSignal, EpicsSignalRO, Kind

from ..errors import DeviceAwayError, InstrumentError, is_away
from ..pointlist import PointList, Settling
from .connect import connect
from .mapping import MappingBuffer
from .signals import put, put_if_there
from .status import QuickStatus

__all__ = ["EpicsListEngine", "MappingEDS", "PointListScan", "ScanGenerator"]

_log = logging.getLogger(__name__)

HEAD = 4
"""Both waveforms of a buffer begin with its run, its number in that, its first pixel and how many pixels it holds."""

ASK_S = 2.0
"""After so long without news the PVs are asked: a monitor may have gone silent."""
SILENCE_S = 20.0
"""A list of which nothing is heard for so long, and the time of a buffer, has failed."""


class ScanGenerator(Protocol):
    """What visits the points of a list; its gate advances the X-ray processor by a pixel."""

    name: str
    drives_blanker: bool
    """Whether it lights and blanks by the microscope's own blanker; else that has to be open while a list runs."""
    trouble: str
    """Why the last list ended early, empty if it did not or the generator does not know."""

    @property
    def settling(self) -> Settling:
        """How long the beam settles after a move."""

    def open(self) -> None:
        """Connect and make ready; InstrumentError naming what does not answer."""

    def close(self) -> None:
        """Leave the hardware as it was found."""

    def load(self, points: PointList, status: QuickStatus) -> None:
        """Load a list, also while another runs; finish the status when it may be launched."""

    def launch(self) -> None:
        """Start the loaded list and return once it runs."""

    def abort(self) -> None:
        """Stop the running list; called from another thread."""

    def on_running(self, listener: Callable[[bool], None]) -> None:
        """Call `listener` with True at the start of each list and False at its end."""

    def is_running(self) -> bool:
        """Ask whether a list runs: news of its end may be lost."""


class PointListScan(Device):  # type: ignore[misc]
    """Scan generator for point lists over EPICS, such as ``SEM:Scan:``; satisfies `ScanGenerator`."""

    x = Cpt(EpicsSignal, "X", auto_monitor=False, kind=Kind.omitted)
    y = Cpt(EpicsSignal, "Y", auto_monitor=False, kind=Kind.omitted)
    dwell = Cpt(EpicsSignal, "Dwell", auto_monitor=False, kind=Kind.omitted)
    start_list = Cpt(EpicsSignal, "Start", put_complete=True, kind=Kind.omitted)
    abort_list = Cpt(EpicsSignal, "Abort", put_complete=True, kind=Kind.omitted)
    running = Cpt(EpicsSignalRO, "Running", auto_monitor=True, kind=Kind.omitted)
    index = Cpt(EpicsSignalRO, "Index", auto_monitor=False, kind=Kind.omitted)
    settle_base_s = Cpt(EpicsSignal, "SettleBase", kind=Kind.config)
    settle_per_um_s = Cpt(EpicsSignal, "SettlePerUm", kind=Kind.config)

    drives_blanker = True
    trouble = ""

    def __init__(self, *args: Any, connection_timeout_s: float = 5.0, **more: Any) -> None:
        super().__init__(*args, **more)
        self.connection_timeout_s = connection_timeout_s
        self._listeners: list[Callable[[bool], None]] = []

    @property
    def settling(self) -> Settling:
        """How long the beam settles after a move."""
        return Settling(float(self.settle_base_s.get()), float(self.settle_per_um_s.get()))

    def open(self) -> None:
        """Connect."""
        connect(self, self.connection_timeout_s)

    def close(self) -> None:
        """Nothing to restore: the lists are its only use here."""

    def load(self, points: PointList, status: QuickStatus) -> None:
        """Put the waveforms; latched at `launch`, so another list may run meanwhile."""
        left, lock = [3], threading.Lock()

        def one() -> None:
            with lock:
                left[0] -= 1
            if left[0] == 0:
                status.set_finished()

        for signal, value in ((self.x, points.x_um), (self.y, points.y_um), (self.dwell, points.dwell_s)):
            put(signal, value, status, one)

    def launch(self) -> None:
        """Start the list."""
        put_and_wait(self.start_list, 1, self.connection_timeout_s)

    def abort(self) -> None:
        """Stop after the point that it is at."""
        put_if_there(self.abort_list, 1)

    def on_running(self, listener: Callable[[bool], None]) -> None:
        """Call `listener` with True at the start of each list and False at its end."""
        if not self._listeners:
            self.running.subscribe(self._on_running)
        self._listeners.append(listener)

    def is_running(self) -> bool:
        """Ask whether a list runs."""
        return str(self.running.get(use_monitor=False)) in ("1", "Yes")

    def _on_running(self, *, value: Any, **_: Any) -> None:
        for listener in self._listeners:
            listener(str(value) in ("1", "Yes"))


def put_and_wait(signal: Any, value: Any, timeout_s: float) -> None:
    """Put with completion and wait for it; DeviceAwayError naming the signal if it is not done in time."""
    status = QuickStatus()
    put(signal, value, status, status.set_finished)
    try:
        status.wait(timeout_s)
    except TimeoutError:
        raise DeviceAwayError(f"{signal.name}: not done within {timeout_s:g} s") from None


class MappingEDS(Device):  # type: ignore[misc]
    """X-ray processor in mapping mode, such as ``SEM:EDS:Map:``."""

    pixels_per_run = Cpt(EpicsSignal, "PixelsPerRun", kind=Kind.omitted)
    pixels_per_buffer = Cpt(EpicsSignal, "PixelsPerBuffer", kind=Kind.config)
    advance_mode = Cpt(EpicsSignal, "PixelAdvanceMode", string=True, kind=Kind.config)
    next_pixel = Cpt(EpicsSignal, "NextPixel", put_complete=True, kind=Kind.omitted)
    arm = Cpt(EpicsSignal, "EraseStart", put_complete=True, kind=Kind.omitted)
    stop_all = Cpt(EpicsSignal, "StopAll", put_complete=True, kind=Kind.omitted)
    current_pixel = Cpt(EpicsSignalRO, "CurrentPixel", auto_monitor=False, kind=Kind.omitted)
    filled = Cpt(EpicsSignalRO, "BuffersFilled", auto_monitor=True, kind=Kind.omitted)
    buffers_read = Cpt(EpicsSignal, "BuffersRead", kind=Kind.omitted)
    run_number = Cpt(EpicsSignalRO, "RunNumber", auto_monitor=False, kind=Kind.omitted)
    overruns = Cpt(EpicsSignalRO, "Overruns", auto_monitor=False, kind=Kind.omitted)
    spectra0 = Cpt(EpicsSignalRO, "Buffer0:Spectra", auto_monitor=True, kind=Kind.omitted)
    header0 = Cpt(EpicsSignalRO, "Buffer0:Header", auto_monitor=True, kind=Kind.omitted)
    spectra1 = Cpt(EpicsSignalRO, "Buffer1:Spectra", auto_monitor=True, kind=Kind.omitted)
    header1 = Cpt(EpicsSignalRO, "Buffer1:Header", auto_monitor=True, kind=Kind.omitted)
    spectra2 = Cpt(EpicsSignalRO, "Buffer2:Spectra", auto_monitor=True, kind=Kind.omitted)
    header2 = Cpt(EpicsSignalRO, "Buffer2:Header", auto_monitor=True, kind=Kind.omitted)
    spectra3 = Cpt(EpicsSignalRO, "Buffer3:Spectra", auto_monitor=True, kind=Kind.omitted)
    header3 = Cpt(EpicsSignalRO, "Buffer3:Header", auto_monitor=True, kind=Kind.omitted)

    n_buffers = 4

    def buffer(self, spectra: Any, header: Any, n_channels: int) -> MappingBuffer:
        """Make a buffer of the two waveforms that it is handed over in.

        Raises
        ------
        InstrumentError
            If it does not hold what its header says.
        """
        counts, numbers = np.asarray(spectra), np.asarray(header, np.float64)
        n = int(numbers[3]) if numbers.size >= HEAD else -1
        if n < 1 or numbers.size != HEAD + 3 * n or counts.size != HEAD + n * n_channels:
            raise InstrumentError(
                f"{self.name}: a buffer of {counts.size} counts and {numbers.size} numbers for {n} pixels of "
                f"{n_channels} channels"
            )
        live, real, charge = numbers[HEAD:].reshape(3, n)
        rows = counts[HEAD:].reshape(n, n_channels).astype(np.int32)
        return MappingBuffer(int(numbers[2]), rows, live, real, charge)


class EpicsListEngine:
    """Runs point lists by a scan generator and an X-ray processor over EPICS; see `flyer.ListEngine`.

    Parameters
    ----------
    scan : ScanGenerator
    mapping : MappingEDS
    eds : EDSDetector
        The same detector's record: its channels and calibration.
    beam : SEMBeam
        Its current and dose.
    pixels_per_buffer : int
    connection_timeout_s : float
    """

    def __init__(
        self,
        scan: ScanGenerator,
        mapping: MappingEDS,
        eds: Any,
        beam: Any,
        *,
        pixels_per_buffer: int = 32,
        connection_timeout_s: float = 5.0,
    ) -> None:
        self.scan, self.mapping, self._eds, self._beam = scan, mapping, eds, beam
        self.pixels_per_buffer = pixels_per_buffer
        self.connection_timeout_s = connection_timeout_s
        self._changed = threading.Condition()
        self._spectra: list[Any] = [()] * MappingEDS.n_buffers
        self._headers: list[Any] = [()] * MappingEDS.n_buffers
        self._seen_running = self._ended = False
        self._watching = False
        self._n_channels = 0

    @property
    def n_channels(self) -> int:
        """Channels of a spectrum."""
        return self._n_channels or int(self._eds.channels.get())

    @property
    def energy_kev(self) -> tuple[float, float]:
        """Energy of channel 0 and width of a channel, keV."""
        return float(self._eds.energy_offset.get()), float(self._eds.energy_width.get())

    @property
    def current_na(self) -> float:
        """Beam current, nA."""
        return float(self._beam.current.get())

    @property
    def dose_nc(self) -> float:
        """Total dose so far, nC."""
        return float(self._beam.dose.get())

    @property
    def settling(self) -> Settling:
        """How long the beam settles after a move."""
        return self.scan.settling

    def stage(self) -> None:
        """Connect, watch, and set the processor to advance by the gate."""
        for device in (self.mapping, self._eds, self._beam):
            connect(device, self.connection_timeout_s)
        self.scan.open()
        self._n_channels = int(self._eds.channels.get())
        if not self._watching:
            self._watching = True
            for slot in range(self.mapping.n_buffers):
                for kind, kept in (("spectra", self._spectra), ("header", self._headers)):
                    signal = getattr(self.mapping, f"{kind}{slot}")
                    signal.subscribe(functools.partial(self._on_buffer, kept, slot))
            self.scan.on_running(self._on_running)
        put_and_wait(self.mapping.advance_mode, "Gate", self.connection_timeout_s)
        put_and_wait(self.mapping.pixels_per_buffer, self.pixels_per_buffer, self.connection_timeout_s)

    def unstage(self) -> None:
        """Leave the scan generator as it was found."""
        self.scan.close()

    def load(self, points: PointList, status: QuickStatus) -> None:
        """Load the scan generator and say to the processor how many pixels come; another list may run meanwhile."""
        scan = QuickStatus()

        def count(done: QuickStatus) -> None:
            error = done.exception(0)
            if error is not None:
                status.set_exception(error)
                return
            put(self.mapping.pixels_per_run, len(points), status, status.set_finished)

        scan.add_callback(count)
        self.scan.load(points, scan)

    def run(
        self, points: PointList, take: Callable[[MappingBuffer], None], started: Callable[[], None]
    ) -> None:
        """Arm, start, and read each buffer as it is filled; returns when the list is over or aborted.

        Raises
        ------
        InstrumentError
            If it cannot be started, or nothing is heard of it any more.
        """
        put_and_wait(self.mapping.arm, 1, self.connection_timeout_s)
        run = int(self.mapping.run_number.get())
        with self._changed:
            self._seen_running = self._ended = False
        if self.scan.drives_blanker:
            self.scan.launch()
            started()
            self._read(run, points, take)
            return
        self._beam.blanker.set(False).wait(self.connection_timeout_s)
        try:
            self.scan.launch()
            started()
            self._read(run, points, take)
        finally:
            self._beam.blanker.set(True).wait(self.connection_timeout_s)

    def _read(self, run: int, points: PointList, take: Callable[[MappingBuffer], None]) -> None:
        patience = SILENCE_S + float(points.dwell_s.max()) * self.pixels_per_buffer
        number = 0
        while True:
            slot = number % self.mapping.n_buffers
            if not self._news(run, number, patience):
                raise InstrumentError(f"{self.scan.name}: nothing heard of the list for {patience:g} s")
            if not self._is_here(run, number) and not self._last_buffer(run, number):
                if self._still_runs():
                    continue
                if self.scan.trouble:
                    raise InstrumentError(self.scan.trouble)
                return
            with self._changed:
                spectra, header = self._spectra[slot], self._headers[slot]
            number += 1
            self.mapping.buffers_read.put(number)
            buffer = self.mapping.buffer(spectra, header, self._n_channels)
            take(buffer)
            if buffer.first + len(buffer.spectra) >= len(points):
                return

    def _news(self, run: int, number: int, patience: float) -> bool:
        """Wait until a buffer is here or the list is over; whether that was heard of."""
        limit = time.monotonic() + patience
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: self._is_here(run, number) or self._ended, ASK_S):
                    return True
            if self._ask(run, number):
                return True
            if time.monotonic() > limit:
                return False

    def _ask(self, run: int, number: int) -> bool:
        """Ask for a buffer and for the end of the list; whether there was news that no monitor brought."""
        slot = number % self.mapping.n_buffers
        try:
            running = self.scan.is_running()  # before the buffers: none comes after its end
            if int(self.mapping.filled.get(use_monitor=False)) > number:
                for kind, kept in (("spectra", self._spectra), ("header", self._headers)):
                    value = getattr(self.mapping, f"{kind}{slot}").get(use_monitor=False)
                    self._on_buffer(kept, slot, value=value)
        except Exception as error:
            if not is_away(error):
                raise
            return False  # its monitors say so as well, once it is back
        with self._changed:
            self._ended = self._ended or not running
            news = self._ended or self._is_here(run, number)
        if news:
            _log.warning("%s: it was asked for what no monitor had brought", self.mapping.name)
        return news

    def _last_buffer(self, run: int, number: int) -> bool:
        """Whether one more buffer comes of a list that has ended: one that was not full, or is still on its way."""
        if not self.scan.drives_blanker:  # the processor does not know of the end
            put_and_wait(self.mapping.stop_all, 1, self.connection_timeout_s)
        if int(self.mapping.filled.get(use_monitor=False)) <= number:
            return False
        with self._changed:
            if self._changed.wait_for(
                lambda: self._is_here(run, number), min(ASK_S, self.connection_timeout_s)
            ):
                return True
        self._ask(run, number)
        return self._is_here(run, number)

    def _still_runs(self) -> bool:
        """Whether the list runs all the same: news of the end of an aborted one may come only after its start."""
        if not self.scan.is_running():
            return False
        with self._changed:
            self._ended = False
        return True

    def abort(self) -> None:
        """Stop the list after the point that it is at."""
        if not self.scan.drives_blanker and self._beam.blanker.setpoint.connected:
            self._beam.blanker.set(True)  # sooner than what is on its way to the generator is over
        self.scan.abort()

    def _is_here(self, run: int, number: int) -> bool:
        """Whether both waveforms of a buffer have come; those of an earlier run may still be on their way."""
        slot, head = number % self.mapping.n_buffers, (run, number)
        return all(
            len(kept[slot]) > HEAD and tuple(int(v) for v in kept[slot][:2]) == head
            for kept in (self._spectra, self._headers)
        )

    def _on_buffer(self, kept: list[Any], slot: int, *, value: Any, **_: Any) -> None:
        with self._changed:
            kept[slot] = np.atleast_1d(value)
            self._changed.notify_all()

    def _on_running(self, running: bool) -> None:
        with self._changed:
            if running:
                self._seen_running = True
            elif self._seen_running:
                self._ended = True
            self._changed.notify_all()
