"""How much memory this process has taken, and when Python looks for what it no longer needs."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["collect_rarely", "collection_paused", "peak_rss_mb"]

_YOUNG_OBJECTS = 50_000
"""After so many new objects of `collect_rarely` Python looks for cycles among them; 700 by default."""


def peak_rss_mb() -> float:
    """Most memory that this process has held at once, in MiB.

    Of this program alone: `resource.getrusage` tells a child process the peak of the one that started it.
    """
    status = Path("/proc/self/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else float("nan")


@contextmanager
def collection_paused() -> Iterator[None]:
    """Make no search for unreachable cycles while large packages are imported, which make objects that all stay.

    Some hundred searches take a fifth of the time of the imports. Nested uses and a collector that is off already
    are left as they are.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def collect_rarely() -> None:
    """Let this process search for unreachable cycles less often: for one that imports what its command needs."""
    gc.set_threshold(_YOUNG_OBJECTS)
