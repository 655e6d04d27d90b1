"""Windows that live while a plan runs, whichever toolkit they are of.

While a plan runs, the RunEngine holds the main thread. With Qt it runs Qt's loop there; with any other toolkit it
only waits, and windows stand still until the plan has ended.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from bluesky.utils import DefaultDuringTask

__all__ = ["LivingWindows"]

EVERY_S = 0.05


class LivingWindows(DefaultDuringTask):
    """What a RunEngine does while it waits for a plan: ``RunEngine(during_task=LivingWindows())``."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def block(self, blocking_event: threading.Event) -> None:
        """Wait for the end of the plan; meanwhile let the windows draw and hear."""
        if _windows():
            while not blocking_event.wait(EVERY_S):
                for canvas in _windows():
                    canvas.flush_events()
        else:
            super().block(blocking_event)  # type: ignore[no-untyped-call]


def _windows() -> list[Any]:
    """Canvases in windows of a toolkit that bluesky does not know."""
    if "matplotlib.pyplot" not in sys.modules:
        return []
    from matplotlib._pylab_helpers import Gcf

    canvases = [manager.canvas for manager in Gcf.get_all_fig_managers()]
    known = (None, "headless", "qt")
    return [canvas for canvas in canvases if canvas.required_interactive_framework not in known]
