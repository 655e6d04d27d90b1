"""The adaptive map as a fly scan: lists of points at the hardware's pace, each decided while the one before runs.

The hardware visits list k while list k + 1 is decided from what the lists up to k - 1 have shown. Decisions are one
list old, and the stream ``lists`` records which state each was made from. A list starts only once the event pages of
the one before are in the journal. With a stop rule each undecided pixel gets one more short pass in the list after
next, where new picks fill the places of those that were decided.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from math import isfinite
from time import perf_counter
from typing import Any, Literal, Protocol

import numpy as np
from bluesky.preprocessors import finalize_wrapper
from bluesky.utils import Msg

from slads_bluesky.errors import ConfigError, DeviceAwayError
from slads_bluesky.pointlist import MOST_POINTS, PointList, Settling
from slads_bluesky.protocols import Agent, Beam, Detector, StopRule, Suggestion

from . import away
from .away import ask, until_answered
from .budget import MARGIN, DoseBudget
from .frame import check_image, image_argument, image_options
from .ledger import Ledger
from .readables import MapReadable, ScanPoint
from .run import MAX_FAILED_POINTS, Ending, Limits, Points, check_fresh, one_run
from .start import start_document
from .stubs import blank_at_last, in_thread, record

__all__ = ["AUTO", "FlyerLike", "adaptive_lists", "auto_batch", "batch_size", "suggest_besides"]

_log = logging.getLogger(__name__)

AUTO = "auto"
"""A batch that grows with what is known; see `auto_batch`."""

GROWTH, LEAST_POINTS, MOST_PART = 0.025, 8, 0.01

QUANTUM_S = 1e-3
"""Real time of a pixel's first pass with a stop rule, s."""

PATIENCE_S = 60.0
"""A list may take so much longer than its hardware, s."""

TRIP_PAUSE_S = 0.2
"""After a list in which the beam was missed, a suspender that watches it gets so long to hear of it, s."""


class FlyerLike(Protocol):
    """A flyer over point lists; `slads_bluesky.devices.flyer.SparseFlyer` is one."""

    name: str
    engine: Any

    def prepare(self, points: PointList) -> Any:
        """Load a list."""

    def kickoff(self) -> Any:
        """Start it."""

    def complete(self) -> Any:
        """Return the status of its end."""

    def collect_pages(self) -> Any:
        """Yield event pages of what came."""

    def settled(self) -> None:
        """Take it that a checkpoint followed the rows collected so far."""

    def on_news(self, heard: Callable[[], None]) -> None:
        """Call at the next rows, or at the end of the list."""

    @property
    def n_ready(self) -> int:
        """Rows that can be collected."""

    @property
    def trouble(self) -> str:
        """Why the last list ended early; empty if it did not."""

    def forget(self, pixel: int) -> None:
        """Give up a pixel that wanted another pass."""

    @property
    def undecided(self) -> list[int]:
        """Indices of points of the last list that want another pass."""

    @property
    def missed(self) -> dict[int, str]:
        """Indices of points of the last list without a valid spectrum, and why."""

    @property
    def dose_nc(self) -> float:
        """Charge on the specimen so far, nC."""

    def first_pass_s(self, quantum_s: float) -> float:
        """Real time of a pixel's first pass, s."""

    def next_pass_s(self, pixel: int) -> float:
        """Real time of an undecided pixel's next pass, s."""


def auto_batch(n_measured: int, n_pixels: int) -> int:
    """Points of the next list: 2.5 % of the pixels measured, at least 8 and at most 1 % of all pixels.

    A decision that is one list old costs samples in proportion to how much is learned meanwhile; `bench fly` prints
    how many. Nothing is known at first, so that the first list is as long as may be.

    Examples
    --------
    >>> auto_batch(0, 16384), auto_batch(200, 16384), auto_batch(1600, 16384), auto_batch(20000, 65536)
    (163, 8, 40, 500)
    """
    most = max(LEAST_POINTS, int(MOST_PART * n_pixels))
    if n_measured == 0:
        return most
    return min(max(LEAST_POINTS, int(GROWTH * n_measured)), most)


def batch_size(batch: int | float | str) -> Callable[[int, int], int]:
    """Return the rule for a `batch`: a number of points, a part of the pixels under 1, or ``"auto"``.

    Raises
    ------
    ConfigError
        If it is none of these.
    """
    if batch == AUTO:
        return auto_batch
    if isinstance(batch, int) and not isinstance(batch, bool) and 1 <= batch <= MOST_POINTS:
        number = batch
        return lambda _, __: number
    if isinstance(batch, float) and 0 < batch < 1:
        part = batch
        return lambda _, n_pixels: min(max(1, round(part * n_pixels)), MOST_POINTS)
    raise ConfigError(
        f"a batch is a number of points up to {MOST_POINTS}, a part of the pixels under 1, or '{AUTO}', not {batch!r}"
    )


