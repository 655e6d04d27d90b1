"""An EDS detector behind an EPICS mca record, which classifies what it acquires."""

from __future__ import annotations

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

from ..errors import InstrumentError, is_away
from ..protocols import Classifier, StopRule
from .beam import SEMBeam
from .beamwatch import BeamWatch
from .connect import connect
from .kept import KeptSettings
from .monitors import MonitorCheck
from .reading import (
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
from .saturation import check_saturation
from .signals import put, put_if_there
from .status import QuickStatus

__all__ = ["EDSDetector"]

CHECK_S = 0.5
"""How often it is looked whether a long acquisition makes progress, s."""
STALL_S = 2.0
"""An acquisition whose clock stands still for longer is given up, s."""
BLANKED = "the beam was blanked by somebody else during the acquisition"


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
        With it, an acquisition during which the beam was blanked or its current was lost is refused (see
        `BlankerWatch` and `BeamWatch`), and a beam that is blanked when an acquisition is triggered is lit for it,
        so that the detector works in any plan.
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
        self.abundances = False
        """Whether readings hold the abundances of the phases."""
        self._watch = BeamWatch()
        self._lit_s = 0.0  # how long the beam had been lit when the dose was read last
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
        self._kept = KeptSettings(self.name)
        self._monitors = MonitorCheck(self.name, lambda: self._kept.signals)
        self._lights = False
        self._read_now: Any = None
        self._progress: tuple[float, float] | None = None  # elapsed real time, and since when it stands there
        self._rules_before: tuple[Classifier | None, StopRule | None, bool] | None = None

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
        if (
            self._read_now is None
        ):  # not every record has one; without it a detector that hangs is not noticed early
            self._read_now = type(self.erase_start)(f"{self.prefix}Read", name=f"{self.name}_read_now")
        self._check_calibration()
        presets = (
            self.preset_live_time,
            self.preset_real_time,
            self.preset_counts,
            self.preset_low,
            self.preset_high,
        )
        self._restore = {signal: signal.get() for signal in presets}
        self._rules_before = (self.classifier, self.stop_rule, self.abundances)
        for signal, value in self._restore.items():
            self._kept.keep(signal, value)
        if self.stop_rule is not None:
            self._look_at_all_channels()
        if self.beam is not None:
            self.beam.connect(self.connection_timeout_s)
            self.beam.guard.acquire(self.name)
            self.beam.watch()
            self._watch.start(self._dose(), float(self.beam.current.get()))
        judge(self.classifier, np.zeros(self._n_channels, np.int32))  # the first time may be slow
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"{self.name}-classify", daemon=True)
            self._thread.start()
        self._monitors.start()
        return list(super().stage())

    def _check_calibration(self) -> None:
        self._n_channels = int(self.channels.get())
        if self.energy_quadratic.get() != 0:
            raise InstrumentError(
                f"{self.name}: the energy calibration has a quadratic term, which is not supported"
            )
        check_classifier(
            self.name, self._n_channels, float(self.energy_offset.get()), float(self.energy_width.get()),
            self.classifier,
        )  # fmt: skip

    def _look_at_all_channels(self) -> None:
        """Let the preset number of counts, which a stop rule changes from look to look, be of all channels."""
        self._kept.forget(self.preset_counts)
        for signal, value in ((self.preset_low, 0), (self.preset_high, self._n_channels - 1)):
            self._kept.keep(signal, value)
            signal.put(value)

    def unstage(self) -> list[Any]:
        """Stop acquiring if it still does; put presets, classifier and stop rule back."""
        self._abandon()
        self._monitors.stop()
        self._kept.forget()
        if self.beam is not None:
            self.beam.guard.release(self.name)
        if self._rules_before is not None:
            self.classifier, self.stop_rule, self.abundances = self._rules_before
            self._rules_before = None
        for signal, value in self._restore.items():
            put_if_there(signal, value)
        self._restore = {}
        return list(super().unstage())

    def configure(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Set any of what `PRESETS` names; see `protocols.Detector.configure`. A preset of 0: no limit."""
        signals = {
            "live_time": self.preset_live_time, "real_time": self.preset_real_time, "counts": self.preset_counts,
        }  # fmt: skip
        check_presets(self.name, values)
        connect(self, self.connection_timeout_s)  # configured before it was ever staged, in a script say
        before = self.read_configuration()
        if "classifier" in values:
            if self._n_channels:  # staged already, so what was checked then is checked again
                check_classifier(
                    self.name, self._n_channels, float(self.energy_offset.get()), float(self.energy_width.get()),
                    values["classifier"],
                )  # fmt: skip
            self.classifier = values["classifier"]
        self.stop_rule = values.get("stop_rule", self.stop_rule)
        self.abundances = bool(values.get("abundances", self.abundances))
        if self.stop_rule is not None:
            self._kept.forget(self.preset_counts)  # it changes from look to look
        low, high = values.get("window", (0, int(self.channels.get()) - 1))
        wanted = {signal: values[key] for key, signal in signals.items() if key in values}
        if "window" in values or values.get("counts") or values.get("stop_rule") is not None:
            wanted.update({self.preset_low: int(low), self.preset_high: int(high)})
        for signal, value in wanted.items():
            if self._rules_before is not None and not (
                signal is self.preset_counts and self.stop_rule is not None
            ):
                self._kept.keep(signal, value)
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
        """Acquire until a preset is reached, then classify; a beam that is blanked is lit for it.

        Raises
        ------
        InstrumentError
            If the detector is not staged.
        """
        if self._thread is None:
            raise InstrumentError(
                f"{self.name}: not staged; a plan stages it, as `count([{self.name}])` does"
            )
        self._abandon()
        status = self._pending = QuickStatus()
        self._progress = None
        if (
            self._abandoned or self._kept.uncertain
        ):  # the worker may still be at it, and its charge must not count for this one
            self._jobs.put((self._restart, status))
        else:
            self._start(status)
        return status

    def _start(self, status: QuickStatus) -> None:
        if self.beam is None or self.beam.blanker.lit:
            self._acquire(status)
            return
        self._lights = True

        def lit(of: QuickStatus) -> None:
            error = of.exception()
            if error is not None:
                status.set_exception(error)
            elif not status.done:  # otherwise it was abandoned meanwhile
                self._acquire(status)

        self.beam.blanker.set(False).add_callback(lit)
        if status.done:  # abandoned by another thread, which may have blanked before this one lit
            self._lights = False
            self.beam.stop()

    def _blank_again(self) -> QuickStatus:
        """Blank the beam if it was lit here."""
        lights, self._lights = self._lights, False
        if not lights or self.beam is None:
            return QuickStatus(done=True)
        blanked: QuickStatus = self.beam.blanker.set(True)
        return blanked

    def _acquire(self, status: QuickStatus) -> None:
        if self.stop_rule is not None:
            self.stop_rule.reset()
            self._preset = self.stop_rule.next_counts()
            self.preset_counts.put(self._preset)
        if self.beam is not None:  # beside the start
            self._jobs.put((self._read_open, status))
        put(self.erase_start, 1, status, lambda: self._jobs.put((self._finish, status)))

    def _abandon(self) -> None:
        """Stop what is being acquired: its status ends well, as nobody waits for it any more."""
        pending, self._pending = self._pending, None
        if pending is not None and not pending.done:
            self._abandoned = True
            pending.set_finished()
            put_if_there(self.stop_acquiring, 1)
        if self._lights and self.beam is not None:
            self._lights = False
            self.beam.stop()

    def _work(self) -> None:
        while True:
            try:
                job, status = self._jobs.get(timeout=CHECK_S)
            except queue.Empty:
                job, status = self._check_progress, self._pending or QuickStatus(done=True)
            if status is self._pending and not status.done:
                try:
                    job(status)
                except Exception as error:
                    self._fail(status, error)

    def _fail(self, status: QuickStatus, error: Exception) -> None:
        """End an acquisition that went wrong, with the beam blanked if it was lit here."""
        self._abandoned = True
        if self._lights and self.beam is not None:
            self._lights = False
            self.beam.stop()
        text = str(error) or type(error).__name__
        status.set_exception(
            InstrumentError(text if text.startswith(f"{self.name}: ") else f"{self.name}: {text}")
        )

    def _dose(self) -> float:
        """Total dose, nC; notes how long the beam had been lit by then."""
        assert self.beam is not None
        dose = float(self.beam.dose.get())
        self._lit_s = self.beam.blanker.lit_s
        return dose

    def _read_open(self, status: QuickStatus) -> None:
        """Note since when the beam is lit, which the blanker's monitor is compared with."""
        if self.beam is None or not self.beam.blanker.lit:
            return
        try:
            lit = self.beam.blanker.read_open()
        except Exception as error:
            if not is_away(error):
                raise
            return  # the end of the acquisition will not come either, or finds the beam blanked
        if not lit and not status.done:
            self.stop_acquiring.put(1)
            raise InstrumentError(BLANKED)

    def _check_blanker(self) -> None:
        """Stop and refuse an acquisition as soon as it is known that the beam was blanked in it."""
        if self.beam is not None and self.beam.blanker.interrupted:
            self.stop_acquiring.put(1)
            raise InstrumentError(BLANKED)

    def _check_beam(self, real_s: float) -> None:
        """Refuse an acquisition of `real_s` seconds during which the beam was blanked, or charge is missing."""
        if self.beam is None:
            return
        if self.beam.blanker.was_interrupted():
            raise InstrumentError(BLANKED)
        before = self._lit_s
        dose = self._dose()
        self._watch.check(dose, real_s, idle_s=self._lit_s - before - real_s)

    def _check_progress(self, status: QuickStatus) -> None:
        """Fail an acquisition whose clock stands still: a detector that hangs must not keep the beam on a pixel."""
        if self._read_now is None or not self._read_now.connected:
            return
        brought = threading.Event()
        self._read_now.put(1, use_complete=True, callback=lambda **_: brought.set())
        if not brought.wait(CHECK_S):
            return
        self._check_blanker()
        elapsed, now = float(self.real_time.get()), time.monotonic()
        if self._progress is None or elapsed != self._progress[0]:
            self._progress = (elapsed, now)
        elif now - self._progress[1] > STALL_S and not status.done:
            self.stop_acquiring.put(1)
            raise InstrumentError(f"it hangs: its clock has stood at {elapsed:.4g} s for {STALL_S:g} s")

    def _restart(self, status: QuickStatus) -> None:
        if self._kept.lost:
            self._check_calibration()
        if self._kept.uncertain:
            self._kept.restore(self.connection_timeout_s)
        if self.beam is not None:
            self._watch.begin(self._dose())
        self._abandoned = False
        self._start(status)

    def _finish(self, status: QuickStatus) -> None:
        counts = self._spectrum()
        live, real = float(self.live_time.get()), float(self.real_time.get())
        check_saturation(counts, live, real)
        before = time.perf_counter()
        if self.stop_rule is not None:
            judgement = look(self.stop_rule, counts, live, self._preset)
            if judgement is None:
                self._check_blanker()
                self._preset = int(counts.sum()) + self.stop_rule.next_counts()
                self.preset_counts.put(self._preset)
                put(self.start_on, 1, status, lambda: self._jobs.put((self._finish, status)))
                return
        else:
            judgement = judge(self.classifier, counts, live)
        log_likelihood = weigh(self.classifier, counts)
        mixture = parts(self.classifier, counts) if self.abundances else None
        self.classify_s = time.perf_counter() - before
        self._check_beam(real)
        if self._kept.uncertain and (changed := self._kept.differences()):
            raise InstrumentError(f"settings changed during the acquisition: {', '.join(changed)}")
        dead = 100.0 * (1.0 - live / real) if real > 0 else 0.0
        self.reading = EDSReading(
            counts, live, real, dead, judgement, log_likelihood=log_likelihood, mixture=mixture
        )
        self._blank_again().add_callback(lambda of: _follow(of, status))

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
            self.name, n_channels, f"PV:{self.prefix}", classified=self.classifier is not None,
            hypotheses=n_hypotheses(self.classifier),
            n_parts=n_parts(self.classifier, self.abundances),
        )  # fmt: skip

    def stop(self, *, success: bool = False) -> None:
        """Stop acquiring."""
        self._abandon()

    def pause(self) -> None:
        """Stop acquiring while the RunEngine is paused; the plan triggers again afterwards."""
        self._abandon()

    def resume(self) -> None:
        """Nothing: the plan triggers again."""


def _follow(first: QuickStatus, status: QuickStatus) -> None:
    """End `status` as `first` ended."""
    error = first.exception()
    if error is None:
        status.set_finished()
    else:
        status.set_exception(error)
