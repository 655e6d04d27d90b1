"""Bins as wide as the counts allow: where there are few, spectra are compared in wider ones.

A Dirichlet prior over bins that hardly hold a count takes every coincidence of two counts in one of them for a sign
of a phase of its own. So neighbouring bins are joined until each holds enough of all counts: lines keep bins of their
own, the background between them and above them shares some.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["joined", "joined_starts"]

LEAST_COUNTS = 25.0
"""Counts that a bin holds at least, all spectra together."""
LEAST_PART = 0.006
"""Part of all counts that it holds at least."""


def joined_starts(total: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices at which joined bins start, by the summed counts (bins,) of all spectra.

    Examples
    --------
    >>> import numpy as np
    >>> joined_starts(np.array([3, 30, 2, 2, 40, 1, 1])).tolist()
    [0, 2]
    """
    least = max(LEAST_COUNTS, LEAST_PART * float(total.sum()))
    starts, held = [0], 0.0
    for i, n in enumerate(total.tolist()):
        if held >= least:
            starts.append(i)
            held = 0.0
        held += n
    if held < least and len(starts) > 1:
        starts.pop()
    return np.array(starts, np.int64)


def joined(counts: NDArray[np.float64], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum counts (n, bins) in joined bins: (n, len(starts))."""
    return np.asarray(np.add.reduceat(counts, starts, axis=1), np.float64)
