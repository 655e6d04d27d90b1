"""Time and dose of a map before it is started, from what earlier runs took. Pure: documents in, numbers out.

A map of n points takes n × (live time × real / live + overhead). Live time is asked for; the other two, and the beam
current that makes a dose of a time, are what earlier runs found on the same instrument. Each of them gives one
prediction; their median is the estimate, and how far they lie apart is its range.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..documents import reading
from ..errors import ConfigError, RecordError
from ..images.distortion import boundary_fraction
from ..streams import events_by_stream
from .load import event_keys

__all__ = ["Estimate", "PastRun", "Range", "estimate", "past_run"]

LEAST_POINTS = 20
"""A run of fewer points says too little about the next."""


@dataclass(frozen=True)
class PastRun:
    """What an earlier run took, per point."""

    uid: str
    n_points: int
    live_s: float
    """Mean live time."""
    real_per_live: float
    """Above 1 by the detector's dead time."""
    current_na: float
    """Mean charge on a pixel over its real time; NaN if no dose was recorded."""
    overhead_s: float
    """Mean time besides the real time: move, settle, readout, classify, decide, record; NaN if unknown."""
    rate_cps: float = math.nan
    """Counts per second of live time; NaN if unknown."""
    nats_per_count: float = math.nan
    """Information of one count: evidence for the phase of a spectrum against the next, over its counts; NaN if
    unknown."""
    boundary: float = math.nan
    """Part of the final map's pixels that lie at boundaries; NaN if unknown."""
    by_lists: bool = False
    """Whether its points were visited in lists."""


@dataclass(frozen=True)
class Range:
    """A prediction: the middle of those of the earlier runs, and the lowest and highest of them."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """What a map is going to take."""

    n_points: int
    n_pixels: int
    dwell_s: Range
    """Live time of a point."""
    beam_s: Range
    """Real time that the beam dwells, all points together."""
    wall_s: Range | None
    """From start to end; None if the overhead of no earlier run is known."""
    dose_nc: Range | None
    """On the specimen; None if the current is not known."""
    raster_beam_s: float
    """Real time of every pixel at the same dwell, for comparison."""
    n_runs: int
    """Earlier runs that this comes from."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def past_run(documents: Iterable[tuple[str, dict[str, Any]]]) -> PastRun | None:
    """Gather what an earlier run took.

    Parameters
    ----------
    documents : iterable of (name, document)
        Of one run.

    Returns
    -------
    PastRun or None
        None for a run that is no map, or has fewer than 20 points with their times.

    Notes
    -----
    Overhead is the wall time from the first event to the last without the time in which the detector acquired, plus
    what acquiring took longer than the real time. The stream ``ledger`` has the time of acquiring; a run without
    one (cut off) gives its overhead if events lie further apart than their real times. On a simulated microscope that
    does not wait for its dwell, acquiring takes less than the real time, and all of it is overhead.
    """
    with reading("an earlier run"):
        return _past_run(documents)


def _past_run(documents: Iterable[tuple[str, dict[str, Any]]]) -> PastRun | None:
    rows: dict[int, tuple[float, float, float, float]] = {}
    seen: list[tuple[float, float, float]] = []
    ledger: dict[str, Any] = {}
    uid, keys, boundary, by_lists = "", None, math.nan, False
    for name, stream, doc in events_by_stream(documents):
        if name == "start":
            uid, keys = str(doc["uid"]), event_keys(doc)
            by_lists = (doc.get("plan_args") or {}).get("acquisition") == "list"
        elif name == "event" and keys is not None:
            data = doc["data"]
            if stream == "ledger":
                ledger = data
            elif stream == "map" and "map_labels" in data:
                boundary = boundary_fraction(np.asarray(data["map_labels"]))
            elif stream == "primary" and {keys.pixel, keys.live_time, keys.real_time} <= set(data):
                rows[doc["seq_num"]] = (
                    doc["time"], data[keys.live_time], data[keys.real_time], data.get(keys.dose, math.nan)
                )  # fmt: skip
                counts = float(data.get(keys.counts, math.nan))
                seen.append((data[keys.live_time], counts, _evidence(data.get(keys.log_likelihood), counts)))
    if len(rows) < LEAST_POINTS:
        return None
    times, live, real, dose = np.array([rows[i] for i in sorted(rows)], np.float64).T
    if not live.sum() > 0:
        return None
    lived, counted, evidence = np.array(seen, np.float64).T
    weighed = np.isfinite(evidence)
    between = float((times[-1] - times[0]) / (len(times) - 1))
    return PastRun(
        uid=uid,
        n_points=len(times),
        live_s=float(live.mean()),
        real_per_live=float(real.sum() / live.sum()),
        current_na=float(dose.sum() / real.sum()) if np.isfinite(dose).all() and real.sum() > 0 else math.nan,
        overhead_s=_overhead(between, float(real[1:].mean()), ledger, len(times)),
        rate_cps=float(counted.sum() / lived.sum()) if np.isfinite(counted).all() else math.nan,
        nats_per_count=float(evidence[weighed].sum() / counted[weighed].sum()) if weighed.any() else math.nan,
        boundary=boundary,
        by_lists=by_lists,
    )


