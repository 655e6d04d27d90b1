"""A vendor's spot jobs as an EDS detector: how an interface in Python is wrapped into the device that plans drive.

``python examples/vendor_interface.py`` maps a simulated specimen through a stand-in for such an interface.

Some microscopes come with a Python interface instead of EPICS: the Phenom's, for one, takes a spot analysis as a
job with a position, a longest time and a largest number of counts, and says when the job is done. A `SpotJobs` is
what such an interface must be able to do; `SpotJobBeam` and `SpotJobEDS` make of it the devices that
`adaptive_map` and every other plan for EDS and beam know, with the same data keys as over EPICS.

The interface blanks the beam between jobs by itself, so the beam is lit only while a job runs: the blanker here
notes what a plan asks for, and the detector refuses to acquire while it is blanked.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from slads_bluesky.devices.reading import (
    BEAM_FIELDS,
    EDSReading,
    check_classifier,
    check_presets,
    data_key,
    describe_eds,
    judge,
    n_hypotheses,
    weigh,
)
from slads_bluesky.devices.status import QuickStatus
from slads_bluesky.errors import InstrumentError
from slads_bluesky.protocols import Classifier

__all__ = ["SpotJobBeam", "SpotJobEDS", "SpotJobs", "SpotResult", "main"]

PRESETS = ("live_time", "counts", "classifier")
"""What a spot job can be set to; no adaptive dwell, as a job cannot be continued."""


@dataclass(frozen=True)
class SpotResult:
    """What a spot job gave."""

    counts: NDArray[np.int32]
    """(n_channels,) counts."""
    live_time_s: float
    real_time_s: float


class SpotJobs(Protocol):
    """What a vendor's interface must be able to do; each method blocks until it is done."""

    @property
    def n_channels(self) -> int:
        """Channels of a spectrum."""

    @property
    def energy_kev(self) -> tuple[float, float]:
        """Energy of channel 0 and width of a channel, keV."""

    @property
    def current_na(self) -> float:
        """Beam current, nA."""

    @property
    def field_um(self) -> tuple[float, float]:
        """Width and height of the field around (0, 0), µm."""

    def run(self, x_um: float, y_um: float, max_time_s: float, max_counts: int) -> SpotResult:
        """Acquire at a position until a limit is reached; 0 is no limit."""

    def cancel(self) -> None:
        """End a running job; called from another thread."""


class _Blanker:
    parent = None

    def __init__(self, name: str) -> None:
        self.name = name
        self.blanked = True

    def set(self, blanked: bool) -> QuickStatus:
        self.blanked = bool(blanked)
        return QuickStatus(done=True)

    def get(self) -> bool:
        return self.blanked


class SpotJobBeam:
    """Where the next job is to be, and the dose so far."""

    parent = None

    def __init__(self, jobs: SpotJobs, name: str = "beam") -> None:
        self.name = name
        self.jobs = jobs
        self.blanker = _Blanker(f"{name}_blanker")
        self.position = (0.0, 0.0)
        self.pixel_dose_nc = 0.0
        self.dose_nc = 0.0

    @property
    def hints(self) -> dict[str, Any]:
        """Fields for tables and plots."""
        return {"fields": [f"{self.name}_x", f"{self.name}_y"]}

    def check_value(self, position: tuple[float, float]) -> None:
        """Raise InstrumentError for a position outside the field."""
        for axis, value, width in zip("xy", position, self.jobs.field_um, strict=True):
            if abs(value) > width / 2:
                raise InstrumentError(
                    f"{self.name}: {axis} = {value} µm lies outside the field, {-width / 2} to {width / 2} µm"
                )

    def set(self, position: tuple[float, float]) -> QuickStatus:
        """Blank, and take (x, y) µm for the next job."""
        self.check_value(position)
        self.blanker.blanked = True
        if tuple(position) != self.position:
            self.position = (float(position[0]), float(position[1]))
            self.pixel_dose_nc = 0.0
        return QuickStatus(done=True)

    def charge(self, real_time_s: float) -> None:
        """Count the dose of a job."""
        self.pixel_dose_nc += self.jobs.current_na * real_time_s
        self.dose_nc += self.jobs.current_na * real_time_s

    def read(self) -> dict[str, Any]:
        """Position, dose of this pixel, total dose."""
        values, now = (*self.position, self.pixel_dose_nc, self.dose_nc), time.time()
        keys = (f"{self.name}_{key}" for key in BEAM_FIELDS)
        return {key: {"value": value, "timestamp": now} for key, value in zip(keys, values, strict=True)}

    def describe(self) -> dict[str, Any]:
        """Describe the values of `read`."""
        return {
            f"{self.name}_{key}": data_key(
                f"PY:{self.name}.{key}", "number", "<f8", units=units, precision=precision
            )
            for key, (units, precision) in BEAM_FIELDS.items()
        }

    def stop(self, success: bool = True) -> None:
        """Blank."""
        self.blanker.blanked = True

    def pause(self) -> None:
        """Blank while the RunEngine is paused."""
        self.blanker.blanked = True

    def resume(self) -> None:
        """Nothing: the plan unblanks when it acquires again."""


