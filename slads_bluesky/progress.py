"""Progress of whatever lasts: one signature for the callback, and a bar on stderr where a person looks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Progress", "no_progress", "part_of", "tracker"]

Progress = Callable[[str, float], None]
"""Called as ``progress(stage, fraction)``: the name of the stage, and the fraction of it that is done, 0 … 1."""

SHOWN_AFTER_S = 2.0
"""Work that ends sooner shows no bar."""


def no_progress(stage: str, fraction: float) -> None:
    """Show nothing: the default of every ``progress`` argument."""


def part_of(progress: Progress, begin: float, end: float, stage: str | None = None) -> Progress:
    """Progress of a part of a longer work.

    Parameters
    ----------
    progress : callable
        Of the whole work.
    begin, end : float
        Fractions of the whole, 0 … 1, between which the part lies.
    stage : str, optional
        Name that is reported instead of the part's own.

    Returns
    -------
    callable
        The ``progress`` of the part.

    Examples
    --------
    >>> shown = []
    >>> part_of(lambda stage, done: shown.append((stage, done)), 0.5, 1.0)("features", 0.5)
    >>> shown
    [('features', 0.75)]
    """
    return lambda own, done: progress(own if stage is None else stage, begin + (end - begin) * done)


@contextmanager
def tracker(name: str) -> Iterator[Progress]:
    """Give a ``progress`` that draws a bar once two seconds have passed; none where stderr is not a terminal.

    Parameters
    ----------
    name : str
        Shown before the name of the stage.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    task = bar.add_task(escape(name), total=1.0)
    begun = shown = time.monotonic()
    running = False

    def progress(stage: str, fraction: float) -> None:
        nonlocal running, shown
        now = time.monotonic()
        if not running and now - begun > SHOWN_AFTER_S:
            bar.start()
            running = True
        if running and (now - shown > 0.1 or fraction >= 1):
            title = name if stage in ("", name) else f"{name}: {stage}"
            bar.update(task, completed=fraction, description=escape(title))
            shown = now

    try:
        yield progress
    finally:
        if running:
            bar.stop()
