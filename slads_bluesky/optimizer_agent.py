"""An optimizer of bluesky-adaptive as the agent of `adaptive_map`, so that it can be exchanged with SLADS.

`slads_bluesky.optimizer` is the other direction. Matched by structure; bluesky-adaptive need not be installed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ConfigError
from .grid import ScanGrid
from .images.labels import fill_from_nearest
from .protocols import UNCLASSIFIED, UNMEASURED, EventKeys, Suggestion

__all__ = ["OptimizerAgent"]

ID = "_id"
MOST_REPEATS = 100
"""Suggestions of pixels that are measured already, in a row, after which the optimizer counts as done."""


class OptimizerAgent:
    """Decides by an optimizer with ``suggest(num_points)`` and ``ingest(points)``.

    Parameters
    ----------
    grid : ScanGrid
        Where the pixels lie; a suggested position is measured at the nearest of them.
    optimizer : Optimizer
        See ``bluesky_adaptive.protocols``; its ``should_stop`` is asked where it has one.
    n_labels : int
        Phases, L.
    fraction : float
        Stop when this fraction of the grid's pixels was measured, 0 < fraction ≤ 1.
    axes : (str, str)
        Names of the optimizer's parameters along x and along y, in µm.
    outcome : callable, optional
        Makes the outcomes that the optimizer ingests of an Event's data; by default its label and verdict.
    keys : EventKeys, optional
        Where in an Event to look.
    """

    def __init__(
        self,
        grid: ScanGrid,
        optimizer: Any,
        *,
        n_labels: int,
        fraction: float,
        axes: tuple[str, str] = ("beam_x", "beam_y"),
        outcome: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
        keys: EventKeys | None = None,
    ) -> None:
        if not 0 < fraction <= 1:
            raise ConfigError(f"fraction must be above 0 and at most 1, not {fraction}")
        self._grid, self._optimizer, self._n_labels, self._axes = grid, optimizer, n_labels, axes
        self._fraction = fraction
        self._n_wanted = max(1, round(fraction * grid.n_pixels))
        self._keys = keys or EventKeys()
        self._outcome = outcome if outcome is not None else self._label
        self._measured: NDArray[np.int16] = np.full(grid.shape, UNMEASURED, np.int16)
        self._ids: dict[int, Hashable] = {}
        self._next: list[Suggestion] = []

    @property
    def grid(self) -> ScanGrid:
        """Where the pixels lie."""
        return self._grid

    @property
    def keys(self) -> EventKeys:
        """Where in an Event it looks."""
        return self._keys

    @property
    def n_measured(self) -> int:
        """Pixels ingested so far."""
        return int((self._measured != UNMEASURED).sum())

    @property
    def n_wanted(self) -> int:
        """Pixels that make the wanted fraction."""
        return self._n_wanted

    def suggest(self, n: int = 1) -> list[Suggestion]:
        """Up to `n` pixels to measure next; the same until something new is ingested."""
        repeats = 0
        while len(self._next) < n and repeats < MOST_REPEATS:
            points = self._optimizer.suggest(n - len(self._next))
            if not points:
                break
            for point in points:
                x, y = (float(point[axis]) for axis in self._axes)
                pixel = self._grid.pixel(x, y)
                known = {suggestion.pixel for suggestion in self._next}
                if self._measured.flat[pixel] != UNMEASURED or pixel in known:
                    repeats += 1
                    continue
                self._ids[pixel] = point.get(ID, pixel)
                self._next.append(Suggestion(pixel, math.nan))
        return self._next[:n]

    def ingest(self, event: Mapping[str, Any]) -> None:
        """Take an Event as it was emitted; the same pixel twice is passed to the optimizer once."""
        data, keys = event["data"], self._keys
        pixel, label, verdict = int(data[keys.pixel]), int(data[keys.label]), str(data[keys.verdict])
        first = self._measured.flat[pixel] == UNMEASURED
        self._measured.flat[pixel] = label if verdict == "ok" else UNCLASSIFIED
        self._next = [suggestion for suggestion in self._next if suggestion.pixel != pixel]
        if first:
            x, y = self._grid.position(pixel)
            own = {ID: self._ids[pixel]} if pixel in self._ids else {self._axes[0]: x, self._axes[1]: y}
            self._optimizer.ingest([{**own, **self._outcome(data)}])

    @property
    def stop_reason(self) -> str:
        """Why the map is done, empty while it is not."""
        if self.n_measured >= self._n_wanted:
            return f"the wanted fraction of {self._fraction:g} is measured"
        if hasattr(self._optimizer, "should_stop"):
            stop, reason = self._optimizer.should_stop()
            if stop:
                return str(reason or "the optimizer has finished")
        return "" if self.suggest(1) else "the optimizer suggests no new pixel"

    def should_stop(self) -> bool:
        """Whether the map is done."""
        return bool(self.stop_reason)

    def configuration(self) -> dict[str, Any]:
        """What the start document records; a replay needs the optimizer besides."""
        return {
            "agent": type(self).__name__,
            "optimizer": type(self._optimizer).__name__,
            "grid": self._grid.to_json(),
            "n_labels": self._n_labels,
            "fraction": self._fraction,
            "keys": asdict(self._keys),
        }

    def map_data(self) -> dict[str, Any]:
        """Record of the stream ``map``: labels of the nearest measured pixels; see `SladsAgent.map_data`."""
        labels = np.maximum(self._measured, UNCLASSIFIED).astype(np.uint8)
        return {
            "labels": np.maximum(fill_from_nearest(labels, labels == UNCLASSIFIED), 1),
            "measured": self._measured.copy(),
            "n_measured": self.n_measured,
            "fraction": self.n_measured / self._grid.n_pixels,
            "distortion_estimate": math.nan,
        }

    def _label(self, data: Mapping[str, Any]) -> dict[str, Any]:
        return {"label": int(data[self._keys.label]), "verdict": str(data[self._keys.verdict])}
