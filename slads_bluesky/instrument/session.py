"""What a person at the prompt, or a queue server's worker, has in hand: one instrument, ready to map."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..agent import SladsAgent
from ..discovering_agent import DiscoveringAgent
from ..modelstore import keep_models
from ..record import Recorder
from ..record.catalog.own_runs import own_runs
from ..record.location import without_secrets
from ..simulated import simulation_metadata
from .axes import beam_axes
from .engine import RecordedEngine
from .lease import FileLease
from .maps import MapMaker
from .parts import Devices, MapModels
from .prompt import end_process
from .records import Records
from .settings import InstrumentSettings
from .unknown import PhaseDesk, phase_names
from .watchers import subscribe_watchers

if TYPE_CHECKING:
    from .before import MapForecast, Preflight

__all__ = ["Session"]

logger = logging.getLogger(__name__)


class Session(MapMaker):
    """One instrument with its RunEngine, its record and its models; made by `open_session`.

    Parameters
    ----------
    settings : InstrumentSettings
    devices : Devices
    models : MapModels
    recorder : Recorder
    catalog : databroker client
        Of the same record.
    microscope : SimulatedMicroscope, optional
        Stopped when the session is closed.
    on_problem : callable, optional
        Called with a sentence for each problem of a publisher, from another thread, and for unexpected spectra.
    """

    def __init__(
        self,
        settings: InstrumentSettings,
        devices: Devices,
        models: MapModels,
        recorder: Recorder,
        catalog: Any,
        microscope: Any = None,
        on_problem: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(settings, devices, models)
        self.recorder = recorder
        self.db = own_runs(catalog, recorder.uids)
        self.eds.configure(
            {
                "classifier": models.classifier,
                "stop_rule": self._stop_rule(settings.dose.error, settings.dose.dwell_s),
                **({"abundances": True} if self.reads_mixtures else {}),
            }
        )
        self.x, self.y = beam_axes(devices.beam)
        self.RE: Any = RecordedEngine(recorder, marks=self._marks())
        self._open = ExitStack()
        self._guard_the_beam()
        self.agent: SladsAgent | None = None
        """The one that was made last; the progress bar asks it."""
        self.phases = PhaseDesk(lambda: self.agent, recorder.directory)
        """What an operator can do with the phases of the map that runs, where they are found on the way."""
        self._microscope = microscope
        self._on_problem = on_problem
        self.bec, self.live = subscribe_watchers(
            self.RE, settings, lambda: self.models, self._estimate, on_problem
        )
        self.records = Records(recorder.directory, models, self.bec, recorder.uids)

    def _guard_the_beam(self) -> None:
        """Blank on signals; let one process at a time use the instrument."""
        engine, beam = self.RE, self.beam
        engine.beams.append(beam)
        engine.on_ending = end_process
        if threading.current_thread() is threading.main_thread():
            self._open.enter_context(engine.ended_by_signals())
        guard = getattr(beam, "guard", None)
        if guard is None or not guard.look():
            engine.lease = FileLease(self.recorder.directory, getattr(beam, "prefix", self.settings.mode))

    def _marks(self) -> dict[str, Any]:
        """What every run of the session bears: whether, and which, specimen is simulated."""
        if self.settings.mode == "hardware":
            return {}
        return simulation_metadata(self.settings.simulation.object, self.settings.simulation.seed)

    def _estimate(self) -> float:
        return float("nan") if self.agent is None else self.agent.distortion_estimate()

    def make_agent(
        self,
        fraction: float | None = None,
        *,
        shape: Sequence[int] | None = None,
        step_um: float | Sequence[float] | None = None,
        centre_um: Sequence[float] | None = None,
        roi: NDArray[np.bool_] | None = None,
        seed: int | None = None,
        initial: float | None = None,
        stop_at: float | None = None,
        confidence: float | None = None,
        smallest_feature: int | None = None,
        minimise: str | None = None,
        phases: str = "auto",
        every_phase_over: float | None = None,
    ) -> SladsAgent:
        """Make an agent for one map; what is not given is as in ``instrument.yml``.

        Parameters
        ----------
        fraction : float, optional
            Part of the pixels to measure, above 0 and at most 1.
        shape : (int, int), optional
            Rows and columns.
        step_um, centre_um : optional
            Distance between pixels, and the middle of the grid, (y, x) in µm.
        roi : (rows, columns) bool array, optional
            Only pixels that are True are mapped.
        seed : int, optional
            Of the initial mask.
        initial : float, optional
            Part of the pixels in the initial mask.
        stop_at : float, optional
            Estimated total distortion at which the map may end earlier.
        confidence : float, optional
            Probability with which the distortion must not be above `stop_at` for that.
        smallest_feature : int, optional
            Pixels of the smallest patch of which 99 % must hold a measured pixel.
        minimise : {"dose", "time", "both"}, optional
            What the sampler ``joint`` sets the fall of the error against.
        phases : {"auto", "known", "discover"}
            Whether the phases are those of the classifier or found on the way.
        every_phase_over : float, optional
            Part of the area: a map whose phases are found may end once every phase over it is found with 95 %.

        Raises
        ------
        ConfigError
            If there is no classifier and the phases are to be known, or a value is not what it may be.
        """
        self.match_energy_scale()
        self.agent = self.new_agent(
            fraction,
            shape=shape,
            step_um=step_um,
            centre_um=centre_um,
            roi=roi,
            seed=seed,
            initial=initial,
            stop_at=stop_at,
            confidence=confidence,
            smallest_feature=smallest_feature,
            minimise=minimise,
            phases=phases,
            every_phase_over=every_phase_over,
        )
        known = None if isinstance(self.agent, DiscoveringAgent) else self.models.classifier
        keep_models(self.recorder.directory / "models", self.models.sampler, known)
        return self.agent

    def match_energy_scale(self) -> None:
        """Move the classifier to the scale of a detector that was calibrated again; `make_agent` does it."""
        from .energy_scale import match_energy_scale

        models = match_energy_scale(self.eds, self.models, self._on_problem or logger.warning)
        if models is not self.models:
            usual, self.models = self.settings.dose, models
            rule = self._stop_rule(usual.error, usual.dwell_s)
            self.eds.configure({"classifier": models.classifier, "stop_rule": rule})
            self.records = Records(self.recorder.directory, models, self.bec)

    def estimate(self, **arguments: Any) -> MapForecast:
        """Check a map, and forecast its time and dose; arguments as `map_sample`, see `forecast_map`."""
        from .before import forecast_map

        return forecast_map(self, **arguments)

    def check_map(self, **arguments: Any) -> dict[str, Any]:
        """As `estimate`, in plain values: for a client of the queue server, before it queues a map."""
        return self.estimate(**arguments).to_json()

    def doctor(self, timeout_s: float = 5.0) -> Preflight:
        """Run the pre-flight check on the session's own devices, record and publishers."""
        from .before import preflight

        return preflight(self, timeout_s)

    def check_instrument(self) -> list[dict[str, Any]]:
        """As `doctor`, in plain values: for a client of the queue server."""
        return [result.to_json() for result in self.doctor()]

    def resumed_agent(self, run: str | int) -> tuple[SladsAgent, dict[str, Any], dict[str, Any]]:
        """Make the agent of an interrupted map; see `Records.resumed_agent`."""
        self.match_energy_scale()
        agent, metadata, dose = self.records.resumed_agent(run)
        if isinstance(agent, DiscoveringAgent):
            agent.namer = phase_names(self.eds, self.sem)
        self.agent = agent
        return agent, metadata, dose

    def about(self) -> Mapping[str, str]:
        """What this session is, a line a part."""
        settings, grid = self.settings, self.grid
        simulated = "" if settings.mode == "hardware" else f", simulating {settings.simulation.object}"
        classifier = self.models.classifier
        return {
            "instrument": f"{settings.mode}{simulated}",
            "devices": ", ".join(
                f"{name} ({getattr(device, 'prefix', '') or 'in this process'})"
                for name, device in vars(self.devices).items()
                if device is not None
            ),
            "grid": f"{grid.shape[0]} × {grid.shape[1]} pixels of {grid.step_um[0]:g} × {grid.step_um[1]:g} µm",
            "sampler": f"{settings.sampler.name}, {settings.sampler.fraction:.3g} of the pixels",
            "classifier": "none: maps find their phases (phases: discover)"
            if self.discovers()
            else ", ".join(
                classifier.phases if classifier is not None else ("none yet: collect_spectra first",)
            ),
            "record": without_secrets(settings.catalog.uri or str(self.recorder.directory)),
        }

    def leave(self) -> None:
        """At the end of the process: as `close`, but nothing is waited for that is done already."""
        self._open.close()
        if not self.recorder.up_to_date:
            self.recorder.close()
        if self._microscope is not None:
            self._microscope.stop()

    def close(self) -> None:
        """Bring the catalog up to date and stop what the session started; twice does no harm."""
        self._open.close()
        self.recorder.close()
        if self._microscope is not None:
            self._microscope.stop()
