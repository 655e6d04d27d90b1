"""What a person at the prompt, or a queue server's worker, has in hand: one instrument, ready to map."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..agent import SladsAgent
from ..catalog import Recorder
from ..errors import ConfigError, RecordError
from ..grid import ScanGrid
from ..models import Models, keep_models
from .axes import beam_axes
from .engine import RecordedEngine
from .parts import Devices, MapModels
from .settings import InstrumentSettings

if TYPE_CHECKING:
    from ..catalog.verify import Verification
    from ..rundata import RunData

__all__ = ["Session", "is_headless"]


def is_headless() -> bool:
    """Whether nobody looks on: a queue server's worker."""
    return os.environ.get("_QSERVER_RE_WORKER_ACTIVE", "") not in ("", "0")


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
        Told of each trouble of a publisher in a sentence, from another thread.
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
        self.db = catalog
        self.beam, self.eds, self.sem = devices.beam, devices.eds, devices.sem
        self.eds.classifier = models.classifier
        self.x, self.y = beam_axes(devices.beam)
        self.RE: Any = RecordedEngine(recorder)
        self.agent: SladsAgent | None = None
        """The one that was made last; the progress bar asks it."""
        self._microscope = microscope
        self._on_problem = on_problem
        self.bec = self._watchers()

    def _watchers(self) -> Any:
        """Subscribe what shows a run: nothing but numbers in a headless worker."""
        from bluesky.callbacks.best_effort import BestEffortCallback

        for where in self.settings.publishers:
            from ..callbacks.publish import make_publisher

            self.RE.subscribe(make_publisher(where, on_problem=self._on_problem))
        bec = BestEffortCallback()
        bec.disable_plots()
        if not self.settings.display.table:
            bec.disable_table()
        if is_headless():
            return bec
        self.RE.subscribe(bec)
        if self.settings.display.progress:
            from ..callbacks.progress import MapProgress

            self.RE.subscribe(MapProgress(self._estimate))
        return bec

    def _estimate(self) -> float:
        return float("nan") if self.agent is None else self.agent.distortion_estimate()

    @property
    def grid(self) -> ScanGrid:
        """The grid of ``instrument.yml``."""
        return self.settings.grid.grid()

    @property
    def defaults(self) -> dict[str, Any]:
        """Fraction, seed and dwell of ``instrument.yml``."""
        sampler = self.settings.sampler
        return {"fraction": sampler.fraction, "seed": sampler.seed, "dwell_s": self.settings.dose.dwell_s}

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

        Raises
        ------
        ConfigError
            If there is no classifier yet, or a value is not what it may be.
        """
        classifier, usual = self.models.classifier, self.settings.sampler
        if classifier is None:
            raise ConfigError(
                "no classifier yet, so nothing can be mapped: take spectra with collect_spectra, train one with "
                "`slads-bluesky train classifier`, and name it as classifier.file in instrument.yml"
            )
        grid = self.make_grid(shape=shape, step_um=step_um, centre_um=centre_um, roi=roi)
        hashes = {"classifier": classifier.sha256}
        if self.models.sampler is not None:
            hashes["sampler"] = self.models.sampler.sha256
        self.agent = SladsAgent.from_configuration(
            {
                "grid": grid.to_json(),
                "n_labels": len(classifier.phases),
                "phases": list(classifier.phases),
                "fraction": usual.fraction if fraction is None else fraction,
                "seed": usual.seed if seed is None else seed,
                "sampler": {
                    "name": usual.name,
                    "initial": usual.initial if initial is None else initial,
                    "stop_at": usual.stop_at if stop_at is None else stop_at,
                },
                "model_hashes": hashes,
            },
            self.models.sampler,
        )
        if self.models.sampler is not None:
            keep_models(
                self.recorder.directory / "models", Models(usual.name, self.models.sampler, classifier)
            )
        return self.agent

    def resumed_agent(self, run: str | int) -> tuple[SladsAgent, dict[str, Any]]:
        """Make the agent of a map that was cut off, as it stood then.

        Parameters
        ----------
        run : str or int
            A uid or its beginning, a scan_id, or -1 for the latest run.

        Returns
        -------
        SladsAgent
            Knows all that was measured.
        dict
            Of the run that goes on: its sample and operator, which run it resumes, and the dwell that it had.

        Raises
        ------
        RecordError
            If there is no such run, it is being taken, is complete, or had another classifier than this session.
        """
        from ..catalog.journal import is_being_taken
        from ..rebuild import find_sampler_model, rebuild_agent

        chain, data = self._map(run)
        if is_being_taken(chain[-1].source):
            raise RecordError(f"run {data.uid[:8]} is still being taken by another process")
        start, classifier = data.start, self.models.classifier
        had = start.get("model_hashes", {}).get("classifier")
        if classifier is None or had != classifier.sha256:
            raise RecordError(
                f"run {data.uid[:8]} had the classifier {str(had)[:12]}, this session has "
                f"{classifier.sha256[:12] if classifier else 'none'}"
            )
        model = self.models.sampler
        if model is None or start["model_hashes"].get("sampler") != model.sha256:
            model = find_sampler_model(start, self.recorder.directory / "models")
        agent = rebuild_agent(start, model)
        for event in data.events():
            agent.ingest(event)
        if agent.should_stop():
            raise RecordError(f"run {data.uid[:8]} is complete: {agent.stop_reason}")
        self.agent = agent
        kept: dict[str, Any] = {key: start[key] for key in ("sample", "operator") if key in start}
        dwell_s = start.get("plan_args", {}).get("dwell_s")
        return agent, {**kept, "resumes": data.uid, "dwell_s": dwell_s}

    def map_arguments(self, **changes: Any) -> dict[str, Any]:
        """Return keyword arguments for `adaptive_map` from ``instrument.yml``: baseline, dwell, budget, suspenders.

        Parameters
        ----------
        **changes
            ``dwell_s``, ``run_nc``, ``pixel_nc``: values instead of those of the file; None leaves them.
        """
        from ..plans.budget import DoseBudget
        from ..plans.suspend import beam_suspenders

        usual = self.settings.dose
        given = {key: value for key, value in changes.items() if value is not None}
        run_nc, pixel_nc = given.get("run_nc", usual.run_nc), given.get("pixel_nc", usual.pixel_nc)
        out: dict[str, Any] = {
            "baseline": [self.sem],
            "dwell_s": given.get("dwell_s", usual.dwell_s),
            "max_failed_points": usual.max_failed_points,
        }
        if run_nc is not None or pixel_nc is not None:
            out["budget"] = DoseBudget(
                inf if run_nc is None else run_nc, inf if pixel_nc is None else pixel_nc
            )
        if usual.minimum_na is not None and self.settings.mode != "soft":
            out["suspenders"] = beam_suspenders(self.beam, minimum_na=usual.minimum_na)
        return out

    def load(self, run: str | int = -1) -> RunData:
        """Load a map as arrays: itself and the runs that it goes on from; `run` as in `resumed_agent`."""
        return self._map(run, spectra=True)[1]

    def verify(self, run: str | int = -1) -> Verification:
        """Classify and decide again all that a run recorded, and compare; `run` as in `resumed_agent`.

        The classifier and the sampler of the session are taken; that they are not those of the run is a
        RecordError.
        """
        from ..catalog.verify import verify
        from ..rebuild import rebuild_agent

        data = self.load(run)
        ours = {"sampler": self.models.sampler, "classifier": self.models.classifier}
        for what, wanted in data.start.get("model_hashes", {}).items():
            have = getattr(ours.get(what), "sha256", "none")
            if wanted != have:
                raise RecordError(
                    f"run {data.uid[:8]} had the {what} {wanted[:12]}, this session has {have[:12]}; "
                    f"`slads-bluesky replay {data.uid[:8]} --verify` finds the run's own"
                )
        return verify(data, rebuild_agent(data.start, self.models.sampler), self.models.classifier)

    def replay(self, run: str | int = -1, speed: float | None = None) -> int:
        """Show a run again as it was shown when it was taken; `speed` times as fast as it came, None: at once.

        Returns
        -------
        int
            Documents shown.
        """
        from ..catalog.replay import replay
        from ..catalog.runs import find_run

        return replay(find_run(str(run), self._where).documents(), [self.bec], speed)

    def _map(self, run: str | int, spectra: bool = False) -> tuple[list[Any], RunData]:
        from ..catalog.runs import find_run, map_runs
        from ..rundata import load_map

        chain = map_runs(find_run(str(run), self._where), self._where)
        return chain, load_map([one.documents for one in chain], spectra=spectra)

    @property
    def _where(self) -> str:
        return str(self.recorder.directory)

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
            ),
            "grid": f"{grid.shape[0]} × {grid.shape[1]} pixels of {grid.step_um[0]:g} × {grid.step_um[1]:g} µm",
            "sampler": f"{settings.sampler.name}, {settings.sampler.fraction:.3g} of the pixels",
            "classifier": "none yet: collect_spectra first"
            if classifier is None
            else ", ".join(classifier.phases),
            "record": settings.catalog.uri or self._where,
        }

    def close(self) -> None:
        """Bring the catalog up to date and stop what the session started; twice does no harm."""
        self.recorder.close()
        if self._microscope is not None:
            self._microscope.stop()