def _evidence(log_likelihood: Any, counts: float) -> float:
    """Log-likelihood of the likeliest phase over the next one's; NaN where it is not known, or of none of them."""
    values = np.asarray([] if log_likelihood is None else log_likelihood, np.float64)
    if (
        values.size < 3
        or not (np.isfinite(values).all() and counts > 0)
        or values.argmax() == values.size - 1
    ):
        return math.nan
    second, first = np.sort(values[:-1])[-2:]
    return float(first - second)


def _overhead(between_s: float, real_s: float, ledger: dict[str, Any], n: int) -> float:
    acquiring = ledger.get("ledger_acquire_total_s")
    if acquiring is None:
        return between_s - real_s if between_s > real_s else math.nan
    acquire_s = float(acquiring) / max(1, int(ledger.get("ledger_acquire_n", n)))
    return max(0.0, between_s - (real_s if acquire_s >= real_s else 0.0))


def estimate(
    runs: Sequence[PastRun],
    *,
    n_pixels: int,
    fraction: float,
    dwell_s: float | None = None,
    current_na: float | None = None,
) -> Estimate:
    """Predict what a map takes.

    Parameters
    ----------
    runs : sequence of PastRun
        Earlier runs on the same instrument; may be empty.
    n_pixels : int
        That may be measured.
    fraction : float
        Part of them that will be, 0 < fraction ≤ 1.
    dwell_s : float, optional
        Live time of a point, s; by default what the earlier runs took, the way to go with an adaptive dwell.
    current_na : float, optional
        Beam current, nA; by default that of the earlier runs.

    Raises
    ------
    ConfigError
        If a number is out of its range.
    RecordError
        If there is neither a dwell nor an earlier run.
    """
    if not 0 < fraction <= 1:
        raise ConfigError(f"fraction must be above 0 and at most 1, not {fraction:g}")
    if n_pixels < 1:
        raise ConfigError(f"a map has at least one pixel, not {n_pixels}")
    for name, value in (("dwell", dwell_s), ("current", current_na)):
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise ConfigError(f"{name} must be positive, not {value:g}")
    if dwell_s is None and not runs:
        raise RecordError("no earlier run says how long a point takes: give the dwell")
    n = max(1, round(fraction * n_pixels))
    # without an earlier run: no dead time, and neither overhead nor current are known
    known = list(runs) or [PastRun("", 0, math.nan, 1.0, math.nan, math.nan)]
    lives = [run.live_s if dwell_s is None else dwell_s for run in known]
    reals = [live * run.real_per_live for live, run in zip(lives, known, strict=True)]
    walls = [n * (real + run.overhead_s) for real, run in zip(reals, known, strict=True)]
    currents = [run.current_na if current_na is None else current_na for run in known]
    doses = [n * real * current for real, current in zip(reals, currents, strict=True)]
    return Estimate(
        n_points=n,
        n_pixels=n_pixels,
        dwell_s=Range(*_spread(lives)),
        beam_s=Range(*_spread([n * real for real in reals])),
        wall_s=_range(walls),
        dose_nc=_range(doses),
        raster_beam_s=n_pixels * float(np.median(reals)),
        n_runs=len(runs),
    )


def _range(values: Sequence[float]) -> Range | None:
    known = [value for value in values if math.isfinite(value)]
    return Range(*_spread(known)) if known else None


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    return float(np.median(values)), float(min(values)), float(max(values))
