"""Which pixels a list has: an agent in a thread of its own, one list behind the hardware.

What was emitted is ingested before each decision. The stream ``lists`` records what was chosen and how much was known
then, so that a replay can make each decision again from the state that it was made from.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from math import inf
from time import perf_counter
from typing import Any

import numpy as np
from bluesky.utils import Msg

from slads_bluesky.grid import ScanGrid
from slads_bluesky.pointlist import PointList
from slads_bluesky.protocols import Suggestion
from slads_bluesky.streams import StreamRouter

from .batches import suggest_besides, until_new, visits_of
from .maprun import MapRun
from .readables import MapReadable
from .stubs import record

__all__ = ["Decision", "ListChooser"]


@dataclass
class Decision:
    """What was decided for a list, and from which state."""

    number: int
    seen: int
    """Pixels that were known then; where pixels may be visited again, visits."""
    asked: int
    suggestions: list[Suggestion]
    reason: str
    """Why the map ends, if it does."""
    news: Mapping[str, Any] | None = None
    """What the stream ``phases`` records, if an agent that finds the phases itself has found any."""

    def points(
        self,
        grid: ScanGrid,
        dwell_s: float,
        planned_s: Callable[[int], float] | None = None,
        most_s: float = inf,
    ) -> PointList:
        """Return the list of what was chosen.

        Parameters
        ----------
        grid : ScanGrid
        dwell_s : float
            Real time of each point, s.
        planned_s : callable, optional
            Gives the real time of so many counts, s, or NaN: for points with planned counts, which then have no
            other pass.
        most_s : float
            Longest dwell of those.
        """
        n = len(self.suggestions)
        counts = np.array([0 if planned_s is None else s.counts for s in self.suggestions], np.int64)
        planned = np.array([planned_s(int(c)) if planned_s and c else np.nan for c in counts])
        counts[np.isnan(planned)] = 0  # nothing is known of the rate yet
        dwells = np.where(counts > 0, np.minimum(planned, most_s), dwell_s)
        pixels = np.array([s.pixel for s in self.suggestions], np.int64)
        at = np.array([grid.position(int(pixel)) for pixel in pixels])
        places = np.array([grid.row_column(int(pixel)) for pixel in pixels], np.int64)
        return PointList(
            at[:, 0].copy(), at[:, 1].copy(), dwells, pixels, places[:, 0].copy(), places[:, 1].copy(),
            np.array([s.erd for s in self.suggestions], np.float64), np.full(n, self.number, np.int64),
            np.array([s.visit for s in self.suggestions], np.int64), counts,
        )  # fmt: skip


class _Rows(StreamRouter):
    """Keeps the rows of some streams as they were emitted, without spectra where nobody looks at them."""

    def __init__(self, spectrum: str | None, *streams: str) -> None:
        super().__init__()
        self._spectrum, self._streams = spectrum, streams
        self._events: list[dict[str, Any]] = []

    def stream_event(self, stream: str, doc: dict[str, Any]) -> None:
        """Take an event."""
        if stream in self._streams:
            data = {key: value for key, value in doc["data"].items() if key != self._spectrum}
            self._events.append({"seq_num": doc["seq_num"], "data": data})

    def __len__(self) -> int:
        return len(self._events)

    def take(self) -> list[dict[str, Any]]:
        """Return what came since, and forget it."""
        events, self._events = self._events, []
        return events


class ListChooser:
    """Chooses the pixels of one list after the other.

    Parameters
    ----------
    run : MapRun
    size : callable
        Points of the next list, from the number of pixels known and of all; see `plans.batches.batch_size`.

    Attributes
    ----------
    rows : StreamRouter
        To be subscribed to the documents of the run.
    closed : bool
        Set once no further pixel may be chosen.
    revisits : bool
        Whether the agent may choose pixels again; their visits are numbered.
    point_s : float
        What the hardware needed for a point of the last list, s; 0 before the first.
    """

    def __init__(self, run: MapRun, size: Callable[[int, int], int]) -> None:
        self._run, self._size = run, size
        agent, n_pixels = run.agent, run.agent.grid.n_pixels
        most = getattr(size, "most", None)
        self._most = most(n_pixels) if most is not None else max(size(0, n_pixels), size(n_pixels, n_pixels))
        self.point_s = 0.0
        self.rows = _Rows(
            None if getattr(agent, "needs_spectra", False) else agent.keys.spectrum, "primary", "failed"
        )
        self.closed = False
        self.revisits = bool(getattr(agent, "revisits", False))
        self._pending: dict[int, int] = {}  # chosen and not ingested yet, with the number of visits before
        self._number = 0
        self._lists = MapReadable("lists")

    def next_decision(self, taken: int) -> "Future[Decision]":
        """Decide, in the agent's thread, for a list in which `taken` places are taken already."""
        return self._run.executor.submit(self._decide, self.rows.take(), taken)

    def give_up(self, pixels: Iterable[int]) -> None:
        """Take it that these will not be measured."""
        for pixel in pixels:
            self._pending.pop(pixel, None)

    def _decide(self, events: Sequence[Mapping[str, Any]], taken: int) -> Decision:
        began, agent = perf_counter(), self._run.agent
        for event in events:
            self._run.ingest(event)
            self._pending.pop(int(event["data"][agent.keys.pixel]), None)
        seen = visits_of(agent)
        reason = agent.stop_reason if agent.should_stop() else ""
        asked = self._size(seen, agent.grid.n_pixels) - taken
        wanted = getattr(agent, "n_wanted", None)
        if wanted is not None and not self.revisits:
            asked = min(asked, wanted - seen - len(self._pending))
        found: list[Suggestion] = []
        if not reason and not self.closed and asked > 0:
            found = suggest_besides(agent, asked, set(self._pending))
            if self.revisits and wanted is not None:
                pending = sum(visit == 0 for visit in self._pending.values())
                found = until_new(found, wanted - agent.n_measured - pending)
            if not found and not self._pending:
                reason = "nothing is left to suggest"
        self._pending.update((s.pixel, s.visit) for s in found)
        self._number += 1
        took = self._run.times.add("decide", began) - began
        if hasattr(self._size, "took"):
            self._size.took(took, self.point_s)
        news = getattr(agent, "news", None)
        return Decision(self._number, seen, asked, found, reason, None if news is None else news())

    def record(self, decision: Decision) -> Generator[Msg, Any, None]:
        """Record which pixels were chosen, and how much was known then: what a replay compares."""
        pixels = np.full(self._most, -1, np.int32)
        pixels[: len(decision.suggestions)] = [s.pixel for s in decision.suggestions]
        self._lists.take(
            {
                "number": decision.number, "seen": decision.seen, "asked": decision.asked,
                "n": len(decision.suggestions), "pixels": pixels,
            }
        )  # fmt: skip
        yield from record("lists", [self._lists])
