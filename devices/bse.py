"""A backscatter detector that scans frames, such as ``SEM:BSE:``."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ophyd import Component as Cpt
from ophyd import Device, EpicsSignal, EpicsSignalRO, Kind

from ..errors import InstrumentError
from ..grid import ScanGrid
from .beam import SEMBeam
from .connect import connect
from .frames import FRAME_DWELL_S, describe_field, describe_frame, frame_field, read_field
from .framewatch import FrameWatch
from .listscan import put_and_wait
from .signals import put
from .status import QuickStatus

__all__ = ["BSEDetector"]


class BSEDetector(Device):  # type: ignore[misc]
    """A backscatter detector: ``trigger()`` scans a frame of the field that ``configure`` names.

    The scan generator lights the beam for the frame and blanks it after. The frame is read when it is whole, so that
    `read` gives the very frame that was scanned.

    Parameters
    ----------
    prefix : str
    beam : SEMBeam, optional
        With it, a frame during which the beam was blanked or its current was lost is refused; see `FrameWatch`.
    connection_timeout_s : float
        For connecting, and for each put.
    """

    rows = Cpt(EpicsSignal, "Rows", kind=Kind.omitted)
    columns = Cpt(EpicsSignal, "Columns", kind=Kind.omitted)
    step_y = Cpt(EpicsSignal, "StepY", kind=Kind.omitted)
    step_x = Cpt(EpicsSignal, "StepX", kind=Kind.omitted)
    centre_y = Cpt(EpicsSignal, "CentreY", kind=Kind.omitted)
    centre_x = Cpt(EpicsSignal, "CentreX", kind=Kind.omitted)
    dwell = Cpt(EpicsSignal, "Dwell", kind=Kind.omitted)
    acquire = Cpt(EpicsSignal, "Acquire", put_complete=True, kind=Kind.omitted)
    image = Cpt(EpicsSignalRO, "Image", auto_monitor=False, kind=Kind.omitted)
    dose = Cpt(EpicsSignalRO, "FrameDose", auto_monitor=False, kind=Kind.omitted)
    trouble = Cpt(EpicsSignalRO, "Trouble", string=True, auto_monitor=False, kind=Kind.omitted)

    def __init__(
        self,
        prefix: str,
        *,
        name: str,
        beam: SEMBeam | None = None,
        connection_timeout_s: float = 5.0,
        **more: Any,
    ) -> None:
        super().__init__(prefix, name=name, **more)
        self.beam = beam
        self.connection_timeout_s = connection_timeout_s
        self._watch = FrameWatch()
        self._watching = False
        self._field: ScanGrid | None = None
        self._dwell_s = FRAME_DWELL_S
        self._frame: tuple[NDArray[np.float32], float, float] | None = None

    @property
    def hints(self) -> dict[str, Any]:
        """Fields for tables and plots."""
        return {"fields": [f"{self.name}_dose"]}

    def _source(self, field: str) -> str:
        names = {"image": self.image, "dose": self.dose}
        return f"PV:{names[field].pvname}" if field in names else f"PV:{self.prefix}{field}"

    def _settings(self) -> tuple[Any, ...]:
        return (
            self.rows, self.columns, self.step_y, self.step_x, self.centre_y, self.centre_x, self.dwell,
        )  # fmt: skip

    def _as_set(self) -> tuple[ScanGrid, float]:
        """Field and dwell as the instrument has them."""
        connect(self, self.connection_timeout_s)
        rows, columns, step_y, step_x, centre_y, centre_x, dwell = (s.get() for s in self._settings())
        return ScanGrid((int(rows), int(columns)), (step_y, step_x), (centre_y, centre_x)), float(dwell)

    def configure(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Set any of ``shape``, ``step_um``, ``centre_um`` (y, x) and ``dwell_s``."""
        before = self.read_configuration()
        field, dwell_s = frame_field(self.name, values, *self._as_set())
        for signal, value in zip(
            self._settings(), (*field.shape, *field.step_um, *field.centre_um, dwell_s), strict=True
        ):
            put_and_wait(signal, value, self.connection_timeout_s)
        self._field, self._dwell_s = field, dwell_s
        return before, self.read_configuration()

    def read_configuration(self) -> OrderedDict[str, Any]:
        """Field of the frame and time at each pixel."""
        field, dwell_s = self._as_set()
        self._field, self._dwell_s = field, dwell_s
        return OrderedDict(read_field(self.name, field, dwell_s, time.time()))

    def describe_configuration(self) -> OrderedDict[str, Any]:
        """Describe the values of `read_configuration`."""
        return OrderedDict(describe_field(self.name, self._source))

    def trigger(self) -> QuickStatus:
        """Scan a frame; the status is done when it is read, and fails if the beam was not there all the time."""
        field, dwell_s = self._as_set()
        self._field, self._dwell_s = field, dwell_s
        self._begin()
        done, put_status = QuickStatus(), QuickStatus()

        def scanned(status: QuickStatus) -> None:
            error = status.exception(0)
            if error is not None:
                done.set_exception(error)
                return
            self._threaded(field, done)

        put(self.acquire, 1, put_status, put_status.set_finished)
        put_status.add_callback(scanned)
        return done

    def _begin(self) -> None:
        """Have the beam watched from now on."""
        beam = self.beam
        if beam is None:
            return
        beam.connect(self.connection_timeout_s)
        _, at = beam.blanker.state()
        self._watch.begin(float(beam.current.get(use_monitor=False)), at)
        if not self._watching:
            self._watching = True
            beam.current.subscribe(lambda value, **_: self._watch.current(float(value)), run=False)
            beam.blanker.readback.subscribe(
                lambda value, timestamp=0.0, **_: self._watch.state(bool(value), timestamp or 0.0), run=False
            )

    def _threaded(self, field: ScanGrid, done: QuickStatus) -> None:
        """Read the frame in a thread of its own: a callback of Channel Access must not wait for it."""
        import threading

        threading.Thread(
            target=self._take, args=(field, done), daemon=True, name=f"{self.name}-frame"
        ).start()

    def _take(self, field: ScanGrid, done: QuickStatus) -> None:
        try:
            trouble = str(self.trouble.get(timeout=self.connection_timeout_s))
            if trouble:
                raise InstrumentError(f"{self.name}: {trouble}")
            grey = np.asarray(self.image.get(timeout=30.0), np.float32)
            n = field.shape[0] * field.shape[1]
            if grey.size < n:
                raise InstrumentError(f"{self.name}: a frame of {grey.size} pixels instead of {n}")
            charge = float(self.dose.get(timeout=self.connection_timeout_s))
            if self.beam is not None:
                try:
                    self._watch.check(charge, n * self._dwell_s)
                except InstrumentError as error:
                    raise InstrumentError(f"{self.name}: {error}") from None
            self._frame = grey[:n].reshape(field.shape).copy(), charge, time.time()
        except Exception as error:
            done.set_exception(error)
        else:
            done.set_finished()

    def read(self) -> OrderedDict[str, Any]:
        """Return the last frame and its charge; InstrumentError before the first."""
        if self._frame is None:
            raise InstrumentError(f"{self.name}: no frame was scanned yet")
        frame, charge, when = self._frame
        return OrderedDict(
            {
                f"{self.name}_image": {"value": frame, "timestamp": when},
                f"{self.name}_dose": {"value": charge, "timestamp": when},
            }
        )

    def describe(self) -> OrderedDict[str, Any]:
        """Describe the values of `read`."""
        field = self._field or self._as_set()[0]
        return OrderedDict(describe_frame(self.name, field.shape, self._source))

    def stop(self, success: bool = True) -> None:
        """Nothing: a frame is over in a second, and the generator blanks after it."""