class SpotJobEDS:
    """An EDS detector whose acquisitions are spot jobs where the beam is to be.

    Parameters
    ----------
    jobs : SpotJobs
    beam : SpotJobBeam
        Says where.
    classifier : Classifier, optional
        Without one, readings have no label.
    name : str
    """

    parent = None

    def __init__(
        self, jobs: SpotJobs, beam: SpotJobBeam, classifier: Classifier | None = None, name: str = "eds"
    ) -> None:
        self.name = name
        self.jobs, self.beam, self.classifier = jobs, beam, classifier
        self.max_time_s, self.max_counts = 10.0, 0
        self.reading: EDSReading | None = None
        self._before: tuple[float, int, Classifier | None] | None = None
        self._running: tuple[QuickStatus, threading.Thread] | None = None

    @property
    def hints(self) -> dict[str, Any]:
        """Fields for tables and plots."""
        return {"fields": [f"{self.name}_counts"]}

    def configure(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Set ``live_time`` (taken as the job's longest time, s), ``counts`` (0: no limit) and ``classifier``."""
        check_presets(
            self.name, {key: value for key, value in values.items() if key in PRESETS or value}, PRESETS
        )
        before = self.read_configuration()
        self.max_time_s = float(values.get("live_time", self.max_time_s))
        self.max_counts = int(values.get("counts", self.max_counts))
        self.classifier = values.get("classifier", self.classifier)
        return before, self.read_configuration()

    def read_configuration(self) -> dict[str, Any]:
        """Limits of a job."""
        values, now = {"max_time": self.max_time_s, "max_counts": self.max_counts}, time.time()
        return {f"{self.name}_{key}": {"value": value, "timestamp": now} for key, value in values.items()}

    def describe_configuration(self) -> dict[str, Any]:
        """Describe the values of `read_configuration`."""
        return {
            f"{self.name}_max_time": data_key(f"PY:{self.name}.max_time", "number", "<f8", units="s"),
            f"{self.name}_max_counts": data_key(
                f"PY:{self.name}.max_counts", "integer", "<i8", units="counts"
            ),
        }

    def stage(self) -> list[Any]:
        """Refuse what does not fit the classifier."""
        offset, width = self.jobs.energy_kev
        check_classifier(self.name, self.jobs.n_channels, offset, width, self.classifier)
        self._before = (self.max_time_s, self.max_counts, self.classifier)
        return [self]

    def unstage(self) -> list[Any]:
        """End a job that still runs; put limits and classifier back."""
        self.stop()
        if self._before is not None:
            (self.max_time_s, self.max_counts, self.classifier), self._before = self._before, None
        return [self]

    def trigger(self) -> QuickStatus:
        """Run a job in a thread of its own, then classify."""
        self.stop()
        status = QuickStatus()
        if self.beam.blanker.blanked:
            status.set_exception(InstrumentError(f"{self.name}: the beam is blanked"))
            return status
        thread = threading.Thread(target=self._run, args=(status,), name=f"{self.name}-job", daemon=True)
        self._running = (status, thread)
        thread.start()
        return status

    def _run(self, status: QuickStatus) -> None:
        try:
            result = self.jobs.run(*self.beam.position, self.max_time_s, self.max_counts)
            self.beam.charge(result.real_time_s)
            if status.done:  # abandoned in the meantime
                return
            counts = np.asarray(result.counts)
            if counts.shape != (self.jobs.n_channels,):
                raise InstrumentError(
                    f"a spectrum of {counts.size} channels instead of {self.jobs.n_channels}"
                )
            dead = 100.0 * (1.0 - result.live_time_s / result.real_time_s) if result.real_time_s > 0 else 0.0
            counts = counts.astype(np.int32)
            self.reading = EDSReading(
                counts,
                result.live_time_s,
                result.real_time_s,
                dead,
                judge(self.classifier, counts, result.live_time_s),
                log_likelihood=weigh(self.classifier, counts),
            )
            status.set_finished()
        except Exception as error:
            status.set_exception(InstrumentError(f"{self.name}: {error}"))

    def stop(self, success: bool = True) -> None:
        """Cancel a running job, and wait for its end; its status ends well, as nobody waits for it any more."""
        running, self._running = self._running, None
        if running is not None:
            status, thread = running
            if not status.done:
                status.set_finished()
                self.jobs.cancel()
            thread.join()

    def pause(self) -> None:
        """Cancel the job while the RunEngine is paused; it is run again after the pause."""
        self.stop()

    def resume(self) -> None:
        """Nothing: the plan triggers again."""

    def read(self) -> dict[str, Any]:
        """Return the last spectrum; InstrumentError before the first."""
        if self.reading is None:
            raise InstrumentError(f"{self.name}: nothing was acquired yet")
        return self.reading.as_reading(self.name)

    def describe(self) -> dict[str, Any]:
        """Describe the values of `read`."""
        return describe_eds(
            self.name,
            self.jobs.n_channels,
            f"PY:{self.name}",
            classified=self.classifier is not None,
            hypotheses=n_hypotheses(self.classifier),
        )


class StandIn:
    """Stands in for a vendor's interface, over a simulated specimen with pixels 1 µm apart around (0, 0)."""

    current_na = 1.0

    def __init__(self, name: str = "pbsn-64") -> None:
        from slads_bluesky.grid import ScanGrid
        from slads_bluesky.phantom import make_object

        self.specimen = make_object(name)
        self.grid = ScanGrid(self.specimen.shape)
        axis = self.specimen.axis
        self.n_channels, self.energy_kev = axis.n_channels, (axis.offset_kev, axis.width_kev)
        self.field_um = (float(self.specimen.shape[1]), float(self.specimen.shape[0]))

    def run(self, x_um: float, y_um: float, max_time_s: float, max_counts: int) -> SpotResult:
        """Acquire at a position; time only, as this stand-in counts nothing while it acquires."""
        growing = self.specimen.acquisition(self.grid.pixel(x_um, y_um))
        return SpotResult(growing.counts_at(max_time_s), max_time_s, 1.4 * max_time_s)

    def cancel(self) -> None:
        """Nothing: a job here is over at once."""


def main() -> None:
    """Map a simulated specimen through the stand-in."""
    from slads_bluesky.plans.adaptive import adaptive_map
    from slads_bluesky.plans.engine import BeamSafeEngine
    from slads_bluesky.simulation.models import prepare_models
    from slads_bluesky.simulation.run import make_agent

    jobs = StandIn()
    models = prepare_models("pbsn-64", sampler="learned", classifier="likelihood")
    beam = SpotJobBeam(jobs)
    eds = SpotJobEDS(jobs, beam, models.classifier)
    agent = make_agent(jobs.specimen, models, fraction=0.1)
    engine = BeamSafeEngine({})
    engine.beams.append(beam)
    engine(adaptive_map(beam, eds, agent, dwell_s=1.0))
    right = (agent.sampler.reconstruct() == jobs.specimen.truth).mean()
    print(f"{agent.n_measured} of {agent.grid.n_pixels} pixels by spot jobs, {right:.1%} of the map right")


if __name__ == "__main__":
    main()
