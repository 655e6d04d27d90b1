"""What every run of these plans has around its points: devices staged, limits set, baseline, an end with its reason.

Whatever measures points one after the other is a `Points`: each tried twice, recorded as failed and passed over, and
booked on the run's budget of dose.
"""

import logging
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import isfinite
from time import time
from typing import Any, Literal, NamedTuple, TypedDict

from bluesky.preprocessors import finalize_wrapper, suspend_wrapper
from bluesky.utils import Msg

from slads_bluesky.errors import ConfigError, DeviceAwayError, InstrumentError
from slads_bluesky.protocols import Agent, Beam, Detector, EventKeys, StopRule

from . import away
from .away import ask, until_answered
from .budget import DoseAccount, DoseBudget
from .events import guard_events
from .ledger import Ledger
from .patience import Patience
from .points import FailedPoint, measure_or_fail
from .stubs import EventCollector, leave, record

__all__ = [
    "MAX_FAILED_POINTS",
    "Ending",
    "Limits",
    "Points",
    "RunOptions",
    "check_fresh",
    "in_order",
    "one_run",
]

_log = logging.getLogger(__name__)

MAX_FAILED_POINTS = 10
"""Points that may fail unless a plan is given another number."""

TOLERANCE_OF_STEP = 0.25
"""Part of the distance between pixels that a position may be off."""

DEFAULT_TOLERANCE_UM = 0.5
"""How far a position may be off where there is no grid, µm."""

LAST_SUSPENSION_S = 0.05
"""A suspension that was asked for with the last point is waited for this long, so that the run is closed after it."""


def check_fresh(agent: Agent, md: Mapping[str, Any] | None) -> None:
    """Refuse an agent that has measured pixels of another map.

    Raises
    ------
    ConfigError
        If it has, and the metadata do not name the run that is resumed as ``resumes``.
    """
    if agent.n_measured and "resumes" not in (md or {}):
        raise ConfigError(
            f"the agent knows {agent.n_measured} pixels of an earlier map: make a new one for this map (make_agent), "
            "or resume that map (resume_map)"
        )


class Ending(NamedTuple):
    """How a run's points came to their end."""

    reason: str
    failed: bool = False
    dry: bool = False
    """Whether nobody runs the messages: a dry run."""


class RunOptions(TypedDict, total=False):
    """Arguments that all plans of this package share; each has the default that `Limits` or `one_run` gives it."""

    baseline: Sequence[Any]
    """Readables: settings of the microscope, read before the first point and after the last into ``baseline``."""
    dwell_s: float | None
    """Live time of each spectrum, s, given to the detector's ``configure``; None leaves its presets alone."""
    stop_rule: StopRule | Literal["detector"] | None
    """Ends each acquisition early; None for none; by default (``"detector"``) the detector's own."""
    timeout_s: float | None
    """How long an acquisition may take, s; by default see `plans.patience`."""
    tolerance_um: float | None
    """How far from its pixel a position may be read back, µm; a point measured elsewhere fails."""
    budget: DoseBudget | None
    """What the specimen may take: the run stops before it is exceeded, and its stop document gives the reason."""
    max_failed_points: int
    """Points that may fail before the run ends."""
    suspenders: Sequence[Any]
    """Installed while points are taken; see `plans.suspend`."""
    ledger: Ledger | None
    """Takes how long the steps of each point took."""
    md: Mapping[str, Any] | None
    """Added to the start document."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What each point and the run may take; the arguments that all plans share.

    Raises
    ------
    ConfigError
        If the dwell or the number of failed points is out of bounds.
    """

    dwell_s: float | None = 10.0
    """Live time of each spectrum, s; None leaves the detector's presets alone."""
    timeout_s: float | None = None
    """How long an acquisition may take; by default 30 s and three times the dwell."""
    budget: DoseBudget = field(default_factory=DoseBudget)
    max_failed_points: int = MAX_FAILED_POINTS
    stop_rule: StopRule | Literal["detector"] | None = "detector"
    """Ends each acquisition early; by default the detector's own."""
    tolerance_um: float | None = None
    """How far from its pixel a position may be read back, µm; by default see `position_tolerance`."""
    classifier: Any = None
    """Of the detector in this run; None: its own."""

    @classmethod
    def of(cls, options: RunOptions) -> "Limits":
        """Take those that a plan was given; TypeError naming an argument that there is not."""
        if unknown := sorted(set(options) - set(RunOptions.__annotations__)):
            raise TypeError(
                f"unexpected keyword argument {unknown[0]!r}; there are {', '.join(RunOptions.__annotations__)}"
            )
        return cls(
            dwell_s=options.get("dwell_s", 10.0),
            timeout_s=options.get("timeout_s"),
            budget=options.get("budget") or DoseBudget(),
            max_failed_points=options.get("max_failed_points", MAX_FAILED_POINTS),
            stop_rule=options.get("stop_rule", "detector"),
            tolerance_um=options.get("tolerance_um"),
        )

    def __post_init__(self) -> None:
        if self.dwell_s is not None and not self.dwell_s > 0:
            raise ConfigError(f"dwell must be positive, not {self.dwell_s} s")
        if self.max_failed_points < 0:
            raise ConfigError(f"max_failed_points must be 0 or more, not {self.max_failed_points}")
        if self.tolerance_um is not None and not self.tolerance_um > 0:
            raise ConfigError(f"tolerance_um must be positive, not {self.tolerance_um}")

    def rule_of(self, eds: Any) -> StopRule | None:
        """Return what ends the acquisitions of a detector in this run."""
        return getattr(eds, "stop_rule", None) if isinstance(self.stop_rule, str) else self.stop_rule

    def to_json(self) -> dict[str, Any]:
        """For the start document's ``plan_args``."""
        limits = {"run": self.budget.run_nc, "pixel": self.budget.pixel_nc}
        return {
            "dwell_s": self.dwell_s, "timeout_s": self.timeout_s, "max_failed_points": self.max_failed_points,
            "budget_nc": {name: nc if isfinite(nc) else None for name, nc in limits.items()},
        }  # fmt: skip


