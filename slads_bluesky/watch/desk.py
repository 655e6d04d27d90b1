"""What all browsers share: the list of runs, the maps that somebody looks at, and the queue server."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import SladsError
from ..modelstore import model_directory
from .analyst import MapAnalyst
from .elements import ElementWatch
from .following import MapFollower
from .queue_state import QueueState
from .runlist import RunList

__all__ = ["Desk", "WatchedRun"]

_log = logging.getLogger(__name__)
KEPT_S = 30.0
"""How long a map that nobody looks at any more is still followed, s: a reload does not begin again."""


class WatchedRun:
    """A map that is followed and analysed.

    Parameters
    ----------
    record : Path
    uid : str
    """

    def __init__(self, record: Path, uid: str) -> None:
        self.uid = uid
        self.follower = MapFollower(record, uid)
        models = [model_directory(record)]
        self.analyst = MapAnalyst(self.follower, models)
        self.elements = ElementWatch(record, self.follower, self.analyst)
        self.templates: NDArray[np.float64] | None = None
        """(L, channels) expected spectra of the phases, once the classifier is loaded; None without one."""
        self.users = 0
        self.unused_since = time.monotonic()
        self._models: Sequence[Path] = models
        self._opened = False

    def open(self) -> None:
        """Begin to follow."""
        if not self._opened:
            self._opened = True
            self.follower.start()
            self.analyst.start()
            threading.Thread(target=self._load_templates, name="watch-templates", daemon=True).start()

    def close(self) -> None:
        """End."""
        self.elements.close()
        self.analyst.close()
        self.follower.close()

    @property
    def version(self) -> tuple[int, int, int, bool, bool]:
        """Changes with all that can be seen."""
        return (
            self.follower.version, self.analyst.version, self.elements.version, self.follower.over,
            self.templates is not None,
        )  # fmt: skip

    def _load_templates(self) -> None:
        from ..callbacks.live.templates import phase_templates
        from ..record.resume import find_classifier

        try:
            self.templates = phase_templates(find_classifier(self.follower.state.start_doc, *self._models))
        except SladsError as error:
            _log.info("no templates for run %s: %s", self.uid, error)
        except Exception:  # the means of the map's own spectra are drawn instead
            _log.exception("templates of run %s", self.uid)


class Desk:
    """One record, and the queue server of its session if there is one.

    Parameters
    ----------
    record : Path
        Directory of the record.
    queue : QueueState, optional
    """

    def __init__(self, record: Path, queue: QueueState | None = None) -> None:
        self.record, self.queue = record, queue
        self.runs = RunList(record)
        self.workers = ThreadPoolExecutor(2, thread_name_prefix="watch-work")
        """For what may take long: reading lists, asking the queue server."""
        self._watched: dict[str, WatchedRun] = {}
        self._lock = threading.Lock()

    def take(self, uid: str) -> WatchedRun:
        """Follow a map for one more browser; RecordError if it is none."""
        with self._lock:
            run = self._watched.get(uid)
            if run is None:
                run = self._watched[uid] = WatchedRun(self.record, uid)
            run.users += 1
        run.open()
        return run

    def leave(self, run: WatchedRun) -> None:
        """A browser looks at it no more."""
        with self._lock:
            run.users -= 1
            run.unused_since = time.monotonic()

    def tidy(self) -> None:
        """Close maps that nobody has looked at for a while."""
        with self._lock:
            idle = [
                uid
                for uid, run in self._watched.items()
                if run.users <= 0 and time.monotonic() - run.unused_since > KEPT_S
            ]
            closed = [self._watched.pop(uid) for uid in idle]
        for run in closed:
            self.workers.submit(run.close)

    def close(self) -> None:
        """End everything."""
        with self._lock:
            runs, self._watched = list(self._watched.values()), {}
        for run in runs:
            run.close()
        if self.queue is not None:
            self.queue.close()
        self.workers.shutdown(wait=False, cancel_futures=True)
