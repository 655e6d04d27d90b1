"""A progress bar for whatever lasts longer than two seconds, on stderr and only where a person looks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["stage_tracker", "tracker"]

PATIENCE_S = 2.0


@contextmanager
def tracker(name: str, total: float) -> Iterator[Callable[[float], None]]:
    """Give a function that is told how much of `total` is done; a bar appears once two seconds have gone."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    task = bar.add_task(name, total=total)
    begun = shown = time.monotonic()
    running = False

    def advance(done: float) -> None:
        nonlocal running, shown
        now = time.monotonic()
        if not running and now - begun > PATIENCE_S:
            bar.start()
            running = True
        if running and (now - shown > 0.1 or done >= total):
            bar.update(task, completed=done)
            shown = now

    try:
        yield advance
    finally:
        if running:
            bar.stop()


@contextmanager
def stage_tracker(name: str) -> Iterator[Callable[[str, float], None]]:
    """Give a function that is told a stage's name and the part of it that is done, 0 … 1."""
    with tracker(name, 1.0) as advance:
        yield lambda stage, done: advance(done)
