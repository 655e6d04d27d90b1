"""A progress bar for a map: samples, estimated distortion, points per second, time left."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ..streams import StreamRouter

__all__ = ["MapProgress"]


class MapProgress(StreamRouter):
    """Document callback that draws one line while a map grows.

    Parameters
    ----------
    estimate : callable
        Gives the estimated distortion of the map as it stands (NaN: none); asked twice a second at most.
    console : rich.console.Console, optional
        Where to draw; nothing is drawn on one that is not a terminal.
    """

    def __init__(self, estimate: Callable[[], float], console: Console | None = None) -> None:
        super().__init__()
        self._estimate = estimate
        self._console = console or Console(stderr=True)
        self._bar: Progress | None = None
        self._start_time = 0.0
        self._shown = -math.inf
        self._n = 0

    def stream_event(self, stream: str, doc: dict[str, Any]) -> None:
        """Take a point."""
        if stream == "primary":
            self._n += 1
            self._draw(doc["time"])

    def stop(self, doc: Any) -> None:
        """Draw the last line."""
        if self._bar is not None:
            self._shown = -math.inf
            self._draw(doc["time"])
            self._bar.stop()
            self._bar = None

    def start(self, doc: Any) -> None:
        """Begin with a run."""
        self._n, self._shown, self._start_time = 0, -math.inf, doc["time"]
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=self._console,
            refresh_per_second=2,
            disable=not self._console.is_terminal,
        )
        self._bar.add_task("mapping", total=doc.get("num_points") or None, figures="")
        self._bar.start()

    def _draw(self, time: float) -> None:
        if self._bar is None or time - self._shown < 0.5:
            return
        self._shown = time
        rate = self._n / max(time - self._start_time, 1e-6)
        distortion = self._estimate()
        figures = f"{self._n} points  {rate:.0f}/s"
        if math.isfinite(distortion):
            figures += f"  distortion ≈ {distortion:.4f}"
        self._bar.update(self._bar.task_ids[0], completed=self._n, figures=figures)
