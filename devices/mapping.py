"""Spectra of a point list as rows of event pages: classified, checked for the beam, added up over passes.

What stands here is the same for every instrument: a `MappingBuffer` of some pixels comes in, rows with the keys of a
single point's Event go out. With a stop rule a pixel's counts add up over passes, and it leaves as one row once the
rule has decided; the rule's guarantee holds at any number of looks.
"""

from __future__ import annotations

import copy
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InstrumentError
from ..pointlist import PointList
from ..protocols import Classification, Classifier, StopRule
from .beamwatch import BeamWatch
from .reading import BEAM_FIELDS, data_key, describe_eds, judge, weigh
from .saturation import check_saturation

__all__ = ["ListJudge", "MappingBuffer", "describe_rows"]

SCAN_FIELDS: dict[str, tuple[str, str, str]] = {
    "pixel": ("integer", "<i8", ""),
    "row": ("integer", "<i8", ""),
    "col": ("integer", "<i8", ""),
    "erd": ("number", "<f8", "pixels"),
    "decision": ("integer", "<i8", ""),
}
"""What a row says of its place: dtype, numpy dtype, unit."""
VISIT_FIELD: dict[str, tuple[str, str, str]] = {"visit": ("integer", "<i8", "")}
"""What it says besides where pixels may be visited again."""

FIRST_PART, NEXT_PART = 0.6, 0.12
"""Real time of a pixel's first pass, in units of the median that decisions take, and of each further pass, in units
of what the pixel had so far. An overshoot costs dose, a pass costs a settle time; `bench fly` measures both."""
SHORTEST_S = 0.1e-3
"""Shortest real time of a pass, s."""
LEAST_DECIDED, LATELY = 20, 201


class MappingBuffer(NamedTuple):
    """Some consecutive pixels of a list as the X-ray processor hands them over."""

    first: int
    """Index in the list of the first of them."""
    spectra: NDArray[np.int32]
    """(m, channels) counts."""
    live_s: NDArray[np.float64]
    """(m,)."""
    real_s: NDArray[np.float64]
    """(m,)."""
    charge_nc: NDArray[np.float64]
    """(m,) charge that fell on each."""

    def part(self, first: int, rows: slice) -> MappingBuffer:
        """Return some of its pixels, the first of which has the index `first`."""
        return MappingBuffer(
            first, self.spectra[rows], self.live_s[rows], self.real_s[rows], self.charge_nc[rows]
        )


@dataclass
class _Growing:
    """A pixel that is not decided yet."""

    rule: StopRule
    counts: NDArray[np.int32]
    live_s: float = 0.0
    real_s: float = 0.0
    charge_nc: float = 0.0
    passes: int = 0


@dataclass
class _Row:
    index: int
    counts: NDArray[np.int32]
    live_s: float
    real_s: float
    charge_nc: float
    dose_nc: float
    passes: int
    judgement: Classification | None
    log_likelihood: NDArray[np.float64] | None = None
    time: float = field(default_factory=time.time)


def describe_rows(
    scan: str,
    eds: str,
    beam: str,
    n_channels: int,
    *,
    classified: bool,
    hypotheses: int = 0,
    visits: bool = False,
) -> dict[str, dict[str, Any]]:
    """Data keys of the rows: those of an adaptive map's Event, by the names of its devices."""
    keys = {
        f"{scan}_{key}": data_key(f"plan:{scan}", dtype, numpy_dtype, units=units)
        for key, (dtype, numpy_dtype, units) in {**SCAN_FIELDS, **(VISIT_FIELD if visits else {})}.items()
    }
    keys.update(describe_eds(eds, n_channels, f"LIST:{eds}", classified=classified, hypotheses=hypotheses))
    keys[f"{eds}_passes"] = data_key(f"LIST:{eds}#passes", "integer", "<i8")
    for key, (units, precision) in BEAM_FIELDS.items():
        keys[f"{beam}_{key}"] = data_key(
            f"LIST:{beam}#{key}", "number", "<f8", units=units, precision=precision
        )
    return keys


