"""How much memory this process has taken."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["peak_rss_mb"]


def peak_rss_mb() -> float:
    """Most memory that this process has held at once, in MiB.

    Of this program alone: `resource.getrusage` tells a child process the peak of the one that started it.
    """
    status = Path("/proc/self/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else float("nan")
