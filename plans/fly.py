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
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from math import inf, isfinite
from time import perf_counter
from typing import Any, Literal

import numpy as np
from bluesky.preprocessors import finalize_wrapper
from bluesky.utils import Msg

from slads_bluesky.errors import ConfigError, DeviceAwayError
from slads_bluesky.pointlist import PointList, Settling
from slads_bluesky.protocols import Agent, Beam, Detector, StopRule, Suggestion

from . import away
from .away import ask, until_answered
from .batches import AUTO, batch_size
from .budget import MARGIN, DoseBudget
from .flyerlike import FlyerLike
from .ledger import Ledger
from .listchoice import Decision, ListChooser
from .maprun import Drawn, MapRun
from .readables import ScanPoint
from .run import MAX_FAILED_POINTS, Ending, Limits
from .stubs import blank_at_last, until_done

__all__ = ["adaptive_lists"]

_log = logging.getLogger(__name__)

QUANTUM_S = 1e-3
"""Real time of a pixel's first pass with a stop rule, s."""

PATIENCE_S = 60.0
"""A list may take so much longer than its hardware, s."""

TRIES, TRIES_LOST = 2, 6
"""A pixel without a valid spectrum has failed after so many visits; one whose spectrum was lost on its way, because
this computer was too busy to take buffers or a pause blanked the beam on it, after so many."""

TRIP_PAUSE_S = 0.2
"""After a list in which the beam was missed, a suspender that watches it gets so long to hear of it, s."""


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
    batch : int, float, "auto" or "pace"
        Points of a list: a number, a part of the pixels under 1, `auto_batch`, or `PaceBatch`.
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
        classifier=getattr(agent, "detector_classifier", None),
    )
    if not quantum_s > 0:
        raise ConfigError(f"quantum must be positive, not {quantum_s} s")
    size = batch_size(batch)
    run = MapRun(beam, eds, agent, limits, map_every=map_every, ledger=ledger, md=md, image=image)
    lists = _Lists(run, flyer, ListChooser(run, size), quantum_s)
    arguments = {"batch": batch, "quantum_s": quantum_s, "flyer": flyer.name, "acquisition": "list"}
    return (yield from run.run(lists.body, arguments, baseline=baseline, suspenders=suspenders))


