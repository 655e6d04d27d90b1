"""A prompt without a part of the instrument: the record and its RunEngine, and a message for what is missing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ..errors import InstrumentError
from .parts import Devices, MapModels

if TYPE_CHECKING:
    from ..grid import ScanGrid
    from .before import Preflight
    from .settings import InstrumentSettings

__all__ = ["Missing", "MissingPartError", "PartialSession", "StartupError"]


class StartupError(InstrumentError):
    """The session is not there; says what is missing, part by part."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback."""
        return [str(self)]


class MissingPartError(StartupError, AttributeError):
    """A part was used that is not there."""


class Missing:
    """Stands for a part that is not there: its text says why, and using it is a `MissingPartError`.

    Parameters
    ----------
    name : str
        As it is called at the prompt.
    reason : str
        One line.

    Examples
    --------
    >>> eds = Missing("eds", "devices: instrument.yml, line 12: SEM:EDS:mca1 does not answer")
    >>> eds
    <eds is missing: devices: instrument.yml, line 12: SEM:EDS:mca1 does not answer>
    >>> hasattr(eds, "trigger")
    False
    """

    def __init__(self, name: str, reason: str) -> None:
        self._name, self._reason = name, reason

    def __repr__(self) -> str:
        return f"<{self._name} is missing: {self._reason}>"

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):
            raise AttributeError(attribute)
        raise MissingPartError(f"{self._name} is missing: {self._reason}")

    def __call__(self, *_: Any, **__: Any) -> Any:
        """Refuse to be called."""
        raise MissingPartError(f"{self._name} is missing: {self._reason}")

    def __getitem__(self, key: Any) -> Any:
        return self()


def _no_image(*_: Any, **__: Any) -> None:
    """No image of the field; what is missing is said by the next step, making the agent."""


class PartialSession:
    """A `Session` of the parts that are there; the others are `Missing`.

    Parameters
    ----------
    settings : InstrumentSettings, optional
        None if the file could not be read: then everything is missing.
    devices : Devices, optional
    models : MapModels, optional
    recorder : Recorder, optional
        None without a record: then there is no RunEngine either, since nothing would be recorded.
    catalog : databroker client, optional
        Of the same record.
    reasons : list of str
        What is wrong, a line a part.
    close : callable
        Called when the session is closed.
    """

    def __init__(
        self,
        settings: InstrumentSettings | None,
        devices: Devices | None,
        models: MapModels | None,
        recorder: Any,
        catalog: Any,
        reasons: list[str],
        close: Callable[[], None],
    ) -> None:
        reason = "; ".join(line.strip() for line in "\n".join(reasons).splitlines())
        self.settings, self.recorder, self._close = settings, recorder, close

        def missing(name: str) -> Any:
            return Missing(name, reason)

        self.RE: Any = missing("RE")
        self.db: Any = missing("db")
        self.bec: Any = missing("bec")
        self.records: Any = SimpleNamespace(
            **{name: missing(name) for name in ("load", "replay", "run", "save_phases", "verify")}
        )
        self.live = None
        if recorder is not None and catalog is not None:
            self._record(catalog, models if models is not None else MapModels(None, None))
        there = devices is not None
        self.beam = devices.beam if devices is not None else missing("beam")
        self.eds = devices.eds if devices is not None else missing("eds")
        self.sem = devices.sem if devices is not None else missing("sem")
        self.x, self.y = missing("x"), missing("y")
        if there:
            from .axes import beam_axes

            self.x, self.y = beam_axes(self.beam)
        self.make_agent, self.resumed_agent = missing("make_agent"), missing("resumed_agent")
        self.make_grid, self.prepare_map = missing("make_grid"), missing("prepare_map")
        self.map_image = _no_image
        actions = ("found", "name", "merge", "split", "forbid", "allow")
        self.phases: Any = SimpleNamespace(**{name: missing(f"phases.{name}") for name in actions})
        self.estimate, self.check_map = missing("estimate"), missing("check_map")
        self._reasons = list(reasons)

    def doctor(self, timeout_s: float = 5.0) -> Preflight:
        """Run the pre-flight check on what is there; each part that is missing is a failed check."""
        from .before import preflight_without

        return preflight_without(self.recorder, self._reasons)

    def check_instrument(self) -> list[dict[str, Any]]:
        """As `doctor`, in plain values."""
        return [result.to_json() for result in self.doctor()]

    def _record(self, catalog: Any, models: MapModels) -> None:
        from bluesky.callbacks.best_effort import BestEffortCallback

        from ..record.catalog.own_runs import own_runs
        from .engine import RecordedEngine
        from .records import Records

        self.RE, self.bec = RecordedEngine(self.recorder), BestEffortCallback()
        self.db = own_runs(catalog, self.recorder.uids)
        self.bec.disable_plots()
        self.RE.subscribe(self.bec)
        self.records = Records(self.recorder.directory, models, self.bec, self.recorder.uids)

    @property
    def grid(self) -> ScanGrid:
        """The grid of ``instrument.yml``; one of a single pixel if that could not be read."""
        from ..grid import ScanGrid

        return ScanGrid((1, 1)) if self.settings is None else self.settings.grid.grid()

    @property
    def defaults(self) -> dict[str, Any]:
        """Fraction, seed, dwell and error of ``instrument.yml``, or those of an empty one."""
        from .settings import ClassifierSettings, DoseSettings, SamplerSettings

        sampler = SamplerSettings() if self.settings is None else self.settings.sampler
        dose = DoseSettings() if self.settings is None else self.settings.dose
        judge = ClassifierSettings() if self.settings is None else self.settings.classifier
        return {
            "fraction": sampler.fraction, "seed": sampler.seed, "dwell_s": dose.dwell_s, "error": dose.error,
            "phases": "discover" if judge.phases == "discover" else "known",
        }  # fmt: skip

    def close(self) -> None:
        """Stop what was started."""
        if self.recorder is not None:
            self.recorder.close()
        self._close()

    leave = close
