"""What counts at a pixel are worth: how far a spectrum of so many counts lowers the chance that its label is wrong.

The log-likelihood ratio of the two likeliest labels after n counts is close to normal, of mean ± κ n and variance
2 κ n, κ the information of one count in nats (Kullback-Leibler). With prior odds of p to u = 1 − p the label is then
wrong with probability p Φ(−(ln p/u + κn)/√(2κn)) + u Φ((ln p/u − κn)/√(2κn)).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

__all__ = ["DOSES_NATS", "best_doses", "error_after"]

DOSES_NATS = np.array([0.8, 1.2, 1.8, 2.7, 4.0, 6.0, 9.0])
"""Doses that are compared, as κ n."""
_LEVELS = np.linspace(0.0, 1.0, 65)
"""Levels of 2 u, for a table."""


def error_after(u: NDArray[np.floating], nats: float) -> NDArray[np.float64]:
    """Return the expected probability of a wrong label after counts worth `nats`, for `u` (…,) wrong before."""
    u = np.clip(np.asarray(u, np.float64), 1e-6, 0.5)
    odds, spread = np.log((1.0 - u) / u), np.sqrt(2.0 * nats)
    wrong = (1.0 - u) * ndtr(-(odds + nats) / spread) + u * ndtr((odds - nats) / spread)
    return np.asarray(np.minimum(wrong, u))


def best_doses(
    u: NDArray[np.floating], cost_nats: float, most_nats: float = np.inf
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return for each pixel the dose that lowers its error most for what it costs, and that fall for the cost.

    Parameters
    ----------
    u : (…,) float array
        Probability that the label is wrong.
    cost_nats : float
        What a visit costs besides its counts, in counts × κ.
    most_nats : float
        Doses over this are left out, but the least.

    Returns
    -------
    (…,) float32 array, (…,) float32 array
        κ n, and the share of the error that is resolved for each nat of cost.
    """
    levels = np.clip(0.5 * _LEVELS**2, 1e-6, 0.5)
    doses = DOSES_NATS[max(most_nats, DOSES_NATS[0]) >= DOSES_NATS]
    share = np.array([(1.0 - error_after(levels, d) / levels) / (d + cost_nats) for d in doses])
    best = share.argmax(axis=0)
    place = np.sqrt(np.clip(2.0 * np.asarray(u, np.float32), 0.0, 1.0))
    at = np.rint(place * (_LEVELS.size - 1)).astype(np.intp)
    return doses[best].astype(np.float32)[at], share.max(axis=0).astype(np.float32)[at]
