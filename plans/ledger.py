"""Where the time of a run went, step by step."""

import math
from array import array
from time import perf_counter
from typing import Any

import numpy as np

__all__ = ["Ledger"]


class Ledger:
    """Durations of named steps."""

    def __init__(self) -> None:
        self._seconds: dict[str, array[float]] = {}  # a map of a million points has millions

    def add(self, step: str, began: float) -> float:
        """Book the time since `began` (of ``time.perf_counter``) on `step`; return the time now."""
        now = perf_counter()
        self.put(step, now - began)
        return now

    def put(self, step: str, seconds: float) -> None:
        """Book `seconds` on `step`."""
        values = self._seconds.get(step)
        if values is None:
            values = self._seconds[step] = array("d")
        values.append(seconds)

    @property
    def steps(self) -> tuple[str, ...]:
        """Steps booked so far, in the order of their first booking."""
        return tuple(self._seconds)

    def seconds(self, step: str) -> tuple[float, ...]:
        """All durations of a step in s, in their order."""
        return tuple(self._seconds.get(step, ()))

    def median_ms(self, step: str) -> float:
        """Median of a step in ms, NaN if it never came."""
        values = self._seconds.get(step)
        return float(np.median(values)) * 1e3 if values else math.nan

    def summary(self) -> dict[str, dict[str, float]]:
        """For each step: how often, median and 99th percentile in ms, total in s."""
        return {
            step: {
                "n": len(values),
                "median_ms": float(np.median(values)) * 1e3,
                "p99_ms": float(np.percentile(values, 99)) * 1e3,
                "total_s": float(np.sum(values)),
            }
            for step, values in self._seconds.items()
        }

    def flat(self) -> dict[str, Any]:
        """`summary` with keys such as ``move_median_ms``, for an Event."""
        return {f"{step}_{key}": value for step, of in self.summary().items() for key, value in of.items()}
