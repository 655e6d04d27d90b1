"""Soft devices: the beam and the detector in this process, without EPICS, over a simulated specimen.

The same data keys and the same physics as the ophyd devices have over the simulated microscope's IOC; everything
is done by the time a method returns, and no thread is started.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InstrumentError
from ...protocols import Classifier, Specimen, StopRule
from ..beamwatch import BeamWatch
from ..frames import FRAME_DWELL_S, describe_field, describe_frame, frame_field, read_field
from ..reading import (
    BEAM_FIELDS,
    DetectorFacts,
    EDSReading,
    check_classifier,
    check_presets,
    data_key,
    describe_eds,
    judge,
    look,
    n_hypotheses,
    n_parts,
    parts,
    weigh,
)
from ..status import QuickStatus
from .exposure import Presets
from .framerun import FrameRun
from .model import SimulatedSEM

__all__ = ["SoftBSE", "SoftBeam", "SoftEDS", "SoftMicroscope", "soft_microscope"]

HIGH_VOLTAGE_KV = 15.0
FACTS = DetectorFacts(elevation_angle_deg=28.5, energy_resolution_ev=126.0)
"""Of the detector that the simulated spectra are computed for."""


class _Soft:
    """What every soft device is: a name, no parent, nothing to connect."""

    parent = None

    def __init__(self, name: str, sem: SimulatedSEM) -> None:
        self.name = name
        self.sem = sem

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.sem.specimen.name!r})"

    def _source(self, field: str) -> str:
        return f"SIM:{self.name}#{field}"


class SoftBlanker(_Soft):
    """The beam blanker: set it to True to blank."""

    def set(self, blanked: bool) -> QuickStatus:
        """Blank or unblank."""
        self.sem.blanked = bool(blanked)
        return QuickStatus(done=True)

    def get(self) -> bool:
        """Whether the beam is blanked."""
        return self.sem.blanked


class SoftCurrent(_Soft):
    """The beam current, nA."""

    def get(self) -> float:
        """Return it."""
        return self.sem.current_na

    def read(self) -> dict[str, dict[str, Any]]:
        """Read it."""
        return {self.name: {"value": self.sem.current_na, "timestamp": time.time()}}

    def describe(self) -> dict[str, dict[str, Any]]:
        """Describe it."""
        return {self.name: data_key(f"SIM:{self.name}", "number", "<f8", units="nA", precision=4)}


class SoftBeam(_Soft):
    """The electron beam: ``set((x, y))`` in µm moves it blanked."""

    def __init__(self, name: str, sem: SimulatedSEM) -> None:
        super().__init__(name, sem)
        self.blanker = SoftBlanker(f"{name}_blanker", sem)
        self.current = SoftCurrent(f"{name}_current", sem)
        self._before: tuple[float, float] | None = None

    @property
    def hints(self) -> dict[str, Any]:
        """Fields for tables and plots."""
        return {"fields": [f"{self.name}_x", f"{self.name}_y"]}

    @property
    def position(self) -> tuple[float, float]:
        """(x, y) in µm."""
        return self.sem.x_um, self.sem.y_um

    def check_value(self, position: tuple[float, float]) -> None:
        """Raise InstrumentError for a position outside the field."""
        try:
            self.sem.check_position(*position)
        except InstrumentError as error:
            raise InstrumentError(f"{self.name}: {error}") from None

    def set(self, position: tuple[float, float]) -> QuickStatus:
        """Blank the beam and move it to (x, y) µm; InstrumentError outside the field."""
        self.check_value(position)
        self.sem.blanked = True
        self.sem.move(x_um=position[0], y_um=position[1])
        return QuickStatus(done=True)

    def read(self) -> dict[str, dict[str, Any]]:
        """Position, dose of this pixel, total dose."""
        sem, now = self.sem, time.time()
        values = (sem.x_um, sem.y_um, sem.pixel_dose_nc, sem.dose_nc)
        return {
            f"{self.name}_{key}": {"value": value, "timestamp": now}
            for key, value in zip(BEAM_FIELDS, values, strict=True)
        }

    def describe(self) -> dict[str, dict[str, Any]]:
        """Describe the values of `read`."""
        return {
            f"{self.name}_{key}": data_key(
                self._source(key), "number", "<f8", units=units, precision=precision
            )
            for key, (units, precision) in BEAM_FIELDS.items()
        }

    def read_configuration(self) -> dict[str, Any]:
        """Energy and current of the beam, and the width of the field."""
        width, now = self.sem.grid.shape[1] * self.sem.grid.step_um[1], time.time()
        values = {"energy": HIGH_VOLTAGE_KV, "current": self.sem.current_na, "field_width": width}
        return {f"{self.name}_{key}": {"value": float(v), "timestamp": now} for key, v in values.items()}

    def describe_configuration(self) -> dict[str, Any]:
        """Describe the values of `read_configuration`."""
        units = {"energy": "kV", "current": "nA", "field_width": "µm"}
        return {
            f"{self.name}_{key}": data_key(self._source(key), "number", "<f8", units=unit, precision=3)
            for key, unit in units.items()
        }

    def stage(self) -> list[Any]:
        """Blank, and remember where the beam stands."""
        self.sem.blanked = True
        self._before = self.position
        return [self]

    def unstage(self) -> list[Any]:
        """Blank, and go back to where the beam stood."""
        self.sem.blanked = True
        if self._before is not None:
            self.sem.move(x_um=self._before[0], y_um=self._before[1])
            self._before = None
        return [self]

    def stop(self, success: bool = True) -> None:
        """Blank; the RunEngine calls this on a pause and at every end of a plan."""
        self.sem.blanked = True

    def pause(self) -> None:
        """Blank while the RunEngine is paused."""
        self.sem.blanked = True

    def resume(self) -> None:
        """Nothing: the plan unblanks when it acquires again."""


class SoftEDS(_Soft):
    """The EDS detector: ``trigger()`` acquires and classifies.

    Parameters
    ----------
    name : str
    sem : SimulatedSEM
    classifier : Classifier, optional
        Without one, readings have no label.
    stop_rule : StopRule, optional
        Stops each acquisition as soon as its spectrum suffices; the presets remain its limits.
    """

    def __init__(
        self,
        name: str,
        sem: SimulatedSEM,
        classifier: Classifier | None = None,
        stop_rule: StopRule | None = None,
    ) -> None:
        super().__init__(name, sem)
        self.classifier = classifier
        self.stop_rule = stop_rule
        self.abundances = False
        """Whether readings hold the abundances of the phases."""
        self._before: tuple[Presets, Classifier | None, StopRule | None, bool] | None = None
        self._all = (0, int(sem.specimen.axis.n_channels) - 1)
        self.presets = Presets(live_s=10.0, window=self._all)
        self.reading: EDSReading | None = None
        self._watch = BeamWatch()
        self.classify_s = 0.0
        """How long the last classification took, s."""

    @property
    def hints(self) -> dict[str, Any]:
        """Fields for tables and plots."""
        fields = ["counts", "label"] if self.classifier is not None else ["counts"]
        return {"fields": [f"{self.name}_{field}" for field in fields]}

    def configure(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Set any of what `PRESETS` names; see `protocols.Detector.configure`. A preset of 0: no limit."""
        check_presets(self.name, values)
        before = self.read_configuration()
        self.classifier = values.get("classifier", self.classifier)
        self.stop_rule = values.get("stop_rule", self.stop_rule)
        self.abundances = bool(values.get("abundances", self.abundances))
        names = {"live_time": "live_s", "real_time": "real_s", "counts": "counts", "window": "window"}
        self.presets = replace(
            self.presets, **{ours: values[key] for key, ours in names.items() if key in values}
        )
        return before, self.read_configuration()

    def read_configuration(self) -> dict[str, Any]:
        """Presets, energy calibration, which classifier, and what is known of the detector."""
        axis, now = self.sem.specimen.axis, time.time()
        values = {
            "preset_live_time": self.presets.live_s,
            "preset_real_time": self.presets.real_s,
            "preset_counts": self.presets.counts,
            "energy_offset": float(axis.offset_kev),
            "energy_width": float(axis.width_kev),
            "classifier": self.classifier.sha256 if self.classifier is not None else "",
        }
        own = {f"{self.name}_{key}": {"value": v, "timestamp": now} for key, v in values.items()}
        return OrderedDict({**own, **FACTS.read(self.name)})

    def describe_configuration(self) -> dict[str, Any]:
        """Describe the values of `read_configuration`."""
        keys = {
            "preset_live_time": ("number", "<f8", "s"),
            "preset_real_time": ("number", "<f8", "s"),
            "preset_counts": ("integer", "<i8", "counts"),
            "energy_offset": ("number", "<f8", "keV"),
            "energy_width": ("number", "<f8", "keV"),
            "classifier": ("string", "<U64", ""),
        }
        own = {
            f"{self.name}_{key}": data_key(self._source(key), dtype, numpy_dtype, units=units)
            for key, (dtype, numpy_dtype, units) in keys.items()
        }
        return OrderedDict({**own, **FACTS.describe(self.name)})

    def stage(self) -> list[Any]:
        """Check the classifier against the detector, and let it classify nothing once: the first time may be slow."""
        axis = self.sem.specimen.axis
        check_classifier(self.name, axis.n_channels, axis.offset_kev, axis.width_kev, self.classifier)
        self._before = (self.presets, self.classifier, self.stop_rule, self.abundances)
        self._watch.start(self.sem.dose_nc, self.sem.current_na)
        judge(self.classifier, np.zeros(axis.n_channels, np.int32))
        return [self]

    def unstage(self) -> list[Any]:
        """Put presets, classifier and stop rule back."""
        if self._before is not None:
            self.presets, self.classifier, self.stop_rule, self.abundances = self._before
            self._before = None
        return [self]

    def trigger(self) -> QuickStatus:
        """Acquire until a preset is reached, then classify."""
        rule, presets = self.stop_rule, self.presets
        if rule is not None:
            rule.reset()
            presets = replace(presets, counts=rule.next_counts(), window=self._all)
        lights, self.sem.blanked = self.sem.blanked, False  # in any plan, the beam is lit while it acquires
        exposure = self.sem.start(presets)
        counts, live, real, dead = exposure.advance(exposure.end_live_s)
        before = time.perf_counter()
        judgement = None
        if rule is not None:
            while (judgement := look(rule, counts, live, presets.counts)) is None:
                presets = replace(presets, counts=int(counts.sum()) + rule.next_counts())
                exposure.extend(presets)
                counts, live, real, dead = exposure.advance(exposure.end_live_s)
        exposure.finish()
        self.sem.blanked = lights
        try:
            self._watch.check(self.sem.dose_nc, real)
        except InstrumentError as error:
            status = QuickStatus()
            status.set_exception(InstrumentError(f"{self.name}: {error}"))
            return status
        if rule is None:
            judgement = judge(self.classifier, counts, live)
        log_likelihood = weigh(self.classifier, counts)
        mixture = parts(self.classifier, counts) if self.abundances else None
        self.classify_s = time.perf_counter() - before
        self.reading = EDSReading(
            counts, live, real, dead, judgement, log_likelihood=log_likelihood, mixture=mixture
        )
        return QuickStatus(done=True)

    def stop(self, success: bool = True) -> None:
        """Nothing: an acquisition is over when `trigger` returns."""

    def read(self) -> dict[str, dict[str, Any]]:
        """Return the last spectrum; InstrumentError before the first."""
        if self.reading is None:
            raise InstrumentError(f"{self.name}: nothing was acquired yet")
        return self.reading.as_reading(self.name)

    def describe(self) -> dict[str, dict[str, Any]]:
        """Describe the values of `read`."""
        n_channels = self.sem.specimen.axis.n_channels
        return describe_eds(
            self.name, n_channels, f"SIM:{self.name}", classified=self.classifier is not None,
            hypotheses=n_hypotheses(self.classifier),
            n_parts=n_parts(self.classifier, self.abundances),
        )  # fmt: skip


