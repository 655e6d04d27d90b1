"""A dose that a specimen may take, per pixel and per run, kept by stopping before it is exceeded."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

from slads_bluesky.errors import ConfigError

__all__ = ["BUDGET_SPENT", "DoseAccount", "DoseBudget"]

BUDGET_SPENT = "the dose budget of the run"
"""How the reason begins with which a run ends that has spent its budget."""

_log = logging.getLogger(__name__)

MARGIN = 1.05
"""The next point is expected to take at most this much more than the most expensive one so far."""


@dataclass(frozen=True)
class DoseBudget:
    """What a specimen may take, nC.

    Parameters
    ----------
    run_nc : float
        Of the whole run.
    pixel_nc : float
        Of one pixel: the detector's preset real time sees to it.

    Raises
    ------
    ConfigError
        If one is not positive.
    """

    run_nc: float = inf
    pixel_nc: float = inf

    def __post_init__(self) -> None:
        if not (self.run_nc > 0 and self.pixel_nc > 0):
            raise ConfigError(
                f"a dose budget is positive, not {self.run_nc} nC a run, {self.pixel_nc} nC a pixel"
            )

    @property
    def cap_nc(self) -> float:
        """Most that one acquisition may take: a run's budget is not spent by its first pixel."""
        return min(self.run_nc, self.pixel_nc)

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return isfinite(self.cap_nc)


class DoseAccount:
    """What a run has spent of its budget.

    Parameters
    ----------
    budget : DoseBudget
    dose_key, pixel_dose_key : str
        Data keys of the total dose and of the pixel's, nC.
    """

    def __init__(self, budget: DoseBudget, dose_key: str, pixel_dose_key: str) -> None:
        self._budget, self._dose_key, self._pixel_dose_key = budget, dose_key, pixel_dose_key
        self._counter_nc: float | None = None
        self.spent_nc = 0.0
        self.largest_nc = 0.0

    def book(self, event: Mapping[str, Any]) -> None:
        """Take a recorded point; what was spent between the points counts as well.

        A counter of the total dose that has gone back was reset (the IOC was restarted, say): it starts again from 0
        then, what was spent before stays spent, and a warning is logged.
        """
        data = event["data"]
        if self._pixel_dose_key not in data:
            return
        pixel = float(data[self._pixel_dose_key])
        self.largest_nc = max(self.largest_nc, pixel)
        if self._dose_key in data:
            total = float(data[self._dose_key])
            if self._counter_nc is None:
                self._counter_nc = total - pixel
            if total < self._counter_nc:
                _log.warning(
                    "the dose counter went back from %.6g to %.6g nC; the %.6g nC of this run stay in its account",
                    self._counter_nc, total, self.spent_nc,
                )  # fmt: skip
                self._counter_nc = 0.0
            self.spent_nc += max(0.0, total - self._counter_nc)
            self._counter_nc = total
        else:
            self.spent_nc += pixel

    def objection(self) -> str:
        """Why no other point may be measured; empty while one may."""
        next_nc = MARGIN * self.largest_nc
        if self.spent_nc + next_nc <= self._budget.run_nc:
            return ""
        left = self._budget.run_nc - self.spent_nc
        return (
            f"{BUDGET_SPENT}, {self._budget.run_nc:g} nC, has {left:.3g} nC left, "
            f"less than the {next_nc:.3g} nC of another point"
        )