class _Rows:
    """Keeps the rows of some streams as they were emitted, events and pages alike, without spectra."""

    def __init__(self, spectrum: str | None, *streams: str) -> None:
        self._spectrum, self._streams = spectrum, streams
        self._descriptors: set[str] = set()
        self._events: list[dict[str, Any]] = []

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        if name == "descriptor" and document.get("name") in self._streams:
            self._descriptors.add(document["uid"])
        elif name == "event" and document["descriptor"] in self._descriptors:
            data = {key: value for key, value in document["data"].items() if key != self._spectrum}
            self._events.append({"seq_num": document["seq_num"], "data": data})
        elif name == "event_page" and document["descriptor"] in self._descriptors:
            columns = {key: value for key, value in document["data"].items() if key != self._spectrum}
            for i, seq_num in enumerate(document["seq_num"]):
                self._events.append(
                    {"seq_num": seq_num, "data": {key: value[i] for key, value in columns.items()}}
                )

    @property
    def waiting(self) -> bool:
        """Whether any came since `take`."""
        return bool(self._events)

    def take(self) -> list[dict[str, Any]]:
        """Return what came since, and forget it."""
        events, self._events = self._events, []
        return events


@dataclass
class _Decision:
    """What was decided for a list, and from which state."""

    number: int
    seen: int
    asked: int
    suggestions: list[Suggestion]
    reason: str


def adaptive_lists(
    flyer: FlyerLike,
    beam: Beam,
    eds: Detector,
    agent: Agent,
    *,
    batch: int | float | str = AUTO,
    baseline: Sequence[Any] = (),
    dwell_s: float | None = QUANTUM_S,
    quantum_s: float = QUANTUM_S,
    map_every: int | None = None,
    timeout_s: float | None = None,
    budget: DoseBudget | None = None,
    stop_rule: StopRule | Literal["detector"] | None = "detector",
    max_failed_points: int = MAX_FAILED_POINTS,
    suspenders: Sequence[Any] = (),
    ledger: Ledger | None = None,
    md: Mapping[str, Any] | None = None,
    image: Any = None,
) -> Generator[Msg, Any, str]:
    """Map a specimen adaptively by lists of points: one run, until the agent is done.

    Parameters
    ----------
    flyer : FlyerLike
        Visits the lists.
    beam, eds, agent
        As in `adaptive_map`; `eds` gives the stop rule, and its dwell is the flyer's.
    batch : int, float or "auto"
        Points of a list: a number, a part of the pixels under 1, or `auto_batch`.
    dwell_s : float
        Real time at each point, s. With a stop rule (`stop_rule`) its cap is the limit, and `quantum_s` the
        real time of a pixel's first pass until the flyer knows how long decisions take.
    map_every : int, optional
        As in `adaptive_map`, in points.
    baseline, timeout_s, budget, stop_rule, max_failed_points, suspenders, ledger, md, image
        As in `adaptive_map`; `timeout_s` is how much longer a list may take than its hardware.

    Returns
    -------
    str
        Why the map ended, as in the stop document.

    Raises
    ------
    ConfigError
        If an argument is not what it may be.
    InstrumentError
        If the grid does not lie in the field, or too many points failed.
    """
    limits = Limits(
        dwell_s=dwell_s if dwell_s is not None else QUANTUM_S,
        timeout_s=timeout_s,
        budget=budget if budget is not None else DoseBudget(),
        max_failed_points=max_failed_points,
        stop_rule=stop_rule,
    )
    if map_every is not None and map_every < 0:
        raise ConfigError(f"map_every must be 0 or more, not {map_every}")
    check_fresh(agent, md)
    if getattr(agent, "revisits", False):
        raise ConfigError(
            "the sampler visits pixels again, which lists of points do not record: map by points, without a flyer"
        )
    check_image(agent, image)
    if not quantum_s > 0:
        raise ConfigError(f"quantum must be positive, not {quantum_s} s")
    lists = _Lists(
        flyer, beam, eds, agent, limits, batch_size(batch), quantum_s,
        ledger if ledger is not None else Ledger(), map_every,
    )  # fmt: skip
    arguments = {
        **limits.to_json(), "map_every": map_every, "batch": batch, "quantum_s": quantum_s,
        "flyer": flyer.name, "acquisition": "list", **image_argument(image),
    }  # fmt: skip
    (y0, y1), (x0, x1) = agent.grid.extents_um
    try:
        return (
            yield from one_run(
                lists.points,
                lists.body,
                beam=beam,
                eds=eds,
                start=start_document(beam, eds, agent, arguments, md, limits.rule_of(eds)),
                places=((x0, y0), (x1, y1)),
                limits=limits,
                baseline=baseline,
                suspenders=suspenders,
                **image_options(image, agent),
            )
        )
    finally:
        lists.executor.shutdown(wait=False)


