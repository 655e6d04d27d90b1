"""PVs of the simulated backscatter detector: the field of a frame, the frame, and what is wrong with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from caproto import ChannelType
from caproto.server import PVGroup, pvproperty

from ...errors import ConfigError, InstrumentError
from ...grid import MAX_SIDE, ScanGrid
from ..frames import FRAME_DWELL_S
from .driver import Driver
from .framerun import FrameRun

__all__ = ["FrameGroup", "image_property", "make_frames"]


def _number(name: str, value: float, doc: str, units: str = "", **more: Any) -> Any:
    return pvproperty(name=name, value=float(value), doc=doc, units=units, precision=6, **more)


def _whole(name: str, value: int, doc: str) -> Any:
    return pvproperty(name=name, value=int(value), doc=doc, lower_ctrl_limit=1, upper_ctrl_limit=MAX_SIDE)


def image_property(n_pixels: int) -> Any:
    """The frame's waveform, for frames of at most `n_pixels`."""
    return pvproperty(
        name="BSE:Image", value=np.zeros(1), dtype=float, max_length=n_pixels, read_only=True,
        doc="Grey levels of the last frame, row by row",
    )  # fmt: skip


class FrameGroup(PVGroup):  # type: ignore[misc]
    """Backscatter detector ``BSE:``; its waveform is added by `make_frames`."""

    rows = _whole("BSE:Rows", 64, "Rows of a frame (along y)")
    columns = _whole("BSE:Columns", 64, "Columns of a frame (along x)")
    step_y = _number("BSE:StepY", 1.0, "Distance between rows", "um")
    step_x = _number("BSE:StepX", 1.0, "Distance between columns", "um")
    centre_y = _number("BSE:CentreY", 0.0, "Middle of the frame, y", "um")
    centre_x = _number("BSE:CentreX", 0.0, "Middle of the frame, x", "um")
    dwell = _number("BSE:Dwell", FRAME_DWELL_S, "Time at each pixel", "s")
    acquire = pvproperty(
        name="BSE:Acquire", value="Done", dtype=ChannelType.ENUM, enum_strings=["Done", "Acquire"],
        doc="Lights the beam, scans a frame and blanks; the put completes when the frame is whole",
    )  # fmt: skip
    frame_dose = _number("BSE:FrameDose", 0.0, "Charge of the last frame", "nC", read_only=True)
    trouble = pvproperty(
        name="BSE:Trouble", value="", dtype=ChannelType.STRING, read_only=True,
        doc="Why the last frame was not scanned; empty if it was",
    )  # fmt: skip

    # --- what is wrong on command
    noise = _number("Sim:BSE:Noise", 1.0, "Times the noise of counting")
    shading = _number("Sim:BSE:Shading", 0.0, "Difference in gain between two sides of the field")
    charging = _number("Sim:BSE:Charging", 0.0, "Standard deviation of the gain from line to line")
    offset_x = _number("Sim:BSE:OffsetX", 0.0, "Displacement of the frame against the map, x", "um")
    offset_y = _number("Sim:BSE:OffsetY", 0.0, "Displacement of the frame against the map, y", "um")

    image: Any
    """The frame's waveform; given by `make_frames`."""

    def __init__(
        self,
        prefix: str,
        driver: Driver,
        show_dose: Callable[[], Awaitable[None]],
        light: Callable[[bool], Awaitable[None]],
    ) -> None:
        super().__init__(prefix=prefix)
        self.driver = driver
        self._show_dose, self._light = show_dose, light

    async def put_acquire(self, instance: Any, value: Any) -> Any:
        """Scan a frame."""
        if str(value) not in ("1", "Acquire"):
            return "Done"
        sem, faults = self.driver.sem, self.driver.sem.frame_faults
        faults.noise, faults.shading, faults.charging = (
            float(pv.value) for pv in (self.noise, self.shading, self.charging)
        )
        faults.offset_x_um, faults.offset_y_um = float(self.offset_x.value), float(self.offset_y.value)
        try:
            field = ScanGrid(
                (int(self.rows.value), int(self.columns.value)),
                (float(self.step_y.value), float(self.step_x.value)),
                (float(self.centre_y.value), float(self.centre_x.value)),
            )
            dwell_s = float(self.dwell.value)
            run = await asyncio.to_thread(FrameRun, sem, field, dwell_s)
        except (ConfigError, InstrumentError) as error:
            await self.trouble.write(str(error)[:39])  # a string of Channel Access has 39 characters
            return "Done"
        await self._light(True)
        try:
            await self.driver.scan(run)
        finally:
            await self._light(False)
        await self.image.write(run.grey.reshape(-1).astype(np.float64))
        await self.frame_dose.write(run.charge_nc)
        await self._show_dose()
        await self.trouble.write("")
        return "Done"

    acquire.putter(put_acquire)


def make_frames(
    prefix: str,
    driver: Driver,
    show_dose: Callable[[], Awaitable[None]],
    light: Callable[[bool], Awaitable[None]],
) -> FrameGroup:
    """Make the PVs of the backscatter detector under `prefix`; a frame has at most 4 times the specimen's pixels.

    `show_dose` brings the PVs of the dose up to date, `light` lights or blanks the beam.
    """
    rows, columns = driver.sem.grid.shape
    kind = type(
        "FrameGroup",
        (FrameGroup,),
        {"image": image_property(4 * rows * columns), "__doc__": FrameGroup.__doc__},
    )
    group: FrameGroup = kind(prefix, driver, show_dose, light)
    return group
