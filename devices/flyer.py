"""A sparse-scan flyer: a list of points at the hardware's own pace, driven by bluesky's verbs.

``prepare(points)`` loads a list, also while another runs; ``kickoff`` starts it; ``complete`` is done when its last
pixel is classified; ``collect_pages`` gives what is classified by then as event pages, also while the list runs.
A pause stops the hardware after the pixel that it is at; resumed, the rest of the list is visited. Rows that were
handed out are never emitted again: until a plan says that a checkpoint followed them, a pause forbids a replay.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from bluesky.utils import NoReplayAllowed
from numpy.typing import NDArray

from ..errors import ConfigError, InstrumentError
from ..pointlist import PointList, Settling
from .mapping import ListJudge, MappingBuffer, describe_rows
from .reading import check_classifier, data_key, judge, n_hypotheses
from .status import QuickStatus

__all__ = ["ListEngine", "SparseFlyer"]

_log = logging.getLogger(__name__)

HALT_S = 10.0
"""A list that was told to stop takes no longer, s."""


class ListEngine(Protocol):
    """What visits a list and hands over its spectra: a scan generator with an X-ray processor in mapping mode."""

    @property
    def n_channels(self) -> int:
        """Channels of a spectrum."""

    @property
    def energy_kev(self) -> tuple[float, float]:
        """Energy of channel 0 and width of a channel, keV."""

    @property
    def current_na(self) -> float:
        """Beam current, nA."""

    @property
    def dose_nc(self) -> float:
        """Total dose so far, nC."""

    @property
    def settling(self) -> Settling:
        """How long the beam settles after a move."""

    def stage(self) -> None:
        """Connect and make ready; InstrumentError naming what does not answer."""

    def unstage(self) -> None:
        """Leave the hardware as it was found."""

    def load(self, points: PointList, status: QuickStatus) -> None:
        """Load a list, also while another runs; finish the status when it may be started."""

    def run(
        self, points: PointList, take: Callable[[MappingBuffer], None], started: Callable[[], None]
    ) -> None:
        """Run the loaded list, giving `take` each buffer; returns when it is over or aborted, the beam blanked.

        Calls `started` once another list may be loaded.
        """

    def abort(self) -> None:
        """Stop the running list at once; called from another thread."""


class SparseFlyer:
    """Flyer over a `ListEngine`; satisfies bluesky's Flyable, Preparable, EventPageCollectable and Pausable.

    Parameters
    ----------
    engine : ListEngine
    eds, beam : devices
        Give names, and `eds` its ``classifier`` and ``stop_rule`` as they are when the flyer is staged.
    name : str
    scan : str
        Prefix of the data keys of a point's place.
    """

    parent = None

    def __init__(
        self, engine: ListEngine, eds: Any, beam: Any, *, name: str = "flyer", scan: str = "scan"
    ) -> None:
        self.name = name
        self.engine = engine
        self._eds, self._beam, self._scan = eds, beam, scan
        self.judge = ListJudge(scan, eds.name, beam.name)
        self._prepared: PointList | None = None
        self._points: PointList | None = None
        self._status: QuickStatus | None = None
        self._thread: threading.Thread | None = None  # of the list that runs
        self._halted = threading.Event()
        self._starts = threading.Lock()
        self._held = self._exposed = self._paused = False
        self._ready = threading.Condition()
        self._heard: list[Callable[[], None]] = []
        self._not_loaded = ""
        self._launches = 0
        self._starting, self._loaded = QuickStatus(done=True), QuickStatus(done=True)
        self.trouble = ""
        """Why the last list ended early; empty if it did not. Its status ends well all the same: see `missed`."""
        self.list_s = 0.0
        """How long the last list took, from its start to its last spectrum, s."""

    @property
    def hints(self) -> dict[str, Any]:
        """Fields for tables and plots."""
        return {"fields": [f"{self._scan}_pixel", f"{self._eds.name}_label"]}

    # ---- bluesky's verbs

    def stage(self) -> list[Any]:
        """Connect, refuse what does not fit the classifier, and take classifier and stop rule of the detector."""
        self.engine.stage()
        classifier = getattr(self._eds, "classifier", None)
        check_classifier(self.name, self.engine.n_channels, *self.engine.energy_kev, classifier)
        self.judge.classifier, self.judge.rule = classifier, getattr(self._eds, "stop_rule", None)
        self.judge.start(self.engine.dose_nc, self.engine.current_na)
        judge(classifier, np.zeros(self.engine.n_channels, np.int32))  # the first time may be slow
        return [self]

    def unstage(self) -> list[Any]:
        """Stop a list that still runs."""
        self.stop()
        self.engine.unstage()
        return [self]

    def prepare(self, points: PointList) -> QuickStatus:
        """Load the list that the next `kickoff` starts; after the one that is being started, if one is."""
        self._prepared = points
        return self._load(points)

    def _load(self, points: PointList) -> QuickStatus:
        """Load a list once the hardware has taken over the one before; the status always ends well."""
        status = self._loaded = QuickStatus()
        starting = self._starting

        def load(_: QuickStatus) -> None:
            loaded = QuickStatus()
            loaded.add_callback(done)
            self.engine.load(points, loaded)

        def done(loaded: QuickStatus) -> None:
            error = loaded.exception(0)
            self._not_loaded = "" if error is None else str(error)
            status.set_finished()

        starting.add_callback(load)
        return status

    def kickoff(self) -> QuickStatus:
        """Start the prepared list; done when it runs, so that another may be loaded."""
        if self._prepared is None or (self._status is not None and not self._status.done):
            status = QuickStatus()
            if self._prepared is None and self._points is None:
                status.set_exception(InstrumentError(f"{self.name}: no list is prepared"))
            else:  # a message that is replayed after a pause: the list was started
                status.set_finished()
            return status
        points, self._prepared = self._prepared, None
        self._points, self._status, self._paused = points, QuickStatus(), False
        self.judge.begin(points)
        starting = self._starting = QuickStatus()
        self._loaded.add_callback(self._launcher(points, np.arange(len(points)), starting))
        return starting

    def complete(self) -> QuickStatus:
        """Return the status of the running list: done when its last pixel is classified."""
        if self._status is None:
            status = QuickStatus()
            status.set_exception(InstrumentError(f"{self.name}: no list was started"))
            return status
        return self._status

    def describe_collect(self) -> dict[str, Any]:
        """Describe a row of the pages, the keys of an adaptive map's Event."""
        classifier = getattr(self._eds, "classifier", None)
        return describe_rows(
            self._scan, self._eds.name, self._beam.name, self.engine.n_channels,
            classified=classifier is not None, hypotheses=n_hypotheses(classifier), visits=self.judge.visits,
        )  # fmt: skip

    def collect_pages(self) -> Iterator[dict[str, Any]]:
        """Yield what is classified and was not collected yet as a partial event page."""
        for page in self.judge.pages():
            self._exposed = True
            yield page

    def settled(self) -> None:
        """Take it that a checkpoint followed the rows collected so far: a replay would not repeat their numbers."""
        self._exposed = False

    def configure(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Set ``real_time``, what a pixel may get in all its passes, s (0: no limit), and ``visits``.

        With ``visits`` rows say how often their pixel was visited before.
        """
        if unknown := sorted(set(values) - {"real_time", "visits"}):
            raise ConfigError(
                f"{self.name}: no such preset: {', '.join(unknown)}; there are real_time and visits"
            )
        before = self.read_configuration()
        self.judge.cap_real_s = float(values.get("real_time", 0.0)) or np.inf
        self.judge.visits = bool(values.get("visits", False))
        return before, self.read_configuration()

    def read_configuration(self) -> dict[str, Any]:
        """Configuration of the detector, and how the beam settles."""
        settling, now = self.engine.settling, time.time()
        values = {
            f"{self.name}_settle_base": settling.base_s,
            f"{self.name}_settle_per_um": settling.per_um_s,
        }
        own = {key: {"value": value, "timestamp": now} for key, value in values.items()}
        return {**self._eds.read_configuration(), **own}

    def describe_configuration(self) -> dict[str, Any]:
        """Describe the values of `read_configuration`."""
        return {
            **self._eds.describe_configuration(),
            f"{self.name}_settle_base": data_key(f"LIST:{self.name}", "number", "<f8", units="s"),
            f"{self.name}_settle_per_um": data_key(f"LIST:{self.name}", "number", "<f8", units="s/µm"),
        }

    def pause(self) -> None:
        """Stop the hardware after the pixel that it is at; nothing before is measured again.

        Raises
        ------
        NoReplayAllowed
            If rows were handed out since the last `settled`: others must not be emitted under their numbers.
        """
        self._paused = True
        if self._status is not None and not self._status.done:
            self._held = True
            self._halt()
        if self._exposed:
            raise NoReplayAllowed

    def resume(self) -> None:
        """Visit the rest of the list that a pause interrupted."""
        if not self._held:
            return
        self._held = False
        points, done = self._points, self.judge.done
        if points is None or done.all() or (self._status is not None and self._status.done):
            self._finish()
            return
        index, prepared = np.flatnonzero(~done), self._prepared
        left = points.take(index)
        # whoever waits for the start of the list waits for this one
        starting = QuickStatus() if self._starting.done else self._starting
        self._starting = QuickStatus(done=True)
        self._load(left).add_callback(self._launcher(left, index, starting))
        self._starting = starting
        if (
            prepared is not None
        ):  # it was loaded before: again, once the rest of this list has been taken over
            self._load(prepared)

    def stop(self, success: bool = True) -> None:
        """Stop the list, blank the beam; its status ends well, as nobody waits for it any more."""
        self._held = False
        self._halt()
        self._starting.set_finished()
        if self._status is not None:
            self._status.set_finished()

    # ---- what the plan asks besides

    @property
    def n_ready(self) -> int:
        """Rows that `collect_pages` would give now."""
        return self.judge.n_rows

    def on_news(self, heard: Callable[[], None]) -> None:
        """Call `heard` at the next rows, or when the list ends; at once if rows are ready or none runs."""
        with self._ready:
            if not self.n_ready and self._status is not None and not self._status.done:
                self._heard.append(heard)
                return
        heard()

    @property
    def dose_nc(self) -> float:
        """Charge on the specimen so far, by the pixels that were handed over, nC."""
        return self.judge.dose_nc

    @property
    def undecided(self) -> list[int]:
        """Indices of the points of the last list that the stop rule wants more counts of."""
        return list(self.judge.undecided)

    def first_pass_s(self, quantum_s: float) -> float:
        """Return the real time that a pixel's first pass should take, s; `quantum_s` while nothing is known."""
        return self.judge.first_dwell_s(quantum_s)

    def dwell_of_counts_s(self, counts: int) -> float:
        """Return the real time in which so many counts come, s; NaN while that is not known."""
        return self.judge.dwell_of_counts_s(counts)

    def next_pass_s(self, pixel: int) -> float:
        """Return the real time that an undecided pixel's next pass should take, s."""
        return self.judge.next_dwell_s(pixel)

    @property
    def missed(self) -> dict[int, str]:
        """Index of each point of the last list that has no valid spectrum, and why."""
        if self._points is None:
            return {}
        lost = [int(i) for i in np.flatnonzero(~self.judge.done)]
        why = self.trouble or "no spectrum came"
        return {**dict.fromkeys(lost, why), **self.judge.invalid}

    @property
    def lost(self) -> set[int]:
        """Indices of the points of the last list that were missed through no fault of their own.

        Their spectrum never came though the list was visited to its end; or it is invalid and the list was paused,
        which blanks the beam on a point before the hardware stops.
        """
        if self._points is None or self.trouble:
            return set()
        return {int(i) for i in np.flatnonzero(~self.judge.done)} | set(
            self.judge.invalid if self._paused else ()
        )

    def forget(self, pixel: int) -> None:
        """Give up a pixel that wanted another pass."""
        self.judge.forget(pixel)

    # ---- the thread that a list has

    def _launcher(
        self, points: PointList, index: NDArray[np.intp], starting: QuickStatus
    ) -> Callable[[QuickStatus], None]:
        """Return what starts a list once it is loaded, unless a pause came in between.

        `index` has the places of its points in the whole list: the rest of one that was interrupted has its own.
        """
        with self._starts:
            self._launches += 1
            number = self._launches

        def launch(_: QuickStatus) -> None:
            with self._starts:  # no list starts behind the back of a pause: see `_halt`
                if number != self._launches:
                    return
                self.trouble = self._not_loaded
                if not self.trouble and self._thread is not None:
                    self.trouble = f"{self.name}: the list before does not stop"
                if not self.trouble:
                    self._halted = threading.Event()
                    self._thread = threading.Thread(
                        target=self._run, args=(points, index, starting, self._halted), name=f"{self.name}-list",
                        daemon=True,
                    )  # fmt: skip
                    self._thread.start()
                    return
            _log.warning("%s", self.trouble)
            starting.set_finished()
            self._finish()

        return launch

    def _run(
        self, points: PointList, index: NDArray[np.intp], starting: QuickStatus, halted: threading.Event
    ) -> None:
        began = time.perf_counter()
        whole = self._points

        def take(buffer: MappingBuffer) -> None:
            if self._points is not whole:  # what comes of a list that was given up is not the next one's
                return
            # one pixel after the other where they are not consecutive in the whole list
            at = index[buffer.first : buffer.first + len(buffer.spectra)]
            runs = np.split(np.arange(len(at)), np.flatnonzero(np.diff(at) != 1) + 1)
            for run in runs:
                part = slice(run[0], run[-1] + 1)
                self.judge.take(buffer.part(int(at[run[0]]), part))
            self._notify()

        def started() -> None:
            starting.set_finished()
            if halted.is_set():  # the hardware, which had nothing to stop then, did not hear of it
                self.engine.abort()

        try:
            if not halted.is_set():
                self.engine.run(points, take, started)
        except Exception as failure:
            self.trouble = f"{self.name}: {failure}"
            _log.warning("%s", self.trouble)
        self.list_s = time.perf_counter() - began
        with self._starts:
            self._thread = None  # from here on another list may start
        starting.set_finished()
        if not self._held:
            self._finish()

    def _finish(self) -> None:
        if self._status is not None:
            self._status.set_finished()
        self._notify()

    def _notify(self) -> None:
        with self._ready:
            heard, self._heard = self._heard, []
        for call in heard:
            call()

    def _halt(self) -> None:
        """Stop the list that runs, and let none start that still waits to be loaded."""
        with self._starts:
            self._launches += 1
            self._halted.set()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            self.engine.abort()
            thread.join(HALT_S)
            if thread.is_alive():
                _log.error("%s: the list does not stop", self.name)
