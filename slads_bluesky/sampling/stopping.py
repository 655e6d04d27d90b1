"""When to stop: the rule of the references, a running mean of misses that falls under a trained threshold.

After every decision L ← (1 − β) L + β [l̂ ≠ l], with β = 0.001 ((18 − log₂N)/2 + 1) for N ≤ 512² and
β = 0.001 / ((log₂N − 18)/2 + 1) above. The rule holds when L lies under the threshold that belongs to the wanted
distortion, has fallen over the last 50 decisions, and more than 2 % of the map is measured.

Source: Godaliyadda et al., IEEE Trans. Comput. Imaging 4 (2018) 1–16, section V, and the authors' public code.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError

__all__ = ["StopFunction", "check_stop", "forgetting", "stop_curve", "threshold_for"]

MEMORY = 50
LEAST_FRACTION = 0.02


def check_stop(stop_at: float | None, confidence: float | None) -> None:
    """Raise ConfigError if a map cannot be ended at this distortion with this probability."""
    if stop_at is not None and not 0.0 <= stop_at <= 1.0:
        raise ConfigError(f"stop_at must lie in [0, 1], not {stop_at}")
    if confidence is not None and not 0.0 < confidence < 1.0:
        raise ConfigError(f"confidence must lie in (0, 1), not {confidence}")
    if confidence is not None and stop_at is None:
        raise ConfigError("confidence says nothing without stop_at")


def forgetting(n_pixels: int) -> float:
    """Return β for a map of `n_pixels`."""
    excess = (18.0 - math.log2(max(2, n_pixels))) / 2.0
    return 0.001 * (excess + 1.0) if excess >= 0 else 0.001 / (1.0 - excess)


def stop_curve(missed: NDArray[np.bool_], n_pixels: int) -> NDArray[np.float64]:
    """Return L after each decision, (n,), from whether each missed."""
    from scipy.signal import lfilter

    beta = forgetting(n_pixels)
    curve: NDArray[np.float64] = lfilter([beta], [1.0, beta - 1.0], np.asarray(missed, np.float64))
    return curve


def threshold_for(stop: NDArray[np.float64], wanted: float) -> float:
    """Return the threshold of L for a wanted total distortion, from the table (n, 2) of a model.

    Between the rows of the table it is interpolated, beyond them the nearest row's is taken, and an empty table
    gives -inf: the rule never holds.
    """
    if len(stop) == 0:
        return -math.inf
    order = np.argsort(stop[:, 0])
    return float(np.interp(wanted, stop[order, 0], stop[order, 1]))


class StopFunction:
    """L as it runs, and its last 50 values.

    Parameters
    ----------
    n_pixels : int
        Pixels of the map.
    """

    def __init__(self, n_pixels: int) -> None:
        self._n_pixels = n_pixels
        self._beta = forgetting(n_pixels)
        self._recent: deque[float] = deque(maxlen=MEMORY + 1)

    @property
    def value(self) -> float:
        """L, 0 before the first decision."""
        return self._recent[-1] if self._recent else 0.0

    def take(self, missed: bool) -> None:
        """Take whether the map was wrong at the pixel that was measured."""
        self._recent.append((1.0 - self._beta) * self.value + self._beta * missed)

    def holds(self, threshold: float, n_measured: int) -> bool:
        """Whether the rule holds for a threshold."""
        return (
            n_measured > LEAST_FRACTION * self._n_pixels
            and len(self._recent) == MEMORY + 1
            and self._recent[-1] < self._recent[0]
            and self._recent[-1] <= threshold
        )
