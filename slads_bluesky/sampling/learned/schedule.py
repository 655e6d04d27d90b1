"""The learning rate's course over a training that is given a time or a number of steps, and may be interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Schedule"]

HELD = 0.75
"""Part of the time in which the rate is held; in the rest it falls evenly to 0."""
LATE = 1.1
"""Part of the time after which a training ends in any case: a machine may grow slower."""


@dataclass
class Schedule:
    """Factors of the learning rate, step by step.

    Parameters
    ----------
    steps : int or None
        Of the training; None where it is given `seconds`.
    seconds : float
        Given to it.
    held : int
        Steps so far at the full rate.
    falling : int or None
        Steps in which the rate falls, None before the first of them.
    fallen : int
        How many of those are done.
    elapsed : float
        Seconds that the training had taken when its state was kept.

    Examples
    --------
    >>> list(Schedule(steps=8).rates(lambda: 0.0))
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5]
    """

    steps: int | None = None
    seconds: float = 0.0
    held: int = 0
    falling: int | None = None
    fallen: int = 0
    elapsed: float = 0.0

    def rates(self, elapsed: Callable[[], float]) -> Iterator[float]:
        """Yield the factors from where the schedule is; `elapsed` gives the seconds since the training began."""
        while self.falling is None and self._holds(elapsed()):
            self.held += 1
            yield 1.0
        if self.falling is None:
            self.falling = self.steps - self.held if self.steps else max(1, self.held // 3)
        while self.fallen < self.falling:
            if not self.steps and elapsed() > LATE * self.seconds:
                return
            self.fallen += 1
            yield 1 - (self.fallen - 1) / self.falling

    def _holds(self, elapsed: float) -> bool:
        if self.steps:
            return self.held < 3 * self.steps // 4
        return elapsed < HELD * self.seconds or self.held % 3 != 0

    def to_json(self) -> dict[str, Any]:
        """Return where the schedule is."""
        return asdict(self)
