"""The adaptive map: suggest, move, acquire, record, learn from what was recorded, and again.

The order of a point is that of ARCHITECTURE.md, "The way of one pixel". The agent learns from the Event that was
emitted, so what it knows is what the journal holds, whatever was paused, resumed or repeated in between.
"""

from collections.abc import Generator, Mapping, Sequence
from time import perf_counter
from typing import Any, Literal

from bluesky.utils import Msg

from slads_bluesky.protocols import Agent, Beam, Detector, StopRule, Suggestion

from .arguments import must_be
from .budget import DoseBudget
from .ledger import Ledger
from .maprun import MapRun
from .readables import ScanPoint
from .run import MAX_FAILED_POINTS, Ending, Limits
from .stubs import in_thread

__all__ = ["adaptive_map"]


def adaptive_map(
    beam: Beam,
    eds: Detector,
    agent: Agent,
    *,
    baseline: Sequence[Any] = (),
    dwell_s: float | None = 10.0,
    map_every: int | None = None,
    timeout_s: float | None = None,
    tolerance_um: float | None = None,
    budget: DoseBudget | None = None,
    stop_rule: StopRule | Literal["detector"] | None = "detector",
    max_failed_points: int = MAX_FAILED_POINTS,
    suspenders: Sequence[Any] = (),
    ledger: Ledger | None = None,
    md: Mapping[str, Any] | None = None,
    flyer: Any = None,
    batch: int | float | str = "auto",
    quantum_s: float = 1e-3,
    image: Any = None,
) -> Generator[Msg, Any, str]:
    """Map a specimen adaptively: one run, until the agent is done.

    Parameters
    ----------
    beam : Beam
        ``set((x, y))`` in µm moves it blanked; its ``blanker`` takes True and False.
    eds : Detector
        Its ``trigger`` acquires and classifies; its keys are those of ``agent.keys``.
    agent : Agent
        Decides where to measure, and when the map is done.
    baseline : sequence of Readable
        Settings of the microscope, read before the first point and after the last into the stream ``baseline``.
    dwell_s : float, optional
        Live time of each spectrum in s, given to ``eds.configure``; None leaves the detector's presets alone.
    map_every : int, optional
        Points between two records of the map in the stream ``map``: None for one at each doubling of the number
        of points, 0 for none but the final one.
    timeout_s : float, optional
        How long an acquisition may take, s; by default 5 s and three times the dwell, with a stop rule three times
        the longest real time so far. The beam is blanked then, and the point is tried once more.
    tolerance_um : float, optional
        How far from its pixel the beam's position may be read back; a point measured elsewhere fails. By default the
        beam's own, or a quarter of the distance between pixels.
    budget : DoseBudget, optional
        What the specimen may take: the run stops before it is exceeded, and its stop document gives the reason.
    stop_rule : StopRule, None or "detector"
        Ends each acquisition as soon as its spectrum suffices; None for none; by default the detector's own.
    max_failed_points : int
        A point that fails twice is recorded in the stream ``failed`` and passed over; one more than this of them
        end the run.
    suspenders : sequence of suspenders
        Installed while the plan runs; see `plans.suspend`.
    ledger : Ledger, optional
        Takes how long the steps of each point took; its summary becomes the stream ``ledger``.
    md : mapping, optional
        Added to the start document.
    flyer : FlyerLike, optional
        With it points are visited in lists, at the hardware's own pace; see `plans.fly.adaptive_lists`.
    batch, quantum_s
        Of such lists; not looked at without a flyer.
    image : Readable, optional
        A backscatter detector such as `devices.BSEDetector`, which scans a frame of the grid before the first point,
        or a frame that there is already (`plans.frame.GivenFrame`). It is recorded in the stream ``image``, and the
        agent uses it as far as it helps.

    Returns
    -------
    str
        Why the map ended, as in the stop document.

    Raises
    ------
    ConfigError
        If the beam has no blanker, dwell, map_every or max_failed_points are negative, or the agent has measured
        pixels of another map that `md` does not name as ``resumes``.
    InstrumentError
        If the grid does not lie in the field, or too many points failed.

    Examples
    --------
    Map 5 % of a simulated solder, without EPICS, and keep the documents in a journal:

    >>> from bluesky import RunEngine
    >>> from slads_bluesky import LearnedSampler, PhaseClassifier, ScanGrid, SladsAgent, adaptive_map
    >>> from slads_bluesky.devices.sim.soft import soft_microscope
    >>> from slads_bluesky.phantom import make_object
    >>> from slads_bluesky.record import Journal
    >>> grid = ScanGrid((32, 32))
    >>> agent = SladsAgent(grid, LearnedSampler(grid.shape, labels=2), n_labels=2, fraction=0.05)
    >>> classifier = PhaseClassifier.from_compositions({"Pb-Sn": {"Pb": 0.38, "Sn": 0.62}, "Sn": "Sn"})
    >>> beam, eds, sem = soft_microscope(make_object("pbsn-32"), classifier)
    >>> RE = RunEngine()
    >>> with Journal("record/journal") as journal:
    ...     _ = RE.subscribe(journal)
    ...     _ = RE(adaptive_map(beam, eds, agent, baseline=[sem], dwell_s=0.1, md={"sample": "solder"}))
    >>> agent.n_measured, agent.stop_reason
    (51, 'the wanted fraction of 0.05 is measured')
    """
    must_be("adaptive_map", "agent", agent, Agent)
    must_be("adaptive_map", "eds", eds, Detector)
    if flyer is not None:
        from .fly import adaptive_lists

        return (
            yield from adaptive_lists(
                flyer, beam, eds, agent, batch=batch, quantum_s=quantum_s, baseline=baseline, dwell_s=dwell_s,
                map_every=map_every, timeout_s=timeout_s, budget=budget, stop_rule=stop_rule,
                max_failed_points=max_failed_points, suspenders=suspenders, ledger=ledger, md=md, image=image,
            )
        )  # fmt: skip
    limits = Limits(
        dwell_s=dwell_s,
        timeout_s=timeout_s,
        tolerance_um=tolerance_um,
        budget=budget if budget is not None else DoseBudget(),
        max_failed_points=max_failed_points,
        stop_rule=stop_rule,
        classifier=getattr(agent, "detector_classifier", None),
    )
    run = MapRun(beam, eds, agent, limits, map_every=map_every, ledger=ledger, md=md, image=image)
    return (yield from run.run(_PointByPoint(run).body, {}, baseline=baseline, suspenders=suspenders))


