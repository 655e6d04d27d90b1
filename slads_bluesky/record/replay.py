"""Re-emitting the documents of a run, as they came and as fast as they came."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from slads_bluesky.errors import ConfigError

__all__ = ["replay"]

Callback = Callable[[str, dict[str, Any]], Any]


def replay(
    documents: Iterable[tuple[str, dict[str, Any]]],
    callbacks: Sequence[Callback],
    speed: float | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Emit documents to callbacks (BestEffortCallback, LiveTable, a live map) with the pauses between them.

    Parameters
    ----------
    documents : iterable of (name, document)
        As `RecordedRun.documents` gives them.
    callbacks : sequence of callable
        Each takes every document, in this order.
    speed : float, optional
        Times as fast as they came; None for no pauses at all.
    sleep : callable
        Waits for a number of seconds.

    Returns
    -------
    int
        Documents emitted.

    Raises
    ------
    ConfigError
        If the speed is not positive.
    """
    if speed is not None and not speed > 0:
        raise ConfigError(f"speed must be positive, not {speed:g}")
    began = time.monotonic()
    first: float | None = None
    n = 0
    for name, doc in documents:
        if speed is not None and "time" in doc:
            first = doc["time"] if first is None else first
            ahead = (doc["time"] - first) / speed - (time.monotonic() - began)
            if ahead > 0:
                sleep(ahead)
        for callback in callbacks:
            callback(name, doc)
        n += 1
    return n