class Points:
    """Measures points, one after the other, within the limits of a run.

    Parameters
    ----------
    beam, eds : Beam, Detector
    limits : Limits
    keys : EventKeys
        Where an Event has its dose, and what a failed point records.
    ledger : Ledger
    """

    def __init__(
        self,
        beam: Beam,
        eds: Detector,
        limits: Limits,
        keys: EventKeys,
        ledger: Ledger,
        step_um: float | None = None,
    ) -> None:
        self._beam, self._eds, self._limits, self._ledger = beam, eds, limits, ledger
        self._failure = FailedPoint(keys)
        self._keys = keys
        self._tolerance_um = position_tolerance(beam, limits, step_um)
        self.patience = Patience(
            limits.dwell_s,
            adaptive=limits.rule_of(eds) is not None,
            timeout_s=limits.timeout_s,
            budget=limits.budget,
        )
        self._wrong = ""
        self.n_failed = 0
        self.collector = EventCollector("primary", "failed")
        self.account = DoseAccount(limits.budget, f"{beam.name}_dose", keys.dose)

    def take(
        self, position: tuple[float, float], readables: Sequence[Any]
    ) -> Generator[Msg, Any, dict[str, Any] | None]:
        """Measure a point at (x, y) µm; return its Event, of the stream ``primary`` or ``failed``.

        None where nobody runs the messages.
        """
        self.patience.begin_pixel()
        self._wrong = yield from measure_or_fail(
            self._beam, self._eds, position, readables, patience=self.patience, tolerance_um=self._tolerance_um,
            dose_key=self._keys.dose, ledger=self._ledger,
        )  # fmt: skip
        if hasattr(self._eds, "classify_s"):
            self._ledger.put("classify", self._eds.classify_s)
        if self._wrong:
            yield from self.fail(self._wrong, readables)
        yield Msg("checkpoint")
        event = self.collector.take()
        if event is not None and self._keys.real_time in event["data"]:
            self.patience.took(float(event["data"][self._keys.real_time]))
        return event

    def fail(self, reason: str, readables: Sequence[Any]) -> Generator[Msg, Any, None]:
        """Record a point in the stream ``failed``, and count it."""
        self._wrong = reason
        self.n_failed += 1
        self._failure.fail(reason, time())
        yield from record("failed", [*readables, self._failure])

    @property
    def too_many_failed(self) -> str:
        """Why the run must end, if more points have failed than may."""
        if self.n_failed <= self._limits.max_failed_points:
            return ""
        return f"{self.n_failed} points failed, the last one because: {self._wrong}"


def one_run(
    points: Points,
    body: Callable[[], Generator[Msg, Any, Ending]],
    *,
    beam: Beam,
    eds: Detector,
    start: Mapping[str, Any],
    places: Iterable[tuple[float, float]],
    limits: Limits,
    baseline: Sequence[Any] = (),
    suspenders: Sequence[Any] = (),
    first: Callable[[], Generator[Msg, Any, None]] | None = None,
    more: Sequence[Any] = (),
) -> Generator[Msg, Any, str]:
    """Make a run around points.

    Parameters
    ----------
    points : Points
        That the body takes.
    body : callable
        Gives the plan that takes them and returns how it ended.
    beam, eds : Beam, Detector
    start : mapping
        Start document.
    places : iterable of (x, y)
        Must lie in the field, µm; the outermost are enough.
    limits : Limits
    baseline : sequence of Readable
        Read before the first point and after the last into the stream ``baseline``.
    suspenders : sequence of suspenders
        Installed while points are taken; see `plans.suspend`.
    first : callable, optional
        Gives a plan that is run after the first baseline and before the points.
    more : sequence of devices
        That it uses: they are staged like the others.

    Returns
    -------
    str
        Why it ended, as in the stop document.

    Raises
    ------
    ConfigError
        If the beam has no blanker, or a budget is to be kept and the beam has no current.
    InstrumentError
        If a place lies outside the field, or too many points failed.
    """
    if not hasattr(beam, "blanker"):
        raise ConfigError(
            f"{getattr(beam, 'name', beam)} has no blanker: a map needs a beam that can be blanked"
        )
    devices = _unique([beam, eds, *baseline, *(device for device in more if hasattr(device, "stage"))])

    def scan() -> Generator[Msg, Any, str]:
        yield Msg("subscribe", None, points.collector, "all")
        staged = None
        for device in devices:
            staged = yield from until_answered(partial(ask, "stage", device), away.STAGE_S)
        if staged is not None and hasattr(beam, "check_value"):  # None where nobody runs the messages
            for place in places:
                beam.check_value(place)
        yield from until_answered(lambda: _preset(beam, eds, limits, points.patience), away.STAGE_S)
        yield Msg("open_run", None, **start)
        if baseline:
            yield from until_answered(lambda: record("baseline", baseline), away.AWAY_S)
        yield Msg("checkpoint")
        if first is not None:
            yield from first()
        ending = yield from _suspended_by(suspenders, body())
        if baseline:
            yield from _last_baseline(baseline)
        status = "fail" if ending.failed else "success"
        yield Msg("close_run", None, exit_status=status, reason=ending.reason)
        if ending.failed:
            raise InstrumentError(ending.reason)
        return ending.reason

    raised: list[Exception] = []

    def noted() -> Generator[Msg, Any, str]:
        try:
            return (yield from scan())
        except InstrumentError as error:
            raised.append(error)
            raise

    reason: str = yield from guard_events(finalize_wrapper(noted(), lambda: leave(beam, devices, raised)))
    return reason


