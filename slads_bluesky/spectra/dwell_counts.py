"""A dose rule for spectra whose phases are not known: each is acquired until it has so many counts.

Where phases are yet to be found, an agent asks for more counts in the first exposures, so that they can be parted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..protocols import UNCLASSIFIED, Classification

__all__ = ["CountTarget"]


class CountTarget:
    """Ends an acquisition at a number of counts, or at a cap of its live time. Fits `protocols.StopRule`.

    Parameters
    ----------
    counts : int
        Of a spectrum for which nothing else is asked.
    cap_s : float
        Live time at which the acquisition ends whatever was counted, s.

    Raises
    ------
    ConfigError
        If either is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> rule = CountTarget(50, cap_s=10.0)
    >>> rule.expect(200)
    >>> rule.next_counts(), rule.update(np.full(10, 12), 0.1), rule.next_counts()
    (200, None, 80)
    >>> rule.update(np.full(10, 20), 0.2).verdict
    'low_counts'
    """

    def __init__(self, counts: int, cap_s: float = 10.0) -> None:
        if counts < 1:
            raise ConfigError(f"counts of a spectrum: at least 1, not {counts}")
        if not (math.isfinite(cap_s) and cap_s > 0):
            raise ConfigError(f"the cap of a dwell must be a positive time in s, not {cap_s}")
        self.counts, self.cap_s = int(counts), cap_s
        self._asked = self.counts
        self.reset()

    def expect(self, counts: int, prior: Sequence[float] = ()) -> None:
        """Let the next spectra have so many counts; 0: as many as usual. It has no phases for a `prior` of them."""
        self._asked = int(counts) or self.counts

    def reset(self) -> None:
        """Start another spectrum."""
        self._total = 0.0

    def update(self, counts: NDArray[Any], live_time_s: float) -> Classification | None:
        """Look at the spectrum so far; None to continue. It says nothing of phases."""
        self._total = float(np.sum(counts))
        if self._total < self._asked and live_time_s < self.cap_s:
            return None
        return Classification(UNCLASSIFIED, 0.0, "low_counts")

    def next_counts(self) -> int:
        """Counts that are missing."""
        return max(1, math.ceil(self._asked - self._total))
