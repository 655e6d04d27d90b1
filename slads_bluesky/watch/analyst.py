"""What a map's own sampler makes of the points so far: reconstruction, expected error, distortion with interval.

The sampler is made again from the start document, as a replay makes it, and takes the labels that the journal holds.
It computes in a thread, for no more than a part of the time, so that a page over a large map stays responsive.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import SladsError
from ..images.labels import fill_from_nearest
from ..protocols import UNCLASSIFIED, UNMEASURED
from .following import MapFollower

__all__ = ["CurvePoint", "MapAnalyst", "Snapshot"]

_log = logging.getLogger(__name__)
SHARE = 0.25
"""Part of its time that the thread may compute."""
CATCH_UP = 0.7
"""Of a map that is over already: nobody waits for the machine."""
STEPS = 24
"""Points of the distortion curve of a map that is over already."""
POLL_S = 0.1


class CurvePoint(NamedTuple):
    """One point of the distortion curve."""

    n: int
    """Pixels measured."""
    seconds: float
    dose_nc: float
    distortion: float
    """Estimated total distortion, a fraction; NaN before there is an estimate."""
    low: float
    """Interval that holds it with a probability of 0.9; NaN without one."""
    high: float


class Snapshot(NamedTuple):
    """The map as the sampler sees it now."""

    n: int
    """Points that it knows."""
    reconstruction: NDArray[np.uint8]
    """(rows, columns)."""
    expected_error: NDArray[np.float32] | None
    """(rows, columns): see `kind`; None for a sampler that expects nothing."""
    kind: str
    """``probability`` of a wrong label, or ``erd``: expected reduction in distortion, pixels."""


class MapAnalyst:
    """Computes snapshots and the distortion curve of a followed map.

    Parameters
    ----------
    follower : MapFollower
    models : sequence of Path
        Folders in which the run's sampler model is looked for.
    share : float
        Part of its time that it may compute.
    """

    def __init__(self, follower: MapFollower, models: Sequence[Path], share: float = SHARE) -> None:
        self.snapshot: Snapshot | None = None
        self.curve: list[CurvePoint] = []
        """Rising in `n`."""
        self.version = 0
        """Rises with each snapshot."""
        self.problem = ""
        """Why there is no more than the nearest labels; empty if there is."""
        self._follower, self._models, self._share = follower, list(models), share
        self._sampler: Any = None
        self._made = False
        self._done = self._found = 0
        self._given = np.full(
            follower.state.grid.shape[0] * follower.state.grid.shape[1], UNMEASURED, np.int16
        )
        """(pixels,) the label of each that the sampler was given last."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"analyse-{follower.uid[:8]}", daemon=True)

    def start(self) -> None:
        """Begin to compute."""
        self._thread.start()

    def close(self) -> None:
        """End; a computation that has begun is waited for."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def step(self) -> bool:
        """Compute what is new, if it is worth it; whether something was."""
        state, follower = self._follower.state, self._follower
        n = state.points.n
        if not self._news:
            return False
        if not self._made:
            self._sampler, self._made = self._rebuilt(), True
        # of a map that is read back, some points of the curve; of a growing one, each few new points
        gap = max(n // STEPS, 1) if follower.over else max(self._done // 50, 1)
        target = min(self._done + gap, n)
        if n - target < gap // 2 or not (follower.over or self.behind):
            target = n
        self._take(target)
        return True

    @property
    def _news(self) -> bool:
        """Whether there are points, or phases, that the sampler does not know."""
        state = self._follower.state
        return state.points.n > self._done or (state.points.n > 0 and state.n_found != self._found)

    @property
    def behind(self) -> bool:
        """Whether many points wait, as when a page is opened in mid-run."""
        return self._follower.state.points.n > 4 * max(self._done, 16)

    def _rebuilt(self) -> Any:
        from ..record.resume import find_sampler_model, rebuild_agent

        start = self._follower.state.start_doc
        try:
            return rebuild_agent(start, find_sampler_model(start, *self._models)).sampler
        except SladsError as error:
            self.problem = str(error)
        except Exception as error:  # a model of a version that this program no longer reads
            _log.exception("the sampler of run %s cannot be made again", self._follower.uid)
            self.problem = f"{type(error).__name__}: {error}"
        return None

    def _take(self, target: int) -> None:
        state = self._follower.state
        points = state.points
        self._found = state.n_found
        pixels = points.column("pixel", target)
        # of a run that finds its phases, a search may have changed what earlier pixels are thought to be
        votes = state.measured.flat[pixels] if state.finds_phases else points.column("vote", target)
        sampler = self._sampler
        if sampler is None:
            seen = np.zeros(state.grid.shape, np.uint8)
            seen.flat[pixels] = np.maximum(votes, 0)
            self._done = target
            if (seen > UNCLASSIFIED).any():
                filled = fill_from_nearest(seen.copy(), seen == UNCLASSIFIED)
                self.snapshot = Snapshot(target, filled, None, "probability")
                self.version += 1
            return
        for i in np.flatnonzero(self._given[pixels] != votes):
            sampler.ingest(int(pixels[i]), int(votes[i]))
        self._given[pixels] = votes
        self._done = target
        error, kind = _expected_error(sampler)
        self.snapshot = Snapshot(target, sampler.reconstruct(), error, kind)
        low = high = math.nan
        if hasattr(sampler, "distortion_interval"):
            low, high = sampler.distortion_interval(0.9)
        self.curve.append(
            CurvePoint(
                target,
                float(points.column("seconds")[target - 1]),
                float(points.column("dose_nc")[target - 1]),
                float(sampler.distortion_estimate()),
                float(low),
                float(high),
            )
        )
        self.version += 1

    def _work(self) -> None:
        while not self._closing.is_set():
            began = time.thread_time()
            try:
                worked = self.step()
            except Exception as error:
                _log.exception("the map of run %s cannot be analysed", self._follower.uid)
                self.problem = f"{type(error).__name__}: {error}"
                return
            if not worked and self._follower.over and not self._news:
                return
            took = time.thread_time() - began
            share = CATCH_UP if self._follower.over else self._share
            self._closing.wait(POLL_S if not worked else min(max(took * (1 / share - 1), 0.02), 5.0))


def _expected_error(sampler: Any) -> tuple[NDArray[np.float32] | None, str]:
    """What a sampler expects where nothing is measured: the probability of a wrong label, or its ERD."""
    if hasattr(sampler, "prediction") and (sampler.measured > 0).any():
        if sampler.uses_network:
            return 1.0 - np.asarray(sampler.prediction().probability, np.float32), "probability"
        return None, "probability"
    if hasattr(sampler, "erd_map"):
        return sampler.erd_map(), "erd"
    return None, "probability"