def in_order(
    points: Points,
    choices: Iterable[Callable[[], tuple[float, float]]],
    readables: Sequence[Any],
    reason: str,
) -> Generator[Msg, Any, Ending]:
    """Take points in a given order; the body of a run that decides nothing.

    Parameters
    ----------
    points : Points
    choices : iterable of callable
        Each makes the readables those of a point, and returns its position, (x, y) in µm.
    readables : sequence of Readable
        Read with each point.
    reason : str
        Of the end once all are measured.
    """
    for choose in choices:
        if objection := points.account.objection():
            return Ending(objection)
        event = yield from points.take(choose(), readables)
        if points.too_many_failed:
            return Ending(points.too_many_failed, failed=True)
        if event is not None:
            points.account.book(event)
    return Ending(reason if not points.n_failed else f"{reason}, but for {points.n_failed} that failed")


def _suspended_by(
    suspenders: Sequence[Any], body: Generator[Msg, Any, Ending]
) -> Generator[Msg, Any, Ending]:
    """Watch while points are taken, and no longer.

    A suspension that falls on the last messages of a plan finds a RunEngine that is about to be idle, which raises
    TransitionError after a run that went well. So nobody watches any more when the run is closed, and what was asked
    for before is carried out at a checkpoint.
    """
    if not suspenders:
        return (yield from body)
    ending: Ending = yield from suspend_wrapper(body, list(suspenders))
    yield Msg("checkpoint")
    yield Msg("sleep", None, LAST_SUSPENSION_S)
    yield Msg("checkpoint")
    return ending


def position_tolerance(beam: Any, limits: Limits, step_um: float | None) -> float:
    """How far from its pixel a position may be read back, µm.

    As the plan was given it, as the beam has it, or a part of the distance between pixels.
    """
    for given in (limits.tolerance_um, getattr(beam, "position_tolerance_um", None)):
        if given is not None:
            return float(given)
    return DEFAULT_TOLERANCE_UM if step_um is None else TOLERANCE_OF_STEP * step_um


def _preset(beam: Any, eds: Any, limits: Limits, patience: Patience) -> Generator[Msg, Any, None]:
    """Set the detector's presets: the dwell, and the real time after which a pixel's dose is spent."""
    presets: dict[str, Any] = {}
    if limits.dwell_s is not None:
        presets.update(live_time=limits.dwell_s, real_time=0.0, counts=0)
    if not isinstance(limits.stop_rule, str):
        presets["stop_rule"] = limits.stop_rule
    if limits.classifier is not None:
        presets["classifier"] = limits.classifier
    current = 0.0
    if limits.budget.limited:
        if not hasattr(beam, "current"):
            raise ConfigError(f"{beam.name} has no current, without which a dose budget cannot be kept")
        reading = yield from ask("read", beam.current)
        current = next((float(value["value"]) for value in (reading or {}).values()), 0.0)
        if current > 0:
            presets["real_time"] = limits.budget.cap_nc / current
    patience.start(current, presets)
    if presets:
        yield from ask("configure", eds, presets)


def _last_baseline(baseline: Sequence[Any]) -> Generator[Msg, Any, None]:
    """Read the settings once more after the last point; a map that is whole does not fail for them."""
    try:
        yield from until_answered(lambda: record("baseline", baseline), away.LEAVE_S)
    except DeviceAwayError as error:
        _log.warning("the settings at the end of the run are not recorded: %s", error)


def _unique(devices: Sequence[Any]) -> list[Any]:
    kept: list[Any] = []
    for device in devices:
        if not any(device is other for other in kept):
            kept.append(device)
    return kept