class _PointByPoint:
    """The points of a map one after the other, each decided from all before it."""

    def __init__(self, run: MapRun) -> None:
        self._run = run
        self._point = ScanPoint(run.agent.grid, visits=getattr(run.agent, "revisits", False))
        self._expect = getattr(run.limits.rule_of(run.eds), "expect", None)
        self._news = getattr(run.agent, "news", None)  # an agent that finds the phases itself
        self._found: list[Mapping[str, Any]] = []

    def decide(self, event: Mapping[str, Any] | None) -> tuple[Suggestion | None, str]:
        """Ingest what was emitted, then choose the next pixel; or say why there is none."""
        began, run, agent = perf_counter(), self._run, self._run.agent
        if event is not None:
            run.ingest(event)
        reason = agent.stop_reason if agent.should_stop() else run.points.account.objection()
        if self._news is not None and (values := self._news()) is not None:
            self._found.append(values)
        chosen = None if reason else next(iter(agent.suggest(1)), None)
        if self._expect is not None and chosen is not None:
            self._expect(chosen.counts, chosen.prior)  # the dose of this point, where the sampler plans doses
        run.times.add("decide", began)
        return chosen, reason or ("" if chosen else "nothing is left to suggest")

    def body(self) -> Generator[Msg, Any, Ending]:
        """Take points until there is a reason to end."""
        run, points, point = self._run, self._run.points, self._point
        suggestion, reason = yield from in_thread(run.executor, lambda: self.decide(None))
        while suggestion is not None:
            event = yield from points.take(point.choose(suggestion), [point])
            if event is None:  # a dry run, which one point is enough for
                return Ending("a dry run", dry=True)
            suggestion, reason = yield from in_thread(run.executor, lambda event=event: self.decide(event))  # type: ignore[misc]
            if points.too_many_failed:
                return Ending(points.too_many_failed, failed=True)
            while self._found:
                yield from run.record_phases(self._found.pop(0))
            if suggestion is not None and run.map_is_due:
                yield from run.draw()
        return Ending(reason)
