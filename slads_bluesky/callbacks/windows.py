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
        windows = _Windows()
        if windows.canvases():
            while not blocking_event.wait(EVERY_S):
                for canvas in windows.canvases():
                    canvas.flush_events()
        else:
            super().block(blocking_event)  # type: ignore[no-untyped-call]


class _Windows:
    """Canvases in windows of a toolkit that bluesky does not know; looked up when windows open or close."""

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._canvases: list[Any] = []

    def canvases(self) -> list[Any]:
        pyplot = sys.modules.get("matplotlib.pyplot")
        numbers = [] if pyplot is None else pyplot.get_fignums()
        if pyplot is not None and numbers != self._numbers:
            current = pyplot.gcf().number
            found = [pyplot.figure(number).canvas for number in numbers]
            pyplot.figure(current)  # the lookup makes each figure the current one
            known = (None, "headless", "qt")
            self._canvases = [one for one in found if one.required_interactive_framework not in known]
            self._numbers = numbers
        return self._canvases if numbers else []