class _Lists:
    """The lists of one run: one that runs, one that is decided, and what the next must take over."""

    def __init__(self, run: MapRun, flyer: FlyerLike, chooser: ListChooser, quantum_s: float) -> None:
        self._run, self._flyer, self._chooser, self._quantum_s = run, flyer, chooser, quantum_s
        self._points, self._limits, self._times = run.points, run.limits, run.times
        self._point = ScanPoint(run.agent.grid, visits=chooser.revisits)
        self._reason = ""
        self._missed: Counter[int] = Counter()
        self._carry: PointList | None = None
        self._drawing: Future[Drawn] | None = None
        self._dose0 = self._dose_before = self._current_na = 0.0
        self._settling = Settling()

    def body(self) -> Generator[Msg, Any, Ending]:
        """Run the lists; whatever ends them, what was measured is recorded."""
        yield Msg("subscribe", None, self._chooser.rows, "all")
        staged = yield from until_answered(self._begin, away.AWAY_S)
        if staged is None:  # nobody runs the messages
            return Ending("a dry run", dry=True)
        yield Msg("checkpoint")
        ending: Ending = yield from finalize_wrapper(self._visit_all(), self._leave)
        return ending

    def _begin(self) -> Generator[Msg, Any, Any]:
        """Stage the flyer and declare its stream; None where nobody runs the messages."""
        staged = yield from ask("stage", self._flyer)
        if staged is None:
            return None
        engine, budget = self._flyer.engine, self._limits.budget
        self._settling, self._current_na = engine.settling, float(engine.current_na)
        self._dose0 = self._dose_before = self._flyer.dose_nc
        cap_s = budget.cap_nc / self._current_na if budget.limited and self._current_na > 0 else 0.0
        yield from ask("configure", self._flyer, {"real_time": cap_s, "visits": self._chooser.revisits})
        yield Msg("declare_stream", None, self._flyer, name="primary", collect=True)
        return staged

    def _ask(self, command: str, *arguments: Any) -> Generator[Msg, Any, Any]:
        """Give the flyer a message, waiting for hardware that is away."""
        return (yield from until_answered(partial(ask, command, self._flyer, *arguments), away.AWAY_S))

    def _leave(self) -> Generator[Msg, Any, None]:
        """Stop the hardware, record what is measured, and let the flyer go."""
        for command in ("stop", "unstage"):
            try:
                yield from ask(command, self._flyer)
            except DeviceAwayError as error:
                _log.error("%s does not %s: %s", self._flyer.name, command, error)
            if command == "stop":
                yield from self._collect()

    def _visit_all(self) -> Generator[Msg, Any, Ending]:
        following = yield from self._visit(None, self._chooser.next_decision(0), None)
        while True:
            running, began = following, perf_counter()
            if running is not None:
                self._dose_before = self._flyer.dose_nc
                status = yield from self._ask("kickoff")
                yield from until_done(status)
                yield Msg("checkpoint")
            carry, self._carry = self._carry, None
            work = self._chooser.next_decision(0 if carry is None else len(carry))
            following = yield from self._visit(running, work, carry)
            if running is not None:
                yield from self._after(running, began)
                if self._points.too_many_failed:
                    return Ending(self._points.too_many_failed, failed=True)
            elif following is None and self._carry is None and not len(self._chooser.rows):
                return Ending(self._reason or "nothing is left to suggest")

    def _visit(
        self, running: PointList | None, work: "Future[Decision]", carry: PointList | None
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
                if following is not None and self._drawing is None and self._run.map_is_due:
                    self._drawing = self._run.begin_draw()  # of the state that the decision was made from
            yield from self._record_drawn()
            over = status is None or status.done
            if over and decided:
                break
            yield from self._news(None if over else status, self._drawing if decided else work)
            yield from self._collect()
            if not over and perf_counter() > limit:
                yield from self._ask("stop")
        yield from self._collect()
        return following

    def _patience_s(self, running: PointList | None) -> float:
        more = self._limits.timeout_s if self._limits.timeout_s is not None else PATIENCE_S
        return more + (3.0 * running.hardware_s(self._settling) if running is not None else 0.0)

    def _news(self, status: Any, work: "Future[Any] | None") -> Generator[Msg, Any, None]:
        """Wait for rows, the end of the list, or the work in the agent's thread."""

        async def heard() -> None:
            loop = asyncio.get_running_loop()
            event = asyncio.Event()

            def wake(*_: Any) -> None:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(event.set)

            if status is not None:
                self._flyer.on_news(wake)
            if work is not None:
                work.add_done_callback(wake)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), 1.0)

        yield Msg("wait_for", None, [heard])

    def _collect(self) -> Generator[Msg, Any, None]:
        if self._flyer.n_ready:
            began = perf_counter()
            yield Msg("collect", self._flyer, name="primary", return_payload=False)
            yield Msg("checkpoint")
            self._flyer.settled()
            self._times.add("journal", began)

    def _record_drawn(self) -> Generator[Msg, Any, None]:
        """Record the map that was begun, once it is there: neither the hardware nor its rows wait for it.

        What is not there when the last list ends is left to the run's last map.
        """
        if self._drawing is not None and self._drawing.done():
            drawn, self._drawing = self._drawing.result(), None
            yield from self._run.record_drawn(drawn)

    # ---- from a decision to a list that is loaded

    def _load(
        self, decision: Decision, carry: PointList | None, running: PointList | None
    ) -> Generator[Msg, Any, PointList | None]:
        self._reason = self._reason or decision.reason
        if decision.news is not None:
            yield from self._run.record_phases(decision.news)
        parts = [] if carry is None or self._chooser.closed else [carry]
        if decision.suggestions:
            yield from self._chooser.record(decision)
            adaptive = getattr(self._run.eds, "stop_rule", None) is not None
            planned = self._flyer.dwell_of_counts_s if adaptive else None  # where the sampler plans doses
            most = self._limits.dwell_s or inf
            parts.append(decision.points(self._run.agent.grid, self._first_pass_s(), planned, most))
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

    def _first_pass_s(self) -> float:
        """Real time that a pixel gets first, s."""
        adaptive = getattr(self._run.eds, "stop_rule", None) is not None
        fixed = float(self._limits.dwell_s or self._quantum_s)
        dwell = self._flyer.first_pass_s(self._quantum_s) if adaptive else fixed
        if self._limits.budget.limited and self._current_na > 0:
            dwell = min(dwell, self._limits.budget.cap_nc / self._current_na)
        return dwell

    def _affordable(self, points: PointList, running: PointList | None) -> PointList | None:
        """Return as much of a list as the run's budget of dose bears; what does not fit is not measured."""
        most = self._limits.budget.run_nc
        if not isfinite(most) or self._current_na <= 0:
            return points
        ahead = 0.0 if running is None else float(running.dwell_s.sum())
        left = most - (self._dose_before - self._dose0) - MARGIN * self._current_na * ahead
        n = int(np.searchsorted(np.cumsum(MARGIN * self._current_na * points.dwell_s), left, side="right"))
        if n == len(points):
            return points
        self._chooser.closed = True
        self._reason = self._reason or (
            f"the dose budget of the run, {most:g} nC, has {max(left, 0.0):.3g} nC left, "
            f"not enough for a list of {len(points)} points"
        )
        self._chooser.give_up(int(pixel) for pixel in points.pixels[n:])
        return points.take(np.arange(n)) if n else None

    # ---- what a list leaves behind

    def _after(self, done: PointList, began: float) -> Generator[Msg, Any, None]:
        """Take over what is undecided or was missed; what was missed too often has failed."""
        undecided, missed, lost = self._flyer.undecided, self._flyer.missed, self._flyer.lost
        dwell = np.array(done.dwell_s)
        for index in undecided:
            dwell[index] = self._flyer.next_pass_s(int(done.pixels[index]))
        again = list(undecided)
        for index, why in missed.items():
            pixel = int(done.pixels[index])
            self._missed[pixel] += 1
            if self._missed[pixel] < (TRIES_LOST if index in lost else TRIES):
                again.append(index)
                continue
            self._flyer.forget(pixel)
            visit = 0 if done.visit is None else int(done.visit[index])
            self._point.choose(Suggestion(pixel, float(done.erd[index]), visit=visit))
            yield from self._points.fail(why, [self._point])
            if self._points.too_many_failed:
                return
        if missed:
            if self._flyer.trouble:
                yield from blank_at_last(self._run.beam)
            yield Msg("checkpoint")
            yield Msg("sleep", None, TRIP_PAUSE_S)
        if again and not self._chooser.closed:
            self._carry = done.with_dwell(dwell).take(np.array(sorted(again), np.int64))
        wall, hardware = perf_counter() - began, done.hardware_s(self._settling)
        self._chooser.point_s = hardware / len(done)
        self._times.put("list", wall)
        self._times.put("hardware", hardware)
        self._times.put("overhead", (wall - hardware) / len(done))
