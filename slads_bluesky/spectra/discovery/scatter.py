"""Whether two groups that are nearly alike are two phases, or one whose composition scatters.

A solid solution, or a phase that is graded over the field, is parted into two groups by any mixture model. So the
spectra of two groups are placed on the line between the two shapes: x = 0 at one, 1 at the other, with the variance
that counting gives. Two phases are at 0 and at 1; one phase that scatters is anywhere, by a normal distribution.
The likelier of the two is believed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["log_odds_of_two", "positions"]

Floats = NDArray[np.float64]

PARTS = np.linspace(0.02, 0.98, 33)
"""Parts of the first of two phases that are tried."""
WIDTHS = np.geomspace(0.02, 3.0, 24)
"""Standard deviations of one phase that scatters that are tried, in units of the distance of the two shapes."""


def positions(counts: Floats, one: Floats, other: Floats) -> tuple[Floats, Floats]:
    """Place spectra on the line between two shapes.

    Parameters
    ----------
    counts : (n, bins) float64
    one, other : (bins,) float64
        Summed counts of the two groups; `one` is at 1, `other` at 0.

    Returns
    -------
    (n,), (n,) float64
        Position, and variance by counting.
    """
    a, b = one / one.sum(), other / other.sum()
    middle = np.maximum(0.5 * (a + b), 1e-12)
    weight = (a - b) / middle
    length = float((a - b) @ weight)
    total = np.maximum(counts.sum(axis=1), 1e-9)
    x = (counts @ weight / total - float(b @ weight)) / length
    variance = float(middle @ weight**2 - (middle @ weight) ** 2) / total / length**2
    return np.asarray(x), np.asarray(variance)


def log_odds_of_two(counts: Floats, one: Floats, other: Floats) -> float:
    """Log of the likelihood of two phases over that of one that scatters; parameters as of `positions`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> a, b = np.array([0.6, 0.4]), np.array([0.4, 0.6])
    >>> at = rng.integers(0, 2, (300, 1))
    >>> two = rng.multinomial(200, at * a + (1 - at) * b)
    >>> near = np.clip(rng.normal(0.5, 0.5, (300, 1)), 0, 1)
    >>> scattered = rng.multinomial(200, near * a + (1 - near) * b)
    >>> [bool(log_odds_of_two(s.astype(float), 1e4 * a, 1e4 * b) > 0) for s in (two, scattered)]
    [True, False]
    """
    x, variance = positions(counts, one, other)
    at_one, at_other = (_log_normal(x, mean, variance) for mean in (1.0, 0.0))
    two = max(float(np.logaddexp(np.log(p) + at_one, np.log1p(-p) + at_other).sum()) for p in PARTS)
    scattered = -np.inf
    for width in WIDTHS:
        spread = variance + width**2
        mean = float((x / spread).sum() / (1.0 / spread).sum())
        scattered = max(scattered, float(_log_normal(x, mean, spread).sum()))
    return two - scattered


def _log_normal(x: Floats, mean: float, variance: Floats) -> Floats:
    return np.asarray(-0.5 * (x - mean) ** 2 / variance - 0.5 * np.log(2.0 * np.pi * variance))
