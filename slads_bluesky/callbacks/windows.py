"""Windows that stay responsive while a plan runs, with any toolkit.

While a plan runs, the RunEngine holds the main thread. With Qt it runs Qt's loop there; with any other toolkit it
only waits, and windows would not be redrawn until the plan has ended.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from bluesky.utils import DefaultDuringTask

__all__ = ["ResponsiveWindows"]

EVERY_S = 0.05


class ResponsiveWindows(DefaultDuringTask):
    """What a RunEngine does while it waits for a plan: ``RunEngine(during_task=ResponsiveWindows())``."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def block(self, blocking_event: threading.Event) -> None:
        """Wait for the end of the plan; meanwhile process the events of the windows."""
        if _windows():
            while not blocking_event.wait(EVERY_S):
                for canvas in _windows():
                    canvas.flush_events()
        else:
            super().block(blocking_event)  # type: ignore[no-untyped-call]


def _windows() -> list[Any]:
    """Canvases in windows of a toolkit that bluesky does not know."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None:
        return []
    canvases = [pyplot.figure(number).canvas for number in pyplot.get_fignums()]
    known = (None, "headless", "qt")
    return [canvas for canvas in canvases if canvas.required_interactive_framework not in known]
