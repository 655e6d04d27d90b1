"""An EDS detector behind an EPICS mca record, which classifies what it acquires."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ophyd import Component as Cpt
from ophyd import Device, EpicsSignal, EpicsSignalRO, Kind

from ..errors import InstrumentError
from ..protocols import Classifier, StopRule
from .beam import SEMBeam, put
from .beamwatch import BeamWatch
from .connect import connect
from .reading import (
    DetectorFacts,
    EDSReading,
    check_classifier,
    check_presets,
    data_key,
    describe_eds,
    judge,
    look,
)
from .status import QuickStatus

__all__ = ["EDSDetector"]

_log = logging.getLogger(__name__)


class EDSDetector(Device):  # type: ignore[misc]
    """An EDS detector: ``trigger()`` acquires a spectrum and classifies it in a thread of its own.

    The prefix is that of the record, such as ``SEM:EDS:mca1``. The status of `trigger` is done when spectrum,
    times, label, probability and verdict are in hand; `read` gives these, so that what is recorded is the very
    spectrum that was classified.

    Parameters
    ----------
    prefix : str
    classifier : Classifier, optional
        Without one, readings have no label.
    beam : SEMBeam, optional
        With it, an acquisition during which the beam current was lost is refused; see `BeamWatch`.
    stop_rule : StopRule, optional
        Stops each acquisition as soon as its spectrum suffices: the record acquires up to a preset number of
        counts, the rule looks, and asks for more or has decided. The presets of time remain limits.
    elevation_angle_deg, energy_resolution_ev : float, optional
        See `DetectorFacts`; recorded as configuration.
    connection_timeout_s : float
        For all PVs together, when staged.
    """

    spectrum = Cpt(EpicsSignalRO, "", auto_monitor=False, kind=Kind.omitted)
    channels = Cpt(EpicsSignalRO, ".NUSE", kind=Kind.omitted)
    acquiring = Cpt(EpicsSignalRO, ".ACQG", kind=Kind.omitted)
    live_time = Cpt(EpicsSignalRO, ".ELTM", auto_monitor=False, kind=Kind.omitted)
    real_time = Cpt(EpicsSignalRO, ".ERTM", auto_monitor=False, kind=Kind.omitted)
    dead_time = Cpt(EpicsSignalRO, ".IDTIM", kind=Kind.omitted)
    preset_live_time = Cpt(EpicsSignal, ".PLTM", kind=Kind.config)
    preset_real_time = Cpt(EpicsSignal, ".PRTM", kind=Kind.config)
    preset_counts = Cpt(EpicsSignal, ".PCT", kind=Kind.config)
    preset_low = Cpt(EpicsSignal, ".PCTL", kind=Kind.omitted)
    preset_high = Cpt(EpicsSignal, ".PCTH", kind=Kind.omitted)
    energy_offset = Cpt(EpicsSignal, ".CALO", kind=Kind.config)
    energy_width = Cpt(EpicsSignal, ".CALS", kind=Kind.config)
    energy_quadratic = Cpt(EpicsSignal, ".CALQ", kind=Kind.omitted)
    erase_start = Cpt(EpicsSignal, "EraseStart", put_complete=True, kind=Kind.omitted)
    start_on = Cpt(EpicsSignal, "Start", put_complete=True, kind=Kind.omitted)
    stop_acquiring = Cpt(EpicsSignal, "Stop", kind=Kind.omitted)

    def __init__(
        self,
        prefix: str,
        *,
        classifier: Classifier | None = None,
        beam: SEMBeam | None = None,
        stop_rule: StopRule | None = None,
        elevation_angle_deg: float | None = None,
        energy_resolution_ev: float | None = None,
        connection_timeout_s: float = 5.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(prefix, **kwargs)
        self.facts = DetectorFacts(elevation_angle_deg, energy_resolution_ev)
        self.classifier = classifier
        self.beam = beam
        self.stop_rule = stop_rule
        self._watch = BeamWatch()
        self.connection_timeout_s = connection_timeout_s
        self.reading: EDSReading | None = None
        self.classify_s = 0.0
        """How long the last classification took, s."""
        self._n_channels = 0
        self._jobs: queue.SimpleQueue[tuple[Callable[[QuickStatus], None], QuickStatus]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._pending: QuickStatus | None = None
        self._abandoned = False
        self._preset = 0
        self._restore: dict[EpicsSignal, Any] = {}
        self._rules_before: tuple[Classifier | None, StopRule | None] | None = None

    @property
    def hints(self) -> dict[str, Any]:
        """Fields for tables and plots."""
        fields = ["counts", "label"] if self.classifier is not None else ["counts"]
        return {"fields": [f"{self.name}_{field}" for field in fields]}

    def stage(self) -> list[Any]:
        """Connect, and refuse what does not fit the classifier; remember the presets.

        Raises
        ------
        InstrumentError
            If a PV does not answer, or channels or calibration are not those of the classifier.
        """
        connect(self, self.connection_timeout_s)
        self._n_channels = int(self.channels.get())
        if self.energy_quadratic.get() != 0:
            raise InstrumentError(
                f"{self.name}: the energy calibration has a quadratic term, which is not supported"
            )
        check_classifier(
            self.name, self._n_channels, float(self.energy_offset.get()), float(self.energy_width.get()),
            self.classifier,
        )  # fmt: skip
        presets = (
            self.preset_live_time,
            self.preset_real_time,
            self.preset_counts,
            self.preset_low,
            self.preset_high,
        )
        self._restore = {signal: signal.get() for signal in presets}
        self._rules_before = (self.classifier, self.stop_rule)
        if self.stop_rule is not None:
            self.preset_low.put(0)
            self.preset_high.put(self._n_channels - 1)
        if self.beam is not None:
            connect(self.beam, self.connection_timeout_s)
            self._watch.start(float(self.beam.dose.get()), float(self.beam.current.get()))
        judge(self.classifier, np.zeros(self._n_channels, np.int32))  # the first time may be slow
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"{self.name}-classify", daemon=True)
            self._thread.start()
        return list(super().stage())

    def unstage(self) -> list[Any]:
        """Stop acquiring if it still does; put presets, classifier and stop rule back."""
        self._abandon()
        if self._rules_before is not None:
            self.classifier, self.stop_rule = self._rules_before
            self._rules_before = None
        for signal, value in self._restore.items():
            if signal.connected:
                signal.put(value)
            else:
                _log.error("%s: %s does not answer; %s is not restored", self.name, signal.pvname, value)
        self._restore = {}
        return list(super().unstage())

    def configure(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Set any of what `PRESETS` names; see `protocols.Detector.configure`. A preset of 0: no limit."""
        signals = {
            "live_time": self.preset_live_time, "real_time": self.preset_real_time, "counts": self.preset_counts,
        }  # fmt: skip
        check_presets(self.name, values)
        before = self.read_configuration()
        if "classifier" in values:
            if self._n_channels:  # staged already, so what was checked then is checked again
                check_classifier(
                    self.name, self._n_channels, float(self.energy_offset.get()), float(self.energy_width.get()),
                    values["classifier"],
                )  # fmt: skip
            self.classifier = values["classifier"]
        self.stop_rule = values.get("stop_rule", self.stop_rule)
        low, high = values.get("window", (0, int(self.channels.get()) - 1))
        wanted = {signal: values[key] for key, signal in signals.items() if key in values}
        if "window" in values or values.get("counts") or values.get("stop_rule") is not None:
            wanted.update({self.preset_low: int(low), self.preset_high: int(high)})
        for signal, value in wanted.items():
            status = QuickStatus()
            put(signal, value, status, status.set_finished)
            status.wait(self.connection_timeout_s)
        return before, self.read_configuration()

    def read_configuration(self) -> OrderedDict[str, Any]:
        """Presets, energy calibration, which classifier, and what is known of the detector."""
        values: OrderedDict[str, Any] = super().read_configuration()
        sha = self.classifier.sha256 if self.classifier is not None else ""
        values[f"{self.name}_classifier"] = {"value": sha, "timestamp": time.time()}
        values.update(self.facts.read(self.name))
        return values

    def describe_configuration(self) -> OrderedDict[str, Any]:
        """Describe the values of `read_configuration`."""
        keys: OrderedDict[str, Any] = super().describe_configuration()
        keys[f"{self.name}_classifier"] = data_key(f"PY:{self.name}.classifier", "string", "<U64")
        keys.update(self.facts.describe(self.name))
        return keys

    def trigger(self) -> QuickStatus:
        """Acquire until a preset is reached, then classify."""
        self._abandon()
        status = self._pending = QuickStatus()
        if self._abandoned:  # the worker may still be at it, and its charge must not count for this one
            self._jobs.put((self._restart, status))
        else:
            self._start(status)
        return status

    def _start(self, status: QuickStatus) -> None:
        if self.stop_rule is not None:
            self.stop_rule.reset()
            self._preset = self.stop_rule.next_counts()
            self.preset_counts.put(self._preset)
        put(self.erase_start, 1, status, lambda: self._jobs.put((self._finish, status)))

    def _abandon(self) -> None:
        """Stop what is being acquired: its status ends well, as nobody waits for it any more."""
        pending, self._pending = self._pending, None
        if pending is not None and not pending.done:
            self._abandoned = True
            pending.set_finished()
            if self.stop_acquiring.connected:
                self.stop_acquiring.put(1)

    def _work(self) -> None:
        while True:
            job, status = self._jobs.get()
            if status is self._pending and not status.done:
                try:
                    job(status)
                except Exception as error:
                    self._abandoned = True
                    status.set_exception(InstrumentError(f"{self.name}: {error}"))

    def _restart(self, status: QuickStatus) -> None:
        if self.beam is not None:
            self._watch.begin(float(self.beam.dose.get()))
        self._abandoned = False
        self._start(status)

    def _finish(self, status: QuickStatus) -> None:
        counts = self._spectrum()
        live = float(self.live_time.get())
        before = time.perf_counter()
        if self.stop_rule is not None:
            judgement = look(self.stop_rule, counts, live, self._preset)
            if judgement is None:
                self._preset = int(counts.sum()) + self.stop_rule.next_counts()
                self.preset_counts.put(self._preset)
                put(self.start_on, 1, status, lambda: self._jobs.put((self._finish, status)))
                return
        else:
            judgement = judge(self.classifier, counts, live)
        self.classify_s = time.perf_counter() - before
        real = float(self.real_time.get())
        if self.beam is not None:
            self._watch.check(float(self.beam.dose.get()), real)
        dead = 100.0 * (1.0 - live / real) if real > 0 else 0.0
        self.reading = EDSReading(counts, live, real, dead, judgement)
        status.set_finished()

    def _spectrum(self) -> NDArray[np.int32]:
        counts = np.asarray(self.spectrum.get())
        if counts.shape != (self._n_channels,):
            raise InstrumentError(f"a spectrum of {counts.size} channels instead of {self._n_channels}")
        if (counts < 0).any():
            raise InstrumentError(f"{counts.min()} counts in channel {counts.argmin()}")
        return counts.astype(np.int32)

    def read(self) -> dict[str, Any]:
        """Return the last spectrum; InstrumentError before the first."""
        if self.reading is None:
            raise InstrumentError(f"{self.name}: nothing was acquired yet")
        return self.reading.as_reading(self.name)

    def describe(self) -> dict[str, Any]:
        """Describe the values of `read`."""
        n_channels = self._n_channels or int(self.channels.get())
        return describe_eds(
            self.name, n_channels, f"PV:{self.prefix}", classified=self.classifier is not None
        )

    def stop(self, *, success: bool = False) -> None:
        """Stop acquiring."""
        self._abandon()

    def pause(self) -> None:
        """Stop acquiring while the RunEngine is paused; the plan triggers again afterwards."""
        self._abandon()

    def resume(self) -> None:
        """Nothing: the plan triggers again."""
