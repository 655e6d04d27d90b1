"""The live view: a document callback that draws a map as it grows, and never holds the plan up.

The RunEngine's thread only notes what a document says (some microseconds). Drawing is done by a thread of its own,
or, where there is a window, by the window's own timer; at most twice a second, and only when the picture, at what
the last one took, keeps the whole view below 2 % of the run's time. The first picture therefore takes some seconds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...files import atomic_write
from ...grid import ScanGrid
from ..headless import is_headless
from .elements import ElementOverlay
from .figure import MapFigure, new_window
from .state import MapState, is_map

__all__ = ["LiveView", "has_display", "live_view"]

_log = logging.getLogger(__name__)

REDRAW_S = 0.5
SHARE = 0.02
"""Part of a run's time that drawing may take."""


class LiveView:
    """Document callback that draws a growing map: ``RE.subscribe(LiveView(window=True))``.

    Runs that are not maps are ignored. If drawing fails, this is logged once and the view switches itself off;
    the plan is not disturbed.

    Parameters
    ----------
    window : bool
        Open a window by matplotlib's interactive backend; to be made in the main thread then. Otherwise the picture
        is drawn in memory, for `save` and for a notebook's cell that ends in the view.
    estimate : callable, optional
        Gives the estimated distortion of the map as it stands, such as ``agent.distortion_estimate``; by default
        the curve has the points of the stream ``map`` only. Called by the drawing thread.
    reconstruct : callable, optional
        Gives a reconstruction of the map as it stands, (rows, columns); likewise.
    templates : (L, channels) array, optional
        Expected spectra of the phases, see `phase_templates`; by default the means of the map's own.
    save : path, optional
        Picture that is overwritten with each drawing, .png for instance.
    share : float
        Part of the run's time that drawing may take.
    elements : sequence of str
        Up to four elements, of which a preview grows in place of the panel of probabilities.

    Raises
    ------
    ConfigError
        If there are more than four elements, or one is none.
    """

    def __init__(
        self,
        *,
        window: bool = False,
        estimate: Callable[[], float] | None = None,
        reconstruct: Callable[[], NDArray[Any]] | None = None,
        templates: NDArray[np.float64] | None = None,
        save: str | Path | None = None,
        share: float = SHARE,
        elements: Sequence[str] = (),
    ) -> None:
        ElementOverlay(elements, (1, 1))  # refuses what is no element before a run begins
        self._elements = tuple(elements)
        self.off = ""
        """Why the view has switched itself off; empty while it has not."""
        self.n_drawn = 0
        """Pictures drawn so far."""
        self.call_s = 0.0
        """Time spent so far in the thread of the RunEngine, s."""
        self.draw_s = 0.0
        """Processor time spent so far on drawing while a run was in progress, s."""
        self.state: MapState | None = None
        """What is known of the present map, or the last one."""
        self._estimate, self._reconstruct = estimate, reconstruct
        self._save = Path(save) if save is not None else None
        self._share = share
        self._seen = 0
        self._began = 0.0
        self._spent = 0.0
        self._expected = 0.0
        self._last = 0.0
        self._in_progress, self._ended, self._closed = threading.Event(), threading.Event(), threading.Event()
        self._quiet = threading.Event()  # nothing is left to be drawn
        self._quiet.set()
        self._turn, self._run = threading.Lock(), 0  # held where one run gives way to the next
        self._timer: Any = None
        figure = new_window() if window else None
        self.figure = MapFigure(figure, templates)
        if figure is not None:
            self._warm_up()
            self._timer = figure.canvas.new_timer(interval=int(REDRAW_S * 500))
            self._timer.add_callback(self.step)
            self._timer.start()
        else:
            threading.Thread(target=self._work, name="live-view", daemon=True).start()

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take a document, and return at once."""
        if self.off:
            return
        began = time.perf_counter()
        try:
            if name == "start":
                self._start(doc)
            elif self.state is not None and self._in_progress.is_set():
                self.state.take(name, doc)
                if name == "stop" and self.state.stop_doc:
                    self._ended.set()
        except Exception as error:
            self._switch_off(error)
        self.call_s += time.perf_counter() - began

    def step(self, *, now: bool = False) -> None:
        """Draw if something is new and it is time; with `now`, whether it is time or not."""
        with self._turn:
            run, state, over = self._run, self.state, self._ended.is_set()
        if self.off or state is None or not self._in_progress.is_set():
            return
        if (now or over or self._due()) and (over or state.n_documents != self._seen):
            try:
                self._draw(state, over)
            except Exception as error:
                self._switch_off(error)
        with self._turn:
            if over and run == self._run:  # else the next run has begun meanwhile
                self._in_progress.clear()
                self._quiet.set()

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait for the last picture of a run that is over; whether it came in `timeout` s."""
        if self._timer is not None:  # the window's timer runs in this very thread
            self.step()
        return self._quiet.wait(timeout)

    def end(self) -> None:
        """Draw a last time: no document will follow, with or without a stop document."""
        self._ended.set()

    def close(self) -> None:
        """Draw nothing more; a window stays."""
        self._closed.set()
        self._in_progress.set()
        self._ended.set()
        if self._timer is not None:
            self._timer.stop()

    def _repr_png_(self) -> bytes:
        import io

        picture = io.BytesIO()
        self.figure.save(picture, format="png")
        return picture.getvalue()

    def _start(self, doc: Mapping[str, Any]) -> None:
        if not is_map(doc):
            return
        before = self.state
        with self._turn:
            if before is not None and doc.get("resumes") == before.uid:
                before.take("start", doc)
            else:
                self.state = MapState(doc, self._elements)
            self._run += 1
            self._began, self._spent, self._seen = time.monotonic(), -self.call_s, -1
            self._ended.clear()
            self._quiet.clear()
            self._in_progress.set()

    def _due(self) -> bool:
        now = time.monotonic()
        cost = self._spent + self.call_s + self._expected
        return now - self._last >= REDRAW_S and cost <= self._share * (now - self._began)

    def _draw(self, state: MapState, over: bool) -> None:
        began = time.thread_time()
        self._last = time.monotonic()
        self._seen = state.n_documents
        if self._estimate is not None:
            state.estimate(self._estimate())
        if self._reconstruct is not None:
            state.reconstruct(self._reconstruct())
        self.figure.show(state)
        if self._save is not None:
            with atomic_write(self._save) as partial:
                self.figure.save(partial, format=self._save.suffix[1:] or "png")
        self.n_drawn += 1
        self._expected = took = time.thread_time() - began
        self._spent += took
        if not over:
            self.draw_s += took

    def _warm_up(self) -> None:
        """Draw an empty map: fonts are loaded before a run begins, and the cost of a picture is known."""
        began = time.thread_time()
        try:
            self.figure.show(MapState({"uid": "", "grid": ScanGrid((64, 64)).to_json()}, self._elements))
        except Exception as error:
            self._switch_off(error)
        # the first picture of a map lays its panels out as well, and draws everything
        self._expected = 2 * (time.thread_time() - began)

    def _work(self) -> None:
        self._warm_up()
        while not self._closed.is_set():
            self._in_progress.wait()
            if self._closed.is_set():
                break
            self._ended.wait(REDRAW_S / 2)
            self.step()

    def _switch_off(self, error: Exception) -> None:
        if not self.off:
            self.off = f"{type(error).__name__}: {error}"
            _log.warning("the live view has switched itself off: %s", self.off, exc_info=error)
        self._in_progress.clear()
        self._quiet.set()


def has_display() -> bool:
    """Whether a window can be opened: an interactive backend of matplotlib, and not in a queue server's worker."""
    if is_headless():
        return False
    import matplotlib.pyplot as plt
    from matplotlib.backends.registry import BackendFilter, backend_registry

    registry: Any = backend_registry
    backend = plt.get_backend()
    if backend.lower() not in {name.lower() for name in registry.list_builtin(BackendFilter.INTERACTIVE)}:
        return False
    try:
        plt.switch_backend(backend)  # an interactive backend may be asked for where it has no display
    except ImportError:
        return False
    return True


def live_view(**options: Any) -> LiveView | None:
    """Make a live view with a window where there is a display, and none at all in headless workers.

    Parameters
    ----------
    **options
        As for `LiveView`.
    """
    return LiveView(window=True, **options) if has_display() else None