class SoftBSE(_Soft):
    """The backscatter detector: ``trigger()`` scans a frame of the field that ``configure`` names.

    Its data keys are those of `devices.bse.BSEDetector`.
    """

    def __init__(self, name: str, sem: SimulatedSEM) -> None:
        super().__init__(name, sem)
        self._grid = sem.grid
        self._dwell_s = FRAME_DWELL_S
        self._frame: tuple[NDArray[np.float32], float, float] | None = None

    @property
    def hints(self) -> dict[str, Any]:
        """Fields for tables and plots."""
        return {"fields": [f"{self.name}_dose"]}

    def configure(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Set any of ``shape``, ``step_um``, ``centre_um`` (y, x) and ``dwell_s``."""
        before = self.read_configuration()
        self._grid, self._dwell_s = frame_field(self.name, values, self._grid, self._dwell_s)
        return before, self.read_configuration()

    def read_configuration(self) -> dict[str, Any]:
        """Field of the frame and time at each pixel."""
        return read_field(self.name, self._grid, self._dwell_s, time.time())

    def describe_configuration(self) -> dict[str, Any]:
        """Describe the values of `read_configuration`."""
        return describe_field(self.name, self._source)

    def stage(self) -> list[Any]:
        """Nothing to prepare."""
        return [self]

    def unstage(self) -> list[Any]:
        """Nothing to put back."""
        return [self]

    def trigger(self) -> QuickStatus:
        """Scan a frame."""
        status = QuickStatus()
        try:
            run = FrameRun(self.sem, self._grid, self._dwell_s)
        except InstrumentError as error:
            status.set_exception(InstrumentError(f"{self.name}: {error}"))
            return status
        self.sem.blanked = False
        run.advance(float("inf"))
        self.sem.blanked = True
        self._frame = run.grey, run.charge_nc, time.time()
        status.set_finished()
        return status

    def read(self) -> dict[str, dict[str, Any]]:
        """Return the last frame and its charge; InstrumentError before the first."""
        if self._frame is None:
            raise InstrumentError(f"{self.name}: no frame was scanned yet")
        frame, charge, when = self._frame
        return {
            f"{self.name}_image": {"value": frame, "timestamp": when},
            f"{self.name}_dose": {"value": charge, "timestamp": when},
        }

    def describe(self) -> dict[str, dict[str, Any]]:
        """Describe the values of `read`."""
        return describe_frame(self.name, self._grid.shape, self._source)


class SoftMicroscope(_Soft):
    """High voltage, current, working distance, field width and magnification, for the baseline."""

    high_voltage_kv = HIGH_VOLTAGE_KV
    working_distance_mm = 8.5
    display_mm = 127.0
    """Width of the display that magnification refers to (a Polaroid's, by convention)."""

    @property
    def hints(self) -> dict[str, Any]:
        """What is shown in tables: all but the magnification, which follows from the field width."""
        shown = ("high_voltage", "current", "working_distance", "field_width")
        return {"fields": [f"{self.name}_{field}" for field in shown]}

    def read(self) -> dict[str, dict[str, Any]]:
        """Settings of the column."""
        width = self.sem.grid.shape[1] * self.sem.grid.step_um[1]
        now = time.time()
        values = {
            "high_voltage": self.high_voltage_kv,
            "current": self.sem.current_na,
            "working_distance": self.working_distance_mm,
            "field_width": width,
            "magnification": self.display_mm * 1000.0 / width,
        }
        return {f"{self.name}_{key}": {"value": v, "timestamp": now} for key, v in values.items()}

    def describe(self) -> dict[str, dict[str, Any]]:
        """Describe the values of `read`."""
        units = {
            "high_voltage": "kV", "current": "nA", "working_distance": "mm", "field_width": "µm", "magnification": "",
        }  # fmt: skip
        return {
            f"{self.name}_{key}": data_key(self._source(key), "number", "<f8", units=unit, precision=3)
            for key, unit in units.items()
        }


def soft_microscope(
    specimen: Specimen,
    classifier: Classifier | None = None,
    *,
    current_na: float = 1.0,
    stop_rule: StopRule | None = None,
) -> tuple[SoftBeam, SoftEDS, SoftMicroscope]:
    """Make a beam ``beam``, a detector ``eds`` and a microscope ``sem`` over one specimen."""
    sem = SimulatedSEM(specimen, current_na=current_na)
    return SoftBeam("beam", sem), SoftEDS("eds", sem, classifier, stop_rule), SoftMicroscope("sem", sem)