@dataclass
class _Lists:
    """The lists of one run: one that runs, one that is decided, and what the next must take over."""

    flyer: FlyerLike
    beam: Any
    eds: Any
    agent: Agent
    limits: Limits
    size: Callable[[int, int], int]
    quantum_s: float
    times: Ledger
    map_every: int | None
    chosen: set[int] = field(default_factory=set)
    """Pixels that are chosen and not ingested yet."""

    def __post_init__(self) -> None:
        self.executor = ThreadPoolExecutor(1, thread_name_prefix="slads-decide")
        self.points = Points(self.beam, self.eds, self.limits, self.agent.keys, self.times)
        self.reason = ""
        spectrum = None if getattr(self.agent, "needs_spectra", False) else self.agent.keys.spectrum
        self._rows = _Rows(spectrum, "primary", "failed")
        self._point = ScanPoint(self.agent.grid)
        self._number = 0
        self._missed: Counter[int] = Counter()
        self._carry: PointList | None = None
        self._closed = False  # the budget is spent: what is undecided stays so
        self._lists, self._map, self._ledger = MapReadable("lists"), MapReadable("map"), MapReadable("ledger")
        self._phases = MapReadable("phases")
        n_pixels = self.agent.grid.n_pixels
        self._most = max(self.size(0, n_pixels), self.size(n_pixels, n_pixels))
        self._dose0 = self._dose_before = self._current_na = 0.0
        self._settling = Settling()

    # ---- deciding, in a thread of its own

    def decide(self, events: Sequence[Mapping[str, Any]], taken: int) -> _Decision:
        """Ingest what was emitted, then choose pixels for a list in which `taken` places are taken already."""
        began = perf_counter()
        agent, key = self.agent, self.agent.keys.pixel
        for event in events:
            self.points.account.book(event)
            agent.ingest(event)
            self.chosen.discard(int(event["data"][key]))
        seen, n_pixels = agent.n_measured, agent.grid.n_pixels
        reason = agent.stop_reason if agent.should_stop() else ""
        asked = self.size(seen, n_pixels) - taken
        wanted = getattr(agent, "n_wanted", None)
        if wanted is not None:
            asked = min(asked, wanted - seen - len(self.chosen))
        found: list[Suggestion] = []
        if not reason and not self._closed and asked > 0:
            found = suggest_besides(agent, asked, self.chosen)
            if not found and not self.chosen:
                reason = "nothing is left to suggest"
        self.chosen.update(s.pixel for s in found)
        self._number += 1
        self.times.add("decide", began)
        return _Decision(self._number, seen, asked, found, reason)

    def _decision(self, carry: PointList | None) -> "Future[_Decision]":
        return self.executor.submit(self.decide, self._rows.take(), 0 if carry is None else len(carry))

    # ---- the plan

    def body(self) -> Generator[Msg, Any, Ending]:
        """Run the lists; whatever ends them, what was measured is recorded."""
        yield Msg("subscribe", None, self._rows, "all")
        staged = yield from until_answered(self._begin, away.AWAY_S)
        if staged is None:  # nobody runs the messages
            return Ending("a dry run")
        yield Msg("checkpoint")
        ending: Ending = yield from finalize_wrapper(self._run(), self._leave)
        yield from self._draw()
        self._ledger.take(self.times.flat())
        yield from record("ledger", [self._ledger])
        return ending

    def _begin(self) -> Generator[Msg, Any, Any]:
        """Stage the flyer and declare its stream; None where nobody runs the messages."""
        staged = yield from ask("stage", self.flyer)
        if staged is None:
            return None
        engine, budget = self.flyer.engine, self.limits.budget
        self._settling, self._current_na = engine.settling, float(engine.current_na)
        self._dose0 = self._dose_before = self.flyer.dose_nc
        cap_s = budget.cap_nc / self._current_na if budget.limited and self._current_na > 0 else 0.0
        yield from ask("configure", self.flyer, {"real_time": cap_s})
        yield Msg("declare_stream", None, self.flyer, name="primary", collect=True)
        return staged

    def _ask(self, command: str, *arguments: Any) -> Generator[Msg, Any, Any]:
        """Give the flyer a message, waiting for hardware that is away."""
        return (yield from until_answered(partial(ask, command, self.flyer, *arguments), away.AWAY_S))

    def _leave(self) -> Generator[Msg, Any, None]:
        """Stop the hardware, record what is measured, and let the flyer go."""
        for command in ("stop", "unstage"):
            try:
                yield from ask(command, self.flyer)
            except DeviceAwayError as error:
                _log.error("%s does not %s: %s", self.flyer.name, command, error)
            if command == "stop":
                yield from self._collect()

    def _run(self) -> Generator[Msg, Any, Ending]:
        next_map = self.map_every
        if next_map is None:
            next_map = max(2 * self.agent.n_measured, self.agent.grid.n_pixels // 50)
        first = self._decision(None)
        following = yield from self._visit(None, first, None)
        while True:
            running, began = following, perf_counter()
            if running is not None:
                self._dose_before = self.flyer.dose_nc
                status = yield from self._ask("kickoff")
                yield from until_done(status)
                yield Msg("checkpoint")
            carry, self._carry = self._carry, None
            work = self._decision(carry)
            if running is not None and next_map and self.agent.n_measured >= next_map:
                yield from self._draw()  # of the state before, while the list runs
                next_map += self.map_every if self.map_every else next_map
            following = yield from self._visit(running, work, carry)
            if running is not None:
                yield from self._after(running, began)
                if self.points.too_many_failed:
                    return Ending(self.points.too_many_failed, failed=True)
            elif following is None and self._carry is None and not self._rows.waiting:
                return Ending(self.reason or "nothing is left to suggest")

    def _visit(
        self, running: PointList | None, work: "Future[_Decision]", carry: PointList | None
    ) -> Generator[Msg, Any, PointList | None]:
        """Collect while a list runs, and load the following one as soon as it is decided."""
        status = None
        if running is not None:
            status = yield from self._ask("complete")
        following: PointList | None = None
        patience = self._patience_s(running)
        limit = perf_counter() + patience
        decided = False
        while True:
            if not decided and work.done():
                following = yield from self._load(work.result(), carry, running)
                decided = True
            over = status is None or status.done
            if over and decided:
                break
            yield from self._news(None if over else status, None if decided else work)
            yield from self._collect()
            if not over and perf_counter() > limit:
                yield from self._ask("stop")
        yield from self._collect()
        return following

    def _patience_s(self, running: PointList | None) -> float:
        more = self.limits.timeout_s if self.limits.timeout_s is not None else PATIENCE_S
        return more + (3.0 * running.hardware_s(self._settling) if running is not None else 0.0)

    def _news(self, status: Any, work: "Future[_Decision] | None") -> Generator[Msg, Any, None]:
        """Wait for rows, the end of the list, or the decision."""

        async def heard() -> None:
            loop = asyncio.get_running_loop()
            event = asyncio.Event()

            def wake(*_: Any) -> None:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(event.set)

            if status is not None:
                self.flyer.on_news(wake)
            if work is not None:
                work.add_done_callback(wake)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), 1.0)

        yield Msg("wait_for", None, [heard])

    def _collect(self) -> Generator[Msg, Any, None]:
        if self.flyer.n_ready:
            began = perf_counter()
            yield Msg("collect", self.flyer, name="primary", return_payload=False)
            yield Msg("checkpoint")
            self.flyer.settled()
            self.times.add("journal", began)

    def _draw(self) -> Generator[Msg, Any, None]:
        if hasattr(self.agent, "phases_data"):  # an agent that finds the phases itself
            self._phases.take((yield from in_thread(self.executor, self.agent.phases_data)))
            yield from record("phases", [self._phases])
        self._map.take((yield from in_thread(self.executor, self.agent.map_data)))
        yield from record("map", [self._map])

    # ---- from a decision to a list that is loaded

    def _load(
        self, decision: _Decision, carry: PointList | None, running: PointList | None
    ) -> Generator[Msg, Any, PointList | None]:
        self.reason = self.reason or decision.reason
        parts = [] if carry is None or self._closed else [carry]
        if decision.suggestions:
            yield from self._record(decision)
            parts.append(self._listed(decision))
        if not parts:
            return None
        points = parts[0] if len(parts) == 1 else parts[0].joined(parts[1])
        affordable = self._affordable(points.ordered(), running)
        if affordable is None:
            return None
        status = yield from self._ask("prepare", affordable)
        yield from until_done(status)
        yield Msg("checkpoint")
        return affordable

    def _record(self, decision: _Decision) -> Generator[Msg, Any, None]:
        """Which pixels were chosen, and how much was known then: what a replay compares."""
        pixels = np.full(self._most, -1, np.int32)
        pixels[: len(decision.suggestions)] = [s.pixel for s in decision.suggestions]
        self._lists.take(
            {
                "number": decision.number, "seen": decision.seen, "asked": decision.asked,
                "n": len(decision.suggestions), "pixels": pixels,
            }
        )  # fmt: skip
        yield from record("lists", [self._lists])

    def _listed(self, decision: _Decision) -> PointList:
        grid, n = self.agent.grid, len(decision.suggestions)
        pixels = np.array([s.pixel for s in decision.suggestions], np.int64)
        at = np.array([grid.position(int(pixel)) for pixel in pixels])
        places = np.array([grid.row_column(int(pixel)) for pixel in pixels], np.int64)
        adaptive = getattr(self.eds, "stop_rule", None) is not None
        fixed = float(self.limits.dwell_s or self.quantum_s)
        dwell = self.flyer.first_pass_s(self.quantum_s) if adaptive else fixed
        if self.limits.budget.limited and self._current_na > 0:
            dwell = min(dwell, self.limits.budget.cap_nc / self._current_na)
        return PointList(
            at[:, 0].copy(), at[:, 1].copy(), np.full(n, dwell), pixels, places[:, 0].copy(), places[:, 1].copy(),
            np.array([s.erd for s in decision.suggestions], np.float64), np.full(n, decision.number, np.int64),
        )  # fmt: skip

    def _affordable(self, points: PointList, running: PointList | None) -> PointList | None:
        """Return as much of a list as the run's budget of dose bears; what does not fit is not measured."""
        most = self.limits.budget.run_nc
        if not isfinite(most) or self._current_na <= 0:
            return points
        ahead = 0.0 if running is None else float(running.dwell_s.sum())
        left = most - (self._dose_before - self._dose0) - MARGIN * self._current_na * ahead
        n = int(np.searchsorted(np.cumsum(MARGIN * self._current_na * points.dwell_s), left, side="right"))
        if n == len(points):
            return points
        self._closed = True
        self.reason = self.reason or (
            f"the dose budget of the run, {most:g} nC, has {max(left, 0.0):.3g} nC left, "
            f"not enough for a list of {len(points)} points"
        )
        self.chosen.difference_update(int(pixel) for pixel in points.pixels[n:])
        return points.take(np.arange(n)) if n else None

    # ---- what a list leaves behind

    def _after(self, done: PointList, began: float) -> Generator[Msg, Any, None]:
        """Take over what is undecided or was missed; what was missed twice has failed."""
        undecided, missed = self.flyer.undecided, self.flyer.missed
        dwell = np.array(done.dwell_s)
        for index in undecided:
            dwell[index] = self.flyer.next_pass_s(int(done.pixels[index]))
        again = list(undecided)
        for index, why in missed.items():
            pixel = int(done.pixels[index])
            self._missed[pixel] += 1
            if self._missed[pixel] < 2:
                again.append(index)
                continue
            self.flyer.forget(pixel)
            self._point.choose(Suggestion(pixel, float(done.erd[index])))
            yield from self.points.fail(why, [self._point])
            if self.points.too_many_failed:
                return
        if missed:
            if self.flyer.trouble:
                yield from blank_at_last(self.beam)
            yield Msg("checkpoint")
            yield Msg("sleep", None, TRIP_PAUSE_S)
        if again and not self._closed:
            self._carry = done.with_dwell(dwell).take(np.array(sorted(again), np.int64))
        wall, hardware = perf_counter() - began, done.hardware_s(self._settling)
        self.times.put("list", wall)
        self.times.put("hardware", hardware)
        self.times.put("overhead", (wall - hardware) / len(done))


def suggest_besides(agent: Agent, n: int, pending: Collection[int]) -> list[Suggestion]:
    """Ask an agent for `n` pixels besides those that are being measured, in its own way if it has one."""
    own = getattr(agent, "suggest_besides", None)
    if own is not None:
        return list(own(n, pending))
    return [s for s in agent.suggest(n + len(pending)) if s.pixel not in pending][:n]


def until_done(status: Any) -> Generator[Msg, Any, None]:
    """Wait for a status, whatever interrupts the wait."""

    async def finished() -> None:
        loop, event = asyncio.get_running_loop(), asyncio.Event()
        status.add_callback(lambda *_: loop.call_soon_threadsafe(event.set))
        await event.wait()

    while not status.done:
        yield Msg("wait_for", None, [finished])
