"""How much of a map is wrong, by its own posterior: a number and an interval.

The expected number of wrong pixels is Σ (1 − P_max). Wrong pixels come in patches, so the number scatters more
than that of independent pixels: its variance is Σ u (1 − u) times `PATCH`, the pixels of a patch, and the level of
the whole posterior is known to a factor exp(± `LEVEL`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

__all__ = ["MapError", "expected_error"]

PATCH = 4.0
LEVEL = 0.25


class MapError(NamedTuple):
    """Part of the pixels that a map has wrong."""

    expected: float
    low: float
    high: float


def expected_error(probability: NDArray[np.floating], confidence: float = 0.9) -> MapError:
    """Return the expected part of wrong pixels and the interval that holds it with `confidence`.

    Parameters
    ----------
    probability : (…, L) float array
        Posterior of each pixel that counts.
    confidence : float

    Examples
    --------
    >>> import numpy as np
    >>> expected_error(np.full((100, 2), [0.9, 0.1])).expected.__round__(3)
    0.1
    """
    u = 1.0 - np.asarray(probability, np.float64).max(axis=-1).ravel()
    mean, n = float(u.sum()), max(1, u.size)
    z = float(ndtri(0.5 + confidence / 2.0))
    spread = z * np.sqrt(PATCH * float((u * (1.0 - u)).sum()) + (LEVEL * mean) ** 2 + 0.25)
    return MapError(mean / n, max(0.0, mean - spread) / n, min(float(n), mean + spread) / n)
