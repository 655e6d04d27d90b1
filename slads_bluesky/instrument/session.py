"""What a person at the prompt, or a queue server's worker, has in hand: one instrument, ready to map."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from ..agent import SladsAgent
from ..agent_settings import LIST_OVERHEAD_S, POINT_OVERHEAD_S, AgentSettings
from ..agents import agent_from_settings, element_target
from ..callbacks.headless import is_headless
from ..discovering_agent import DiscoveringAgent
from ..errors import ConfigError
from ..grid import ScanGrid
from ..modelstore import keep_models
from ..protocols import StopRule
from ..record import Recorder
from ..record.catalog.own_runs import own_runs
from ..record.location import without_secrets
from ..simulated import simulation_metadata
from ..spectra.dwell_counts import CountTarget
from .axes import beam_axes
from .engine import RecordedEngine
from .lease import FileLease
from .parts import Devices, MapModels
from .prompt import end_process
from .records import Records
from .settings import InstrumentSettings
from .unknown import PhaseDesk, discovering_agent, phase_names

if TYPE_CHECKING:
    from .before import MapForecast, Preflight

__all__ = ["Session"]

logger = logging.getLogger(__name__)


class Session:
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
        self.settings = settings
        self.devices = devices
        self.models = models
        self.recorder = recorder
        self.db = own_runs(catalog, recorder.uids)
        self.beam, self.eds, self.sem = devices.beam, devices.eds, devices.sem
        self.flyer = devices.flyer
        self.bse = devices.bse
        self.eds.configure(
            {
                "classifier": models.classifier,
                "stop_rule": self._stop_rule(settings.dose.error, settings.dose.dwell_s),
            }
        )
        self.x, self.y = beam_axes(devices.beam)
        self.RE: Any = RecordedEngine(recorder, marks=self._marks())
        self._open = ExitStack()
        self._guard_the_beam()
        self.agent: SladsAgent | None = None
        """The one that was made last; the progress bar asks it."""
        self.live: Any = None
        """The window that shows a map as it grows; None without a display."""
        self.phases = PhaseDesk(lambda: self.agent, recorder.directory)
        """What an operator can do with the phases of the map that runs, where they are found on the way."""
        self._microscope = microscope
        self._on_problem = on_problem
        self.bec = self._watchers()
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

    def _watchers(self) -> Any:
        """Subscribe what shows a run: nothing but numbers in a headless worker."""
        from bluesky.callbacks.best_effort import BestEffortCallback

        for where in self.settings.publishers:
            from ..callbacks.publish import make_publisher

            self.RE.subscribe(make_publisher(where, on_problem=self._on_problem))
        if self._on_problem is not None:
            from ..callbacks.energy_scale_watch import EnergyScaleWatch
            from ..callbacks.verdict_watch import VerdictWatch

            self.RE.subscribe(VerdictWatch(self._on_problem))
            self.RE.subscribe(EnergyScaleWatch(lambda: cast(Any, self.models.classifier), self._on_problem))
        bec = BestEffortCallback()
        bec.disable_plots()
        if not self.settings.display.table:
            bec.disable_table()
        if is_headless():
            return bec
        self.RE.subscribe(bec)
        if self.settings.display.progress:
            from ..callbacks.progress import MapProgress

            bar = MapProgress(self._estimate)
            self.RE.subscribe(bar)
            self.RE.displays.append(bar)
        if self.settings.display.live:
            from ..callbacks.live import live_view
            from ..callbacks.live.templates import phase_templates

            classifier = self.models.classifier
            templates = None if classifier is None else phase_templates(classifier)
            self.live = live_view(
                estimate=self._estimate, templates=templates, elements=self.settings.display.elements
            )
            if self.live is not None:
                self.RE.subscribe(self.live)
        return bec

    def _estimate(self) -> float:
        return float("nan") if self.agent is None else self.agent.distortion_estimate()

    @property
    def grid(self) -> ScanGrid:
        """The grid of ``instrument.yml``."""
        return self.settings.grid.grid()

    @property
    def defaults(self) -> dict[str, Any]:
        """Fraction, seed, dwell and error of ``instrument.yml``."""
        sampler = self.settings.sampler
        dose = self.settings.dose
        return {
            "fraction": sampler.fraction, "seed": sampler.seed, "dwell_s": dose.dwell_s, "error": dose.error,
            "phases": "discover" if self.discovers("auto") else "known",
        }  # fmt: skip

    def discovers(self, phases: str = "auto") -> bool:
        """Whether a map finds its phases on the way: ``known``, ``discover``, or as ``instrument.yml`` says."""
        if phases not in ("auto", "known", "discover"):
            raise ConfigError(f"phases must be known, discover or auto, not '{phases}'")
        wanted = self.settings.classifier.phases if phases == "auto" else phases
        return wanted == "discover" or (wanted == "auto" and self.models.classifier is None)

    def make_grid(
        self,
        *,
        shape: Sequence[int] | None = None,
        step_um: float | Sequence[float] | None = None,
        centre_um: Sequence[float] | None = None,
        roi: NDArray[np.bool_] | None = None,
    ) -> ScanGrid:
        """Make a grid; what is not given is that of ``instrument.yml``. (y, x) throughout, µm."""
        usual = self.grid
        step = usual.step_um if step_um is None else np.broadcast_to(step_um, 2)
        rows, columns = usual.shape if shape is None else shape
        y, x = usual.centre_um if centre_um is None else centre_um
        return ScanGrid(
            (int(rows), int(columns)), (float(step[0]), float(step[1])), (float(y), float(x)), roi
        )

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

    def new_agent(
        self,
        fraction: float | None = None,
        *,
        seed: int | None = None,
        initial: float | None = None,
        stop_at: float | None = None,
        confidence: float | None = None,
        smallest_feature: int | None = None,
        minimise: str | None = None,
        phases: str = "auto",
        every_phase_over: float | None = None,
        **region: Any,
    ) -> SladsAgent:
        """Make an agent as `make_agent` does, and keep nothing for it: neither models nor the agent itself."""
        classifier, usual, judge = self.models.classifier, self.settings.sampler, self.settings.classifier
        grid, model = self.make_grid(**region), self.models.sampler
        wanted: dict[str, Any] = {
            "sampler": usual.name,
            "fraction": usual.fraction if fraction is None else fraction,
            "seed": usual.seed if seed is None else seed,
            "initial": usual.initial if initial is None else initial,
            "stop_at": usual.stop_at if stop_at is None else stop_at,
            "confidence": usual.confidence if confidence is None else confidence,
            "smallest_feature": usual.smallest_feature if smallest_feature is None else smallest_feature,
        }
        if self.discovers(phases):
            part = judge.every_phase_over if every_phase_over is None else every_phase_over
            counts = None
            if judge.counts is not None:
                counts = (judge.first_counts or 4 * judge.counts, judge.counts)
            return discovering_agent(
                grid, self.eds, self.sem, model, most=judge.most_phases, part=part, counts=counts, **wanted
            )
        if classifier is None:
            raise ConfigError(
                "no classifier yet, so no map of known phases: let them be found (phases: discover), or take spectra "
                "with collect_spectra, train one with `slads-bluesky train classifier`, and name it as "
                "classifier.file in instrument.yml"
            )
        settings = AgentSettings.for_models(
            grid,
            classifier,
            model,
            more=element_target(usual.elements, classifier),
            **wanted,
            **self._cost(minimise),
        )
        return agent_from_settings(settings, model)

    def _cost(self, minimise: str | None) -> dict[str, Any]:
        """What the sampler ``joint`` minimises, and what a visit costs besides its dwell; nothing for others."""
        usual = self.settings.sampler
        wanted = usual.minimise if minimise is None else minimise
        if usual.name != "joint" or wanted is None:
            return {} if wanted is None else {"minimise": wanted}  # refused where the sampler is another
        pace = POINT_OVERHEAD_S if self.flyer is None else LIST_OVERHEAD_S
        return {"minimise": wanted, "overhead_s": pace if usual.overhead_s is None else usual.overhead_s}

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

    @property
    def acquisition(self) -> dict[str, Any]:
        """More arguments of `adaptive_map`: the flyer and its batch with ``acquisition: list``, else none."""
        if self.flyer is None:
            return {}
        lists = self.settings.lists
        return {"flyer": self.flyer, "batch": lists.batch, "quantum_s": lists.quantum_s}

    def map_image(
        self, image: str, *, shape: Sequence[int], step_um: float, pixel_um: float | None = None
    ) -> Any:
        """Return what `adaptive_map` takes as its image.

        Parameters
        ----------
        image : str
            Empty for none; ``bse`` to scan a frame; else the file of a frame that there is already.
        shape : (int, int)
            Rows and columns of the map.
        step_um : float
            Distance between its pixels.
        pixel_um : float, optional
            Of the frame in the file; by default it shows the field of the map, no more and no less.

        Raises
        ------
        ConfigError
            If there is no backscatter detector.
        DataError
            Naming the file, if it is no frame.
        """
        from ..images.frames import fit_frame, read_frame
        from ..plans.frame import GivenFrame

        if not image:
            return None
        if image == "bse":
            if self.bse is None:
                raise ConfigError(
                    "image: there is no backscatter detector; devices.bse of instrument.yml names one"
                )
            return self.bse
        frame = read_frame(Path(image).expanduser())
        scale = None if pixel_um is None else (step_um / pixel_um, step_um / pixel_um)
        return GivenFrame(fit_frame(frame, (int(shape[0]), int(shape[1])), scale=scale), Path(image).name)

    def prepare_map(
        self,
        *,
        dwell_s: float | None = None,
        error: float | None = None,
        run_nc: float | None = None,
        pixel_nc: float | None = None,
        phases: str | None = None,
    ) -> dict[str, Any]:
        """Return keyword arguments for `adaptive_map`, its stop rule included; what is not given is as in the file.

        Parameters
        ----------
        dwell_s : float, optional
            Live time of each spectrum, s; with an `error`, at most.
        error : float, optional
            Accepted probability of a wrong phase, at which an acquisition ends; 0: the dwell is fixed.
        run_nc, pixel_nc : float, optional
            Dose that a run and a pixel may take, nC.
        phases : {"known", "discover"}, optional
            As of the agent: a map that finds its phases has none to be sure of, and `error` is not looked at.

        Raises
        ------
        ConfigError
            If the classifier gives no posterior to stop by.
        """
        from ..plans.budget import DoseBudget
        from ..plans.suspend import beam_suspenders

        usual = self.settings.dose
        discovers = self.discovers() if phases is None else self.discovers(phases)
        dwell = usual.dwell_s if dwell_s is None else dwell_s
        most = [
            next((limit for limit in limits if limit is not None), inf)
            for limits in ((run_nc, usual.run_nc), (pixel_nc, usual.pixel_nc))
        ]  # fmt: skip
        out: dict[str, Any] = {
            "baseline": [] if self.sem is None else [self.sem],
            "dwell_s": dwell,
            "stop_rule": self._rule_without_phases(dwell)
            if discovers
            else self._stop_rule(usual.error if error is None else error, dwell),
            "max_failed_points": usual.max_failed_points,
            "budget": DoseBudget(*most),
        }
        if usual.minimum_na is not None and hasattr(getattr(self.beam, "current", None), "subscribe"):
            out["suspenders"] = beam_suspenders(self.beam, minimum_na=usual.minimum_na)
        return out

    def _rule_without_phases(self, cap_s: float) -> StopRule | None:
        """Make what ends the acquisitions of a map that finds its phases; None: the dwell is fixed."""
        counts = self.settings.classifier.counts
        return None if counts is None else CountTarget(counts, cap_s)

    def _stop_rule(self, error: float, cap_s: float) -> StopRule | None:
        """Make what ends each acquisition as soon as its phase is certain enough; None, with no error allowed."""
        from ..spectra.dwell import adaptive_dwell

        return adaptive_dwell(self.models.classifier, error, cap_s)

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