class ListJudge:
    """Makes rows of the buffers of one list after the other.

    Parameters
    ----------
    scan, eds, beam : str
        Prefixes of the data keys.

    Attributes
    ----------
    classifier : Classifier, optional
    rule : StopRule, optional
        With it each pixel grows over passes until the rule has decided; but for points with planned counts, whose
        one pass is all of a visit, and whose visits the sampler adds up.
    visits : bool
        Whether rows say how often their pixel was visited before.
    """

    def __init__(self, scan: str, eds: str, beam: str) -> None:
        self._names = (scan, eds, beam)
        self.classifier: Classifier | None = None
        self.rule: StopRule | None = None
        self.visits = False
        self._pulses = self._exposed_s = 0.0
        self._watch = BeamWatch()
        self._growing: dict[int, _Growing] = {}
        self._decided_s: deque[float] = deque(maxlen=LATELY)
        self._lock = threading.Lock()
        self._rows: list[tuple[PointList, _Row]] = []
        self._dose_nc = 0.0
        self.classify_s = 0.0
        """Time spent on classifying so far, s."""
        self.cap_real_s = np.inf
        """Real time that a pixel may get in all its passes, s."""

    @property
    def dose_nc(self) -> float:
        """Charge on the specimen so far, nC."""
        return self._dose_nc

    def start(self, dose_nc: float, current_na: float) -> None:
        """Begin a run, with the total dose so far and the beam current as the microscope reports it."""
        self._watch.start(dose_nc, current_na)
        self._dose_nc = dose_nc
        with self._lock:
            self._growing.clear()
            self._decided_s.clear()
            self._pulses = self._exposed_s = 0.0
            self._rows.clear()

    def begin(self, points: PointList) -> None:
        """Take the list whose buffers come next."""
        self._points = points
        self.done = np.zeros(len(points), bool)
        """(n,) whether each pixel of the list was handed over."""
        self.invalid: dict[int, str] = {}
        """Index in the list of each pixel without a valid spectrum, and why: no beam, or saturation."""
        self.undecided: list[int] = []
        """Indices of the pixels that the rule wants more counts of."""

    def take(self, buffer: MappingBuffer) -> None:
        """Classify what a buffer holds."""
        began = time.perf_counter()
        rows: list[tuple[PointList, _Row]] = []
        for i, counts in enumerate(buffer.spectra):
            row = self._take(buffer.first + i, counts, *(float(v[i]) for v in buffer[2:]))
            if row is not None:
                rows.append((self._points, row))
        with self._lock:
            self._rows += rows
        self.classify_s += time.perf_counter() - began

    def _take(
        self, index: int, counts: NDArray[np.int32], live: float, real: float, charge: float
    ) -> _Row | None:
        self.done[index] = True
        pixel = int(self._points.pixels[index])
        self._watch.begin(0.0)
        self._dose_nc += charge
        grown = self._growing.get(pixel)
        try:
            self._watch.check(charge, real)
            check_saturation(counts, live, real)
        except InstrumentError as error:
            self.invalid[index] = str(error)
            if grown is not None:  # its dose was given; its counts of earlier passes are still good
                grown.charge_nc += charge
            return None
        self._pulses += float(counts.sum())
        self._exposed_s += real
        planned = self._points.counts
        if self.rule is None or (planned is not None and planned[index] > 0):
            judgement = judge(self.classifier, counts, live)
            evidence = weigh(self.classifier, counts)
            return _Row(index, counts, live, real, charge, self._dose_nc, 1, judgement, evidence)
        if grown is None:
            rule = copy.copy(self.rule)
            rule.reset()
            grown = self._growing[pixel] = _Growing(rule, np.zeros_like(counts))
        grown.counts += counts
        grown.live_s += live
        grown.real_s += real
        grown.charge_nc += charge
        grown.passes += 1
        spent = grown.real_s >= (1.0 - 1e-9) * self.cap_real_s
        decision = grown.rule.update(grown.counts, max(grown.live_s, grown.rule.cap_s if spent else 0.0))
        if decision is None:
            self.undecided.append(index)
            return None
        del self._growing[pixel]
        self._decided_s.append(grown.real_s)
        return _Row(
            index, grown.counts, grown.live_s, grown.real_s, grown.charge_nc, self._dose_nc, grown.passes,
            decision, weigh(self.classifier, grown.counts),
        )  # fmt: skip

    def dwell_of_counts_s(self, counts: int) -> float:
        """Return the real time in which so many counts come, at the mean rate so far, s; NaN before any came."""
        if not self._pulses:
            return float("nan")
        wanted = max(counts * self._exposed_s / self._pulses, SHORTEST_S)
        return float(min(wanted, self.cap_real_s))

    def first_dwell_s(self, quantum_s: float) -> float:
        """Return the real time of a pixel's first pass, s: `quantum_s` until some pixels are decided.

        Then `FIRST_PART` of the median real time of the pixels decided lately, so that few pixels get more than they
        need and few need many passes.
        """
        if len(self._decided_s) < LEAST_DECIDED:
            return min(quantum_s, self.cap_real_s)
        return float(min(max(FIRST_PART * median(self._decided_s), SHORTEST_S), self.cap_real_s))

    def next_dwell_s(self, pixel: int) -> float:
        """Return the real time of an undecided pixel's next pass, s: a part of what it had, within its cap."""
        grown = self._growing[pixel]
        wanted = max(NEXT_PART * grown.real_s, SHORTEST_S)
        if grown.live_s > 0:
            left = (grown.rule.cap_s - grown.live_s) * grown.real_s / grown.live_s
            wanted = min(wanted, max(left, SHORTEST_S))
        return float(max(min(wanted, self.cap_real_s - grown.real_s), 1e-6))

    def forget(self, pixel: int) -> None:
        """Give up a pixel that was growing."""
        self._growing.pop(pixel, None)

    @property
    def n_rows(self) -> int:
        """Rows that are ready."""
        return len(self._rows)

    def pages(self) -> Iterator[dict[str, Any]]:
        """Yield a partial event page of the rows that are ready, and forget them; nothing if there are none."""
        with self._lock:
            ready, self._rows = self._rows, []
        if ready:
            yield self._page(ready)

    def _page(self, ready: list[tuple[PointList, _Row]]) -> dict[str, Any]:
        scan, eds, beam = self._names
        rows = [row for _, row in ready]

        def of(name: str) -> list[Any]:
            return [getattr(points, name)[row.index].item() for points, row in ready]

        data: dict[str, Any] = {
            f"{scan}_pixel": of("pixels"),
            f"{scan}_row": of("rows"),
            f"{scan}_col": of("columns"),
            f"{scan}_erd": of("erd"),
            f"{scan}_decision": of("decision"),
            **({f"{scan}_visit": of("visit")} if self.visits else {}),
            f"{eds}_spectrum": np.stack([row.counts for row in rows]),
            f"{eds}_live_time": [row.live_s for row in rows],
            f"{eds}_real_time": [row.real_s for row in rows],
            f"{eds}_dead_time": [_dead_percent(row) for row in rows],
            f"{eds}_counts": [int(row.counts.sum()) for row in rows],
        }
        judged = [row.judgement for row in rows if row.judgement is not None]
        if judged:
            data[f"{eds}_label"] = [int(j.label) for j in judged]
            data[f"{eds}_probability"] = [float(j.probability) for j in judged]
            data[f"{eds}_verdict"] = [str(j.verdict) for j in judged]
        weighed = [row.log_likelihood for row in rows if row.log_likelihood is not None]
        if weighed:
            data[f"{eds}_log_likelihood"] = np.stack(weighed)
        data[f"{eds}_passes"] = [row.passes for row in rows]
        data[f"{beam}_x"] = of("x_um")
        data[f"{beam}_y"] = of("y_um")
        data[f"{beam}_pixel_dose"] = [row.charge_nc for row in rows]
        data[f"{beam}_dose"] = [row.dose_nc for row in rows]
        times = [row.time for row in rows]
        return {"time": times, "data": data, "timestamps": dict.fromkeys(data, times)}


def _dead_percent(row: _Row) -> float:
    return 100.0 * (1.0 - row.live_s / row.real_s) if row.real_s > 0 else 0.0
