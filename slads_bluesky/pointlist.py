"""Lists of points for a scan generator: where, for how long, and in which order.

A list is visited by the hardware with no software in between: the beam is blanked, moves, settles (longer after a
longer way), and dwells; the scan generator's gate advances the X-ray processor by a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from .errors import ConfigError

__all__ = ["MOST_POINTS", "PointList", "Settling", "settle_times", "short_way"]

MOST_POINTS = 65536
"""Points that a list may have."""

STRIP_HEIGHT = 1.7
"""Height of the strips of `short_way` in units of the mean distance between points; √3 is best for random points."""


@dataclass(frozen=True)
class Settling:
    """How long the beam takes to settle after a move: ``base_s + per_um_s × distance``, no longer than `most_s`."""

    base_s: float = 50e-6
    per_um_s: float = 0.0
    most_s: float = 10e-3

    def seconds(self, distance_um: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the settle time of each move in s, for its distance in µm."""
        return np.asarray(np.minimum(self.base_s + self.per_um_s * distance_um, self.most_s))


@dataclass(frozen=True)
class PointList:
    """Points to visit, n of them, in the order of their visit.

    Raises
    ------
    ConfigError
        If the arrays differ in length, there are more than `MOST_POINTS`, or a dwell is not positive.
    """

    x_um: NDArray[np.float64]
    """(n,) positions, µm."""
    y_um: NDArray[np.float64]
    dwell_s: NDArray[np.float64]
    """(n,) real time at each point, s."""
    pixels: NDArray[np.int64]
    """(n,) flat pixel indices into a grid."""
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    erd: NDArray[np.float64]
    """(n,) expected reduction in distortion, NaN in the initial mask."""
    decision: NDArray[np.int64]
    """(n,) number of the decision by which each point was chosen."""
    visit: NDArray[np.int64] | None = None
    """(n,) how often each pixel was visited before; 0 where it is not given."""
    counts: NDArray[np.int64] | None = None
    """(n,) counts that a sampler of evidence wants of each point, in one pass; 0: until its phase is certain."""

    def __post_init__(self) -> None:
        for name in ("visit", "counts"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, np.zeros(len(self.x_um), np.int64))
        lengths = {len(getattr(self, field.name)) for field in fields(self)}
        if len(lengths) != 1:
            raise ConfigError(f"point list: arrays of different lengths, {sorted(lengths)}")
        if len(self) > MOST_POINTS:
            raise ConfigError(f"point list: {len(self)} points, at most {MOST_POINTS}")
        if not (np.isfinite(self.x_um).all() and np.isfinite(self.y_um).all() and (self.dwell_s > 0).all()):
            raise ConfigError("point list: positions must be finite and dwells positive")

    def __len__(self) -> int:
        return len(self.x_um)

    def take(self, indices: NDArray[np.int64]) -> PointList:
        """Return the points of these indices, in their order."""
        return PointList(*(getattr(self, field.name)[indices] for field in fields(self)))

    def with_dwell(self, dwell_s: NDArray[np.float64] | float) -> PointList:
        """Return the same points with another dwell, in s."""
        return replace(self, dwell_s=np.broadcast_to(np.asarray(dwell_s, np.float64), (len(self),)).copy())

    def joined(self, other: PointList) -> PointList:
        """Return the points of this list and then those of another."""
        return PointList(
            *(
                np.concatenate([getattr(self, field.name), getattr(other, field.name)])
                for field in fields(self)
            )
        )

    def ordered(self, start_um: tuple[float, float] | None = None) -> PointList:
        """Return the points in the order of a short way; see `short_way`."""
        return self.take(short_way(self.x_um, self.y_um, start_um))

    def settle_s(
        self, settling: Settling, start_um: tuple[float, float] | None = None
    ) -> NDArray[np.float64]:
        """Return the settle time before each point, (n,) s; the first from `start_um`, else without a move."""
        return settle_times(self.x_um, self.y_um, settling, start_um)

    def hardware_s(self, settling: Settling) -> float:
        """Return the time that the hardware needs for the list, s: the sum of dwells and settle times."""
        return float(self.dwell_s.sum() + self.settle_s(settling).sum())


def settle_times(
    x_um: NDArray[np.float64],
    y_um: NDArray[np.float64],
    settling: Settling,
    start_um: tuple[float, float] | None = None,
) -> NDArray[np.float64]:
    """Return the settle time before each of n points, (n,) s; the first move begins at `start_um`, if given."""
    if not len(x_um):
        return np.zeros(0)
    x0, y0 = start_um if start_um is not None else (x_um[0], y_um[0])
    return settling.seconds(np.hypot(np.diff(x_um, prepend=x0), np.diff(y_um, prepend=y0)))


def short_way(
    x_um: NDArray[np.float64], y_um: NDArray[np.float64], start_um: tuple[float, float] | None = None
) -> NDArray[np.int64]:
    """Return an order in which points are visited on a short open way: boustrophedon in strips.

    About 0.92 √(n A) long for n points spread evenly over an area A, where no way is shorter than 0.71 √(n A) in the
    limit (Beardwood, Halton and Hammersley 1959); a sort, so that ten thousand points take a millisecond.

    Parameters
    ----------
    x_um, y_um : (n,) float64
        µm.
    start_um : (float, float), optional
        Where the beam stands: the way begins at the nearer of its two ends.

    Returns
    -------
    (n,) int64
        Indices into the points, each once.

    Examples
    --------
    >>> import numpy as np
    >>> short_way(np.array([0.0, 9.0, 0.0, 9.0]), np.array([0.0, 9.0, 9.0, 0.0])).tolist()
    [0, 2, 3, 1]
    """
    n = len(x_um)
    if n < 3:
        return np.arange(n)
    width, height = float(np.ptp(x_um)), float(np.ptp(y_um))
    area = max(width, 1e-12) * max(height, 1e-12)
    strips = max(1, round(height / (STRIP_HEIGHT * np.sqrt(area / n)))) if height > 0 else 1
    strip = np.minimum((strips * (y_um - y_um.min()) / max(height, 1e-12)).astype(np.int64), strips - 1)
    along = np.where(strip % 2 == 0, x_um, -x_um)
    order = np.lexsort((y_um, along, strip))
    if start_um is not None:
        first, last = order[0], order[-1]
        gaps = [float(np.hypot(x_um[i] - start_um[0], y_um[i] - start_um[1])) for i in (first, last)]
        if gaps[1] < gaps[0]:
            order = order[::-1]
    return order.astype(np.int64)
