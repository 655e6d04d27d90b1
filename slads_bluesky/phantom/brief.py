"""Short spectra of a simulated object, pulse by pulse: what a point list needs a thousand of a second.

A record that grows by halves (`acquisition`) costs milliseconds where a dozen pulses come. Here they come one by one:
Poisson in live time, the detector busy for a fixed time after each (not paralysable).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["BriefSpectrum", "pulse_channels", "pulses"]


class BriefSpectrum(NamedTuple):
    """What a detector stored in a short time."""

    counts: NDArray[np.int32]
    """(channels,)."""
    live_s: float
    """Real time less the time that the detector was busy, s."""


def pulses(rate: float, real_s: float, busy_s: float, rng: np.random.Generator) -> int:
    """Draw how many pulses are stored in a real time.

    Parameters
    ----------
    rate : float
        Pulses per second of live time.
    real_s : float
        Real time, s.
    busy_s : float
        Time that the detector is busy with each pulse, s.
    rng : numpy.random.Generator

    Returns
    -------
    int
        The most n whose n-th pulse is stored by `real_s`: t_n + n × `busy_s` ≤ `real_s`, t_n its live time.
    """
    if rate <= 0 or real_s <= 0:
        return 0
    expected = rate * real_s / (1.0 + rate * busy_s)
    stored, live = 0, 0.0
    while True:
        steps = rng.exponential(1.0 / rate, int(expected + 4.0 * np.sqrt(expected)) + 8)
        ends = live + np.cumsum(steps) + busy_s * np.arange(stored + 1, stored + steps.size + 1)
        inside = int(np.searchsorted(ends, real_s, side="right"))
        stored += inside
        if inside < steps.size:
            return stored
        live += float(steps.sum())


def pulse_channels(cumulative: NDArray[np.float64], n: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Draw `n` pulses over channels.

    Parameters
    ----------
    cumulative : (channels,) float64
        Running sum of the expected counts.
    n : int
    rng : numpy.random.Generator

    Returns
    -------
    (channels,) int32
        Counts, `n` in all.
    """
    at = np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right")
    return np.bincount(at, minlength=cumulative.size).astype(np.int32)
