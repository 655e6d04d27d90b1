"""What an adaptive map has around its points, whether they come one by one or in lists: an agent, maps, one run."""

from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

from bluesky.utils import Msg

from slads_bluesky.errors import ConfigError
from slads_bluesky.protocols import Agent, Beam, Detector

from .frame import check_image, image_argument, image_options
from .ledger import Ledger
from .readables import MapReadable
from .run import Ending, Limits, Points, check_fresh, one_run
from .start import start_document
from .stubs import in_thread, record

__all__ = ["Drawn", "MapRun"]


class Drawn(NamedTuple):
    """A map as the agent saw it at one moment, and the phases that it had found, if it finds them."""

    phases: Mapping[str, Any] | None
    map: Mapping[str, Any]


class MapRun:
    """One adaptive map: the agent in a thread of its own, the streams that it fills, and the run around the points.

    Parameters
    ----------
    beam, eds : Beam, Detector
    agent : Agent
    limits : Limits
    map_every, ledger, md, image
        As in `adaptive_map`.

    Attributes
    ----------
    points : Points
    executor : ThreadPoolExecutor
        One thread: the agent is asked by nobody else.
    times : Ledger

    Raises
    ------
    ConfigError
        If `map_every` is negative, the agent knows another map, or it cannot take the image.
    """

    def __init__(
        self,
        beam: Beam,
        eds: Detector,
        agent: Agent,
        limits: Limits,
        *,
        map_every: int | None = None,
        ledger: Ledger | None = None,
        md: Mapping[str, Any] | None = None,
        image: Any = None,
    ) -> None:
        if map_every is not None and map_every < 0:
            raise ConfigError(f"map_every must be 0 or more, not {map_every}")
        check_fresh(agent, md)
        check_image(agent, image)
        self.beam, self.eds, self.agent, self.limits = beam, eds, agent, limits
        self.times = ledger if ledger is not None else Ledger()
        self.points = Points(beam, eds, limits, agent.keys, self.times, min(agent.grid.step_um))
        self.executor = ThreadPoolExecutor(1, thread_name_prefix="slads-decide")
        self._map_every, self._md, self._image = map_every, md, image
        self._map, self._phases, self._ledger = (MapReadable(name) for name in ("map", "phases", "ledger"))
        self._ingested = self._next_map = 0

    def ingest(self, event: Mapping[str, Any]) -> None:
        """Let account and agent take an emitted Event."""
        self.points.account.book(event)
        self.agent.ingest(event)
        self._ingested += 1

    @property
    def finds_phases(self) -> bool:
        """Whether the agent finds the phases itself, and has a stream of them."""
        return hasattr(self.agent, "phases_data")

    @property
    def map_is_due(self) -> bool:
        """Whether enough was measured since the last map on record."""
        n = self._ingested if self._map_every else self.agent.n_measured
        return 0 < self._next_map <= n

    def draw(self) -> Generator[Msg, Any, None]:
        """Record the map as it stands, and count from here to the next."""
        self._map.take((yield from in_thread(self.executor, self.agent.map_data)))
        yield from record("map", [self._map])
        self._count_to_next_map()

    def begin_draw(self) -> "Future[Drawn]":
        """Begin to draw the map as it stands, in the agent's thread; `record_drawn` records it once it is there."""
        self._count_to_next_map()
        return self.executor.submit(
            lambda: Drawn(self.agent.phases_data() if self.finds_phases else None, self.agent.map_data())  # type: ignore[attr-defined]
        )

    def record_drawn(self, drawn: "Drawn") -> Generator[Msg, Any, None]:
        """Record a map that was drawn meanwhile, and before it the phases that it is made of."""
        if drawn.phases is not None:
            yield from self.record_phases(drawn.phases)
        self._map.take(drawn.map)
        yield from record("map", [self._map])

    def _count_to_next_map(self) -> None:
        self._next_map += self._map_every if self._map_every else self._next_map

    def record_phases(self, values: Mapping[str, Any] | None = None) -> Generator[Msg, Any, None]:
        """Record the phases that the agent has found; by default as they stand."""
        if values is None:
            values = yield from in_thread(self.executor, self.agent.phases_data)  # type: ignore[attr-defined]
        self._phases.take(values)
        yield from record("phases", [self._phases])

    def run(
        self,
        body: Callable[[], Generator[Msg, Any, Ending]],
        arguments: Mapping[str, Any],
        *,
        baseline: Sequence[Any] = (),
        suspenders: Sequence[Any] = (),
    ) -> Generator[Msg, Any, str]:
        """Make the run: the points of `body`, then the final phases and map, and how long the steps took.

        Parameters
        ----------
        body : callable
            Gives the plan that measures the points and returns how it ended; None where nobody runs the messages.
        arguments : mapping
            Of the plan, besides those that all maps have, for the start document.
        baseline, suspenders
            As in `adaptive_map`.

        Returns
        -------
        str
            Why the run ended.
        """
        every, n_pixels = self._map_every, self.agent.grid.n_pixels

        def whole() -> Generator[Msg, Any, Ending]:
            self._next_map = every if every is not None else max(2 * self.agent.n_measured, n_pixels // 50)
            ending = yield from body()
            if ending.dry:
                return ending
            if self.finds_phases:
                yield from self.record_phases()
            yield from self.draw()
            self._ledger.take(self.times.flat())
            yield from record("ledger", [self._ledger])
            return ending

        stated = {**self.limits.to_json(), "map_every": every, **arguments, **image_argument(self._image)}
        (y0, y1), (x0, x1) = self.agent.grid.extents_um
        rule = self.limits.rule_of(self.eds)
        try:
            return (
                yield from one_run(
                    self.points,
                    whole,
                    beam=self.beam,
                    eds=self.eds,
                    start=start_document(self.beam, self.eds, self.agent, stated, self._md, rule),
                    places=((x0, y0), (x1, y1)),
                    limits=self.limits,
                    baseline=baseline,
                    suspenders=suspenders,
                    **image_options(self._image, self.agent),
                )
            )
        finally:
            self.executor.shutdown(wait=False)
