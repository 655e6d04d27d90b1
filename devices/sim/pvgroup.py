"""The PVs of the simulated microscope: an electron beam, an EDS detector as an mca record, faults on command.

Nothing here decides anything: the physics is in `model` and `exposure`, time and faults are in `driver`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

from caproto import ChannelType
from caproto.server import pvproperty

from .caserver import LoopbackContext
from .driver import Driver
from .exposure import Presets, Record
from .guard_pvs import GuardPVs

__all__ = ["MCA", "SEMGroup", "make_group"]

MCA = "EDS:mca1"
"""The detector's record."""

DISPLAY_MM = 127.0
"""Width of the display that magnification refers to."""

_NO, _YES = "No", "Yes"


def _number(name: str, value: float, doc: str, units: str = "", precision: int = 3, **more: Any) -> Any:
    return pvproperty(name=name, value=float(value), doc=doc, units=units, precision=precision, **more)


def _whole(name: str, value: int, doc: str, units: str = "", **more: Any) -> Any:
    return pvproperty(name=name, value=int(value), doc=doc, units=units, **more)


def _text(name: str, value: str, doc: str) -> Any:
    return pvproperty(name=name, value=value, dtype=ChannelType.STRING, read_only=True, doc=doc)


def _choice(name: str, states: Sequence[str], doc: str, value: int = 0, **more: Any) -> Any:
    return pvproperty(
        name=name, value=states[value], dtype=ChannelType.ENUM, enum_strings=list(states), doc=doc, **more
    )


