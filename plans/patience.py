"""How long an acquisition may take, and how much dose a pixel may get, whatever the detector does.

The detector's own presets end an acquisition; these bounds are for one that does not keep them. A plan that waits no
longer blanks the beam at once.
"""

from collections.abc import Generator, Mapping
from math import inf, isfinite
from typing import Any

from bluesky.utils import Msg

from .away import ask
from .budget import DoseBudget

__all__ = ["Patience"]

LEAST_S = 5.0
"""Every acquisition may take at least so long, s: a network may be slow."""
DEAD_TIME_FACTOR = 3.0
"""The real time of an acquisition may be so many times its live time: a dead time of two thirds."""
LATE_S, LATE_PART = 0.1, 0.02
"""A preset real time may be exceeded by so much, s and as a part of it, before the plan blanks."""
LEAST_LEFT = 0.1
"""A pixel is not measured again with less than this part of its dose left."""


class Patience:
    """Bounds of the acquisitions of one run.

    Parameters
    ----------
    dwell_s : float, optional
        Longest live time of an acquisition; None where the plan does not know it.
    adaptive : bool
        Whether acquisitions end as soon as their spectrum suffices, usually long before `dwell_s`. The bound then
        follows the longest acquisition so far; a second try is given the whole time.
    timeout_s : float, optional
        A bound that the user has given; it wins.
    budget : DoseBudget
    """

    def __init__(
        self, dwell_s: float | None, *, adaptive: bool, timeout_s: float | None, budget: DoseBudget
    ) -> None:
        self._whole_s = LEAST_S + DEAD_TIME_FACTOR * (dwell_s or 10.0)
        self._adaptive, self._timeout_s, self._budget = adaptive, timeout_s, budget
        self._longest_s = 0.0
        self._current_na = 0.0
        self._left_nc = budget.cap_nc
        self._presets: dict[str, Any] = {}

    def start(self, current_na: float, presets: Mapping[str, Any]) -> None:
        """Take the beam current and the presets that the detector was given."""
        self._current_na, self._presets = current_na, dict(presets)

    def begin_pixel(self) -> None:
        """Another pixel, with all of its dose left."""
        self._left_nc = self._budget.cap_nc

    def took(self, real_time_s: float) -> None:
        """Take how long an acquisition was."""
        self._longest_s = max(self._longest_s, real_time_s)

    @property
    def dose_limit_s(self) -> float:
        """Real time after which the dose that is left to the pixel is spent, s; infinite without a limit."""
        if not isfinite(self._left_nc) or self._current_na <= 0:
            return inf
        return self._left_nc / self._current_na

    def limit_s(self, attempt: int = 1) -> float:
        """Return how long a try may take, s."""
        if self._timeout_s is not None:
            wait = self._timeout_s
        elif self._adaptive and attempt == 1:
            wait = min(self._whole_s, LEAST_S + DEAD_TIME_FACTOR * self._longest_s)
        else:
            wait = self._whole_s
        return min(wait, self.dose_limit_s * (1.0 + LATE_PART) + LATE_S)

    def nothing_left(self, pixel_dose: Mapping[str, Any] | None) -> str:
        """Take the reading of a pixel's dose after a try that failed; why there is no other, empty if there is."""
        if not isfinite(self._budget.cap_nc) or pixel_dose is None:
            return ""
        spent = float(pixel_dose["value"])
        self._left_nc = self._budget.cap_nc - spent
        if self._left_nc >= LEAST_LEFT * self._budget.cap_nc:
            return ""
        return f"the pixel has had {spent:.3g} nC of {self._budget.cap_nc:.3g} nC"

    def preset(self, eds: Any) -> Generator[Msg, Any, None]:
        """Give the detector the real time that is left to the pixel, where a dose is limited."""
        if isfinite(self.dose_limit_s) and self._presets.get("real_time"):
            yield from ask("configure", eds, {"real_time": self.dose_limit_s})
