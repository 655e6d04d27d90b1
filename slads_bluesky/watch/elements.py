"""Element maps of a followed map, computed while somebody looks at them: quantification costs more than a picture."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import numpy as np

from ..analysis.elements.maps import ElementMaps, SparseSpectra
from ..errors import SladsError
from ..protocols import UNCLASSIFIED
from ..spectra.axis import EnergyAxis
from .analyst import MapAnalyst
from .following import MapFollower

__all__ = ["ElementWatch"]

_log = logging.getLogger(__name__)
GROWTH = 1.25
"""The maps are computed again once the points have grown by this factor."""
SHARE = 0.1
"""Part of its time that the computation may take while the map grows."""


class ElementWatch:
    """Computes the element maps of a map on demand.

    Parameters
    ----------
    record : Path
        Directory of the record.
    follower : MapFollower
    analyst : MapAnalyst
        Its reconstruction says which phase a pixel is of.
    """

    def __init__(self, record: Path, follower: MapFollower, analyst: MapAnalyst) -> None:
        self.maps: ElementMaps | None = None
        self.problem = ""
        """Why there are none; empty before the first try."""
        self.version = 0
        """Rises with `maps` and `problem`."""
        self._record, self._follower, self._analyst = record, follower, analyst
        self._thread: threading.Thread | None = None
        self._n = 0
        self._not_before = 0.0

    def want(self) -> None:
        """Somebody looks: compute, in a thread, if there are none yet or they are of far fewer points."""
        now = self._analyst.snapshot
        if now is None or time.monotonic() < self._not_before:
            return
        if self._thread is not None and self._thread.is_alive():
            return
        # of a map that is over, once: the analyst catches up with it in steps
        whole = self._follower.over and now.n == self._follower.state.points.n > self._n
        if whole or (not self._follower.over and now.n >= max(GROWTH * self._n, self._n + 1)):
            self._thread = threading.Thread(target=self._work, name="watch-elements", daemon=True)
            self._thread.start()

    def close(self, timeout_s: float = 10.0) -> None:
        """Wait for a computation that has begun."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _work(self) -> None:
        began = time.thread_time()
        try:
            self._compute()
        except SladsError as error:
            self.problem = str(error)
        except Exception as error:
            _log.exception("element maps of run %s", self._follower.uid)
            self.problem = f"{type(error).__name__}: {error}"
        finally:
            self.version += 1
            share = 1.0 if self._follower.over else SHARE
            self._not_before = time.monotonic() + (time.thread_time() - began) * (1 / share - 1)

    def _compute(self) -> None:
        from ..analysis.elements.maps import map_elements
        from ..analysis.load import load_map
        from ..export.conditions import conditions_of_map
        from ..record.runs import find_run, map_runs

        now = self._analyst.snapshot
        if now is None:
            return
        self._n = now.n
        where = str(self._record)
        chain = map_runs(find_run(self._follower.uid, where), where)
        data = load_map([run.documents for run in chain], spectra=True)
        spectra = data.calibrated_spectra()
        axis = EnergyAxis(data.energy_offset_kev, data.energy_width_kev, spectra.shape[1])
        # by the page's own reconstruction: the run may have recorded none yet
        votes = np.maximum(self._follower.state.measured.flat[data.pixels], UNCLASSIFIED).astype(np.int64)
        sparse = SparseSpectra(
            spectra, axis, data.pixels, data.live_time_s, data.dose_nc, votes, now.reconstruction, data.phases
        )
        self.maps = map_elements(sparse, conditions_of_map(data))
        self.problem = ""