class SEMGroup(GuardPVs):
    """All PVs. The spectrum's own is added by `make_group`, as its length is the specimen's."""

    # --- the beam
    x = _number("Beam:X", 0.0, "Where the beam is to go, x", "um")
    x_rbv = _number("Beam:X_RBV", 0.0, "Where the beam is, x", "um", read_only=True)
    y = _number("Beam:Y", 0.0, "Where the beam is to go, y", "um")
    y_rbv = _number("Beam:Y_RBV", 0.0, "Where the beam is, y", "um", read_only=True)
    settle = _number(
        "Beam:SettleTime", 0.0, "A move completes this much after the deflection", "s", 4,
        lower_ctrl_limit=0.0, upper_ctrl_limit=10.0,
    )  # fmt: skip
    blank = _choice("Beam:Blank", ("Open", "Blanked"), "Blanks the beam", 1)
    blank_rbv = _choice(
        "Beam:Blank_RBV", ("Open", "Blanked"), "Whether the beam is blanked", 1, read_only=True
    )
    mode = _choice("Beam:Mode", ("Spot", "Raster"), "What the scan generator does; spectra are of a spot")
    hv = _number("Beam:HV", 15.0, "High voltage", "kV", 2, lower_ctrl_limit=1.0, upper_ctrl_limit=30.0)
    current = _number("Beam:Current", 1.0, "Beam current; 0 after a trip", "nA", 4, read_only=True)
    width = _number("Beam:HFW", 1.0, "Horizontal field width", "um", 2, read_only=True)
    distance = _number(
        "Beam:WD", 8.5, "Working distance", "mm", 2, lower_ctrl_limit=1.0, upper_ctrl_limit=60.0
    )
    magnification = _number("Beam:Mag", 1.0, "Magnification on a 127 mm display", "", 0, read_only=True)
    dose = _number(
        "Beam:Dose", 0.0, "Charge on the specimen: current × unblanked real time", "nC", read_only=True
    )
    pixel_dose = _number(
        "Beam:PixelDose", 0.0, "Charge since the beam came to this place", "nC", 4, read_only=True
    )
    budget = _number("Beam:DoseBudget", 0.0, "Charge that the specimen may take; 0: no limit", "nC")
    dose_ok = _choice("Beam:DoseOK", (_NO, _YES), "Whether the dose is within its budget", 1, read_only=True)

    # --- the detector: an mca record and its companion records
    record_type = _text(f"{MCA}.RTYP", "mca", "Type of the record")
    used = _whole(f"{MCA}.NUSE", 0, "Channels in use", read_only=True)
    most = _whole(f"{MCA}.NMAX", 0, "Channels there are", read_only=True)
    erase = _choice(f"{MCA}.ERAS", (_NO, _YES), "Erases the spectrum")
    start = _choice(f"{MCA}.STRT", (_NO, _YES), "Starts without erasing, and without waiting for the end")
    erase_start_field = _choice(f"{MCA}.ERST", (_NO, _YES), "Erases and starts, without waiting for the end")
    stop_field = _choice(f"{MCA}.STOP", (_NO, _YES), "Stops acquiring")
    acquiring = _choice(f"{MCA}.ACQG", (_NO, _YES), "Whether it is acquiring", read_only=True)
    preset_real = _number(f"{MCA}.PRTM", 0.0, "Preset real time; 0: no limit", "s", lower_ctrl_limit=0.0,
                          upper_ctrl_limit=1e6)  # fmt: skip
    preset_live = _number(f"{MCA}.PLTM", 10.0, "Preset live time; 0: no limit", "s", lower_ctrl_limit=0.0,
                          upper_ctrl_limit=1e6)  # fmt: skip
    preset_counts = _whole(f"{MCA}.PCT", 0, "Preset counts in channels PCTL to PCTH; 0: no limit", "counts")
    preset_low = _whole(f"{MCA}.PCTL", 0, "First channel of the preset counts")
    preset_high = _whole(f"{MCA}.PCTH", 0, "Last channel of the preset counts")
    real = _number(f"{MCA}.ERTM", 0.0, "Elapsed real time", "s", 4, read_only=True)
    live = _number(f"{MCA}.ELTM", 0.0, "Elapsed live time", "s", 4, read_only=True)
    counts = _whole(f"{MCA}.ACT", 0, "Counts in channels PCTL to PCTH, in all of them if both are 0", "counts",
                    read_only=True)  # fmt: skip
    dead = _number(f"{MCA}.DTIM", 0.0, "Dead time on average", "%", 1, read_only=True)
    dead_now = _number(f"{MCA}.IDTIM", 0.0, "Dead time at present", "%", 1, read_only=True)
    offset = _number(f"{MCA}.CALO", 0.0, "Energy of channel 0", "keV", 5)
    slope = _number(f"{MCA}.CALS", 0.01, "Energy per channel", "keV", 6)
    quadratic = _number(f"{MCA}.CALQ", 0.0, "Energy per channel squared", "keV", 9)
    energy_units = _text(f"{MCA}.EGU", "keV", "Unit of the calibration")
    mca_mode = _choice(
        f"{MCA}.MODE", ("PHA", "MCS", "List"), "Pulse-height analysis, or others that are not here"
    )
    erase_start = _choice(
        f"{MCA}EraseStart",
        ("Done", "Acquire"),
        "Erases and acquires; the put completes when the spectrum is final",
    )
    start_on = _choice(
        f"{MCA}Start",
        ("Done", "Acquire"),
        "Acquires on without erasing; the put completes when the spectrum is final",
    )
    stop = _choice(f"{MCA}Stop", ("Done", "Stop"), "Stops acquiring")
    read_now = _choice(f"{MCA}Read", ("Done", "Read"), "Brings spectrum and times up to date while acquiring")

    # --- faults on command
    trip = _choice("Sim:Trip", (_NO, _YES), "The beam trips, until this is No again")
    trip_next = _whole("Sim:TripNext", 0, "The beam trips in the middle of each of the next n acquisitions")
    hang = _whole("Sim:Hang", 0, "The next n acquisitions never end by themselves")
    late = _number("Sim:Late", 0.0, "Every acquisition's end comes this much later", "s")
    short = _whole("Sim:Short", 0, "The next n spectra have half their channels")
    empty = _whole("Sim:Empty", 0, "The next n spectra are empty")
    saturate = _whole(
        "Sim:Saturate", 0, "The next n spectra are cut off at 65535 counts, the limit of a counter"
    )
    disconnect = _choice("Sim:Disconnect", (_NO, _YES), "Every client loses its connection, once")
    leave = _choice("Sim:Exit", (_NO, _YES), "The IOC exits, as if it had crashed")
    noise = _number("Sim:CurrentNoise", 0.0, "Standard deviation of the current, as a part of it", "", 4)
    fade = _number("Sim:CurrentFade", 0.0, "Part of the current that is lost in an hour", "1/h", 4)
    damage = _number(
        "Sim:Damage", 0.0, "Dose after which a pixel gives 1/e of its counts; 0: no damage", "nC"
    )
    drift_x = _number("Sim:DriftX", 0.0, "Stage drift along x while acquiring", "um/s", 5)
    drift_y = _number("Sim:DriftY", 0.0, "Stage drift along y while acquiring", "um/s", 5)
    reset = _choice(
        "Sim:Reset", (_NO, _YES), "Forgets doses, visits and faults: a fresh specimen, the beam blanked"
    )
    measured = _whole("Sim:Acquisitions", 0, "Acquisitions since the start", read_only=True)

    driver: Driver

    def __init__(self, prefix: str, driver: Driver | None) -> None:
        """Make the PVs; without a driver they can only be listed."""
        super().__init__(prefix=prefix)
        if driver is not None:
            self.driver = driver
        self.context: LoopbackContext | None = None

    async def show(self) -> None:
        """Bring every PV in line with the model, once at the start."""
        sem = self.driver.sem
        axis = sem.specimen.axis
        (y0, y1), (x0, x1) = sem.limits_um
        for pv, value, low, high in ((self.x, sem.x_um, x0, x1), (self.y, sem.y_um, y0, y1)):
            await pv.write(
                value, verify_value=False, lower_ctrl_limit=low, upper_ctrl_limit=high,
                lower_disp_limit=low, upper_disp_limit=high,
            )  # fmt: skip
        field = x1 - x0
        for pv, number in (
            (self.x_rbv, sem.x_um), (self.y_rbv, sem.y_um), (self.current, sem.current_na), (self.width, field),
            (self.magnification, DISPLAY_MM * 1e3 / field), (self.used, axis.n_channels),
            (self.most, axis.n_channels), (self.preset_high, axis.n_channels - 1),
            (self.offset, axis.offset_kev), (self.slope, axis.width_kev),
        ):  # fmt: skip
            await pv.write(number, verify_value=False)

    async def show_record(self, record: Record) -> None:
        """Bring spectrum, times and doses up to date."""
        counts, live, real, dead = record
        low, high = self.preset_low.value, self.preset_high.value
        total = int(counts[low : high + 1].sum()) if high else int(counts.sum())
        await self.spectrum.write(counts)
        await self.live.write(live)
        await self.real.write(real)
        await self.counts.write(total)
        await self.dead.write(dead)
        await self.dead_now.write(dead)
        await self.show_dose()

    async def show_dose(self) -> None:
        """Bring the doses up to date."""
        sem, budget = self.driver.sem, self.budget.value
        await self.dose.write(sem.dose_nc)
        await self.pixel_dose.write(sem.pixel_dose_nc)
        fine = _YES if budget <= 0 or sem.dose_nc <= budget else _NO
        if self.dose_ok.value != fine:
            await self.dose_ok.write(fine)

    async def acquire(self, erase: bool = True) -> None:
        """Acquire with the presets as they are, and publish what came."""
        presets = Presets(
            float(self.preset_live.value), float(self.preset_real.value), int(self.preset_counts.value),
            (int(self.preset_low.value), int(self.preset_high.value)),
        )  # fmt: skip
        await self.acquiring.write(_YES)
        record = await self.driver.acquire(presets, self.show_record, erase=erase)
        if self.current.value != self.driver.sem.current_na:
            await self.current.write(self.driver.sem.current_na)
        await self.measured.write(self.measured.value + 1)
        await self.show_record(record)
        await self.acquiring.write(_NO)

    async def move(self, **where: float) -> None:
        """Go somewhere, and settle; the readback is that of the deflection, which does not wait for the beam."""
        self.driver.move(**where)
        for pv, place in ((self.x_rbv, self.driver.sem.x_um), (self.y_rbv, self.driver.sem.y_um)):
            if pv.value != place:
                await pv.write(place)
        if self.settle.value > 0:
            await asyncio.sleep(self.settle.value * self.driver.time_scale)
        await self.pixel_dose.write(self.driver.sem.pixel_dose_nc)

    async def put_x(self, instance: Any, value: float) -> None:
        """Move along x."""
        await self.move(x_um=float(value))

    async def put_y(self, instance: Any, value: float) -> None:
        """Move along y."""
        await self.move(y_um=float(value))

    async def put_blank(self, instance: Any, value: Any) -> None:
        """Blank or unblank."""
        blanked = _state(instance, value) == 1
        self.driver.blank(blanked)
        await self.blank_rbv.write("Blanked" if blanked else "Open")
        if not blanked and self.watchdog_tripped.value == _YES:
            await self.watchdog_tripped.write(_NO)
        if self.driver.time_scale == 1:
            await self.show_dose()

    async def light(self, lit: bool) -> None:
        """Light or blank the beam, as the scan generator does for a frame."""
        self.driver.blank(not lit)
        await self.blank_rbv.write("Open" if lit else "Blanked")

    async def watchdog_blanks(self) -> bool:
        """Blank the beam; return whether it was lit."""
        if self.driver.sem.blanked and not self.driver.list_running:
            return False
        await self.blank.write("Blanked")
        return True

    async def put_budget(self, instance: Any, value: float) -> None:
        """Judge the dose by the new budget."""
        fine = value <= 0 or self.driver.sem.dose_nc <= value
        await self.dose_ok.write(_YES if fine else _NO)

    async def put_erase_start(self, instance: Any, value: Any) -> Any:
        """Acquire; the put completes when the spectrum is final."""
        if _state(instance, value) == 1:
            await self.acquire()
        return "Done"

    async def put_start_on(self, instance: Any, value: Any) -> Any:
        """Acquire on; the put completes when the spectrum is final."""
        if _state(instance, value) == 1:
            await self.acquire(erase=False)
        return "Done"

    async def put_start(self, instance: Any, value: Any) -> Any:
        """Acquire on without letting the client wait for it."""
        if _state(instance, value) == 1:
            self._running = asyncio.get_running_loop().create_task(self.acquire(erase=False))
        return _NO

    async def put_erase_start_field(self, instance: Any, value: Any) -> Any:
        """Erase and acquire without letting the client wait for it."""
        if _state(instance, value) == 1:
            self._running = asyncio.get_running_loop().create_task(self.acquire())
        return _NO

    async def put_stop(self, instance: Any, value: Any) -> Any:
        """Stop acquiring."""
        if _state(instance, value) == 1:
            self.driver.stop()
        return instance.enum_strings[0]

    async def put_read_now(self, instance: Any, value: Any) -> Any:
        """Publish what the running acquisition has gathered by now."""
        record = self.driver.look() if _state(instance, value) == 1 else None
        if record is not None:
            await self.show_record(record)
        return "Done"

    async def put_erase(self, instance: Any, value: Any) -> Any:
        """Erase the spectrum."""
        if _state(instance, value) == 1:
            await self.show_record(self.driver.nothing)
        return _NO

    async def put_mca_mode(self, instance: Any, value: Any) -> None:
        """Refuse what is not simulated."""
        if _state(instance, value) != 0:
            raise ValueError("only PHA is simulated")

    async def put_trip(self, instance: Any, value: Any) -> None:
        """Trip the beam, or bring it back."""
        self.driver.trip(_state(instance, value) == 1)
        await self.current.write(self.driver.sem.current_na)

    async def put_trip_next(self, instance: Any, value: int) -> None:
        """Arm trips in mid-acquisition."""
        self.driver.faults.trip = int(value)

    async def put_hang(self, instance: Any, value: int) -> None:
        """Arm acquisitions that hang."""
        self.driver.faults.hang = int(value)

    async def put_late(self, instance: Any, value: float) -> None:
        """Set how late the ends come."""
        self.driver.faults.late_s = float(value)

    async def put_short(self, instance: Any, value: int) -> None:
        """Arm short spectra."""
        self.driver.faults.short = int(value)

    async def put_empty(self, instance: Any, value: int) -> None:
        """Arm empty spectra."""
        self.driver.faults.empty = int(value)

    async def put_saturate(self, instance: Any, value: int) -> None:
        """Arm saturated spectra."""
        self.driver.faults.saturated = int(value)

    async def put_noise(self, instance: Any, value: float) -> None:
        """Let the current fluctuate."""
        self.driver.sem.noise = float(value)

    async def put_fade(self, instance: Any, value: float) -> None:
        """Let the current fade."""
        self.driver.sem.fade_per_h = float(value)

    async def put_damage(self, instance: Any, value: float) -> None:
        """Let the beam damage the specimen."""
        self.driver.sem.damage_nc = float(value)

    async def put_drift_x(self, instance: Any, value: float) -> None:
        """Let the stage drift along x."""
        self.driver.sem.drift_um_per_s = (float(value), self.driver.sem.drift_um_per_s[1])

    async def put_drift_y(self, instance: Any, value: float) -> None:
        """Let the stage drift along y."""
        self.driver.sem.drift_um_per_s = (self.driver.sem.drift_um_per_s[0], float(value))

    async def put_disconnect(self, instance: Any, value: Any) -> Any:
        """Drop every connection."""
        if _state(instance, value) == 1 and self.context is not None:
            self.context.drop_clients()
        return _NO

    async def put_reset(self, instance: Any, value: Any) -> Any:
        """Start with a fresh specimen."""
        if _state(instance, value) == 1:
            self.driver.reset()
            for pv in (
                self.trip_next, self.hang, self.late, self.short, self.empty, self.saturate, self.measured,
                self.budget, self.noise, self.fade, self.damage, self.drift_x, self.drift_y,
            ):  # fmt: skip
                await pv.write(0, verify_value=False)
            await self.trip.write(_NO)
            await self.blank.write("Blanked")
            await self.show()
            await self.show_record(self.driver.nothing)
        return _NO

    async def put_leave(self, instance: Any, value: Any) -> None:
        """Exit at once, as if it had crashed."""
        if _state(instance, value) == 1:
            os._exit(3)

    x.putter(put_x)
    y.putter(put_y)
    blank.putter(put_blank)
    budget.putter(put_budget)
    erase_start.putter(put_erase_start)
    read_now.putter(put_read_now)
    erase.putter(put_erase)
    mca_mode.putter(put_mca_mode)
    trip.putter(put_trip)
    trip_next.putter(put_trip_next)
    hang.putter(put_hang)
    late.putter(put_late)
    short.putter(put_short)
    empty.putter(put_empty)
    saturate.putter(put_saturate)
    noise.putter(put_noise)
    fade.putter(put_fade)
    damage.putter(put_damage)
    drift_x.putter(put_drift_x)
    drift_y.putter(put_drift_y)
    disconnect.putter(put_disconnect)
    reset.putter(put_reset)
    leave.putter(put_leave)
    start.putter(put_start)
    start_on.putter(put_start_on)
    erase_start_field.putter(put_erase_start_field)
    stop.putter(put_stop)
    stop_field.putter(put_stop)


def _state(instance: Any, value: Any) -> int:
    return instance.enum_strings.index(value) if isinstance(value, str) else int(value)


def make_group(prefix: str, driver: Driver) -> SEMGroup:
    """Make all PVs of a microscope under `prefix`."""
    n_channels = driver.sem.specimen.axis.n_channels
    spectrum = pvproperty(
        name=MCA, value=[0] * n_channels, dtype=int, max_length=n_channels, read_only=True, units="counts",
        doc="The spectrum",
    )  # fmt: skip
    kind = type("SEMGroup", (SEMGroup,), {"spectrum": spectrum, "__doc__": SEMGroup.__doc__})
    group: SEMGroup = kind(prefix, driver)
    return group
