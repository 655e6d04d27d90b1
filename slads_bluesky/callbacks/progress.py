"""A progress bar for a run: points, points per second, time left; for a map its estimated distortion as well."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ..streams import StreamRouter

__all__ = ["MapProgress"]


class MapProgress(StreamRouter):
    """Document callback that draws one line while a run grows.

    Parameters
    ----------
    estimate : callable
        Gives the estimated distortion of the map as it stands (NaN: none); asked twice a second at most, and only in
        runs that an agent drives.
    console : rich.console.Console, optional
        Where to draw; nothing is drawn on one that is not a terminal.
    """

    def __init__(self, estimate: Callable[[], float], console: Console | None = None) -> None:
        super().__init__()
        self._estimate = estimate
        self._console = console or Console(stderr=True)
        self._lock = threading.RLock()  # documents come from the plan's thread, pauses from the prompt's
        self._bar: Progress | None = None
        self._is_map = False
        self._start_time = 0.0
        self._shown = -math.inf
        self._n = 0

    def start(self, doc: Any) -> None:
        """Begin with a run."""
        with self._lock:
            self._end()
            self._n, self._shown, self._start_time = 0, -math.inf, doc["time"]
            self._is_map = "grid" in doc and "agent" in doc
            title = "mapping" if self._is_map else escape(str(doc.get("plan_name") or "run"))
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
            self._bar.add_task(title, total=doc.get("num_points") or None, figures="")
            self._bar.start()

    def stream_event(self, stream: str, doc: dict[str, Any]) -> None:
        """Take a point."""
        if stream == "primary":
            with self._lock:
                self._n += 1
                self._draw(doc["time"])

    def stop(self, doc: Any) -> None:
        """Draw the last line."""
        with self._lock:
            self._shown = -math.inf
            self._draw(doc["time"])
            self._end()

    def pause(self) -> None:
        """Leave the terminal to the prompt."""
        with self._lock:
            if self._bar is not None:
                self._bar.stop()

    def resume(self) -> None:
        """Draw again, below what was typed meanwhile."""
        with self._lock:
            if self._bar is not None:
                self._bar.start()

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _draw(self, time: float) -> None:
        if self._bar is None or time - self._shown < 0.5:
            return
        self._shown = time
        rate = self._n / max(time - self._start_time, 1e-6)
        figures = f"{self._n} points  {rate:.0f}/s"
        distortion = self._estimate() if self._is_map else math.nan
        if math.isfinite(distortion):
            figures += f"  distortion ≈ {distortion:.4f}"
        self._bar.update(self._bar.task_ids[0], completed=self._n, figures=figures)
