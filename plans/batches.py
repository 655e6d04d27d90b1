"""How many points a list has, and which an agent gives besides those that are being measured."""

import math
from collections import deque
from collections.abc import Callable, Collection, Sequence
from statistics import median

import numpy as np

from slads_bluesky.errors import ConfigError
from slads_bluesky.pointlist import MOST_POINTS
from slads_bluesky.protocols import Agent, Suggestion

__all__ = [
    "AUTO",
    "PACE",
    "PaceBatch",
    "auto_batch",
    "batch_size",
    "suggest_besides",
    "until_new",
    "visits_of",
]

AUTO = "auto"
"""A batch that grows with what is known; see `auto_batch`."""

PACE = "pace"
"""As `AUTO`, but no shorter than the hardware needs to be busy while the next list is decided; see `PaceBatch`."""

GROWTH, LEAST_POINTS, MOST_PART = 0.025, 8, 0.01
PACE_PART, PACE_MARGIN, LATELY = 0.02, 1.3, 5


def auto_batch(n_measured: int, n_pixels: int) -> int:
    """Points of the next list: 2.5 % of the pixels measured, at least 8 and at most 1 % of all pixels.

    A decision that is one list old costs samples in proportion to how much is learned meanwhile; `bench fly` prints
    how many. Nothing is known at first, so that the first list is as long as may be.

    Examples
    --------
    >>> auto_batch(0, 16384), auto_batch(200, 16384), auto_batch(1600, 16384), auto_batch(20000, 65536)
    (163, 8, 40, 500)
    """
    most = max(LEAST_POINTS, int(MOST_PART * n_pixels))
    if n_measured == 0:
        return most
    return min(max(LEAST_POINTS, int(GROWTH * n_measured)), most)


class PaceBatch:
    """Points of the next list: as `auto_batch`, but the hardware is not to wait for the decision after it.

    A list takes at least 1.3 times as long as decisions took lately, up to 2 % of all pixels. How long that is
    depends on the machine: `replay --verify` takes the number that was asked for from the record.

    Examples
    --------
    >>> rule = PaceBatch()
    >>> rule(400, 16384)
    10
    >>> rule.took(decision_s=0.04, point_s=1.05e-3)
    >>> rule(400, 16384)
    50
    """

    def __init__(self) -> None:
        self._points: deque[float] = deque(maxlen=LATELY)

    def took(self, decision_s: float, point_s: float) -> None:
        """Take how long a decision took, and how long the hardware needs for a point, s."""
        if point_s > 0:
            self._points.append(decision_s / point_s)

    def most(self, n_pixels: int) -> int:
        """Points that a list has at most."""
        return max(LEAST_POINTS, int(PACE_PART * n_pixels))

    def __call__(self, n_measured: int, n_pixels: int) -> int:
        """Points of the next list."""
        busy = math.ceil(PACE_MARGIN * median(self._points)) if self._points else 0
        return min(max(auto_batch(n_measured, n_pixels), busy), self.most(n_pixels))


def batch_size(batch: int | float | str) -> Callable[[int, int], int]:
    """Return the rule for a `batch`: a number of points, a part of the pixels under 1, ``"auto"`` or ``"pace"``.

    Raises
    ------
    ConfigError
        If it is none of these.
    """
    if batch == AUTO:
        return auto_batch
    if batch == PACE:
        return PaceBatch()
    if isinstance(batch, int) and not isinstance(batch, bool) and 1 <= batch <= MOST_POINTS:
        number = batch
        return lambda _, __: number
    if isinstance(batch, float) and 0 < batch < 1:
        part = batch
        return lambda _, n_pixels: min(max(1, round(part * n_pixels)), MOST_POINTS)
    raise ConfigError(
        f"a batch is a number of points up to {MOST_POINTS}, a part of the pixels under 1, '{AUTO}' or '{PACE}', "
        f"not {batch!r}"
    )


def suggest_besides(agent: Agent, n: int, pending: Collection[int]) -> list[Suggestion]:
    """Ask an agent for `n` pixels besides those that are being measured, in its own way if it has one."""
    own = getattr(agent, "suggest_besides", None)
    if own is not None:
        return list(own(n, pending))
    return [s for s in agent.suggest(n + len(pending)) if s.pixel not in pending][:n]


def visits_of(agent: Agent) -> int:
    """Points that an agent has ingested: visits where pixels may be visited again, else pixels."""
    return int(getattr(agent, "n_visits", agent.n_measured))


def until_new(suggestions: Sequence[Suggestion], most: int) -> list[Suggestion]:
    """Return the first suggestions, up to the one after which more than `most` pixels would be new."""
    new = np.cumsum([s.visit == 0 for s in suggestions], dtype=int)
    return list(suggestions[: int(np.searchsorted(new, max(most, 0), side="right"))])
