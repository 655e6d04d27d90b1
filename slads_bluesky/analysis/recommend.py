"""Raster, sparse points or point lists: which of them a specimen wants, and why. Pure: numbers in, words out.

A fast raster gives every pixel a few counts and lets its neighbours say the rest (`sampling.joint`); sparse visits
give some pixels many counts and pay for each visit. Which is cheaper depends on how much one count says, on how much
of the map is boundary, and on what a visit costs besides its dwell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

from ..agent_settings import LIST_OVERHEAD_S, POINT_OVERHEAD_S
from ..errors import ConfigError
from .cost import PastRun

__all__ = ["Minimise", "Recommendation", "Way", "raster_nats", "recommend"]

Minimise = Literal["dose", "time", "both"]

EASE, FALL = 1.0, 1.7
"""A raster's wrong pixels, as a part of those at boundaries, are about EASE · exp(-FALL · √n) at n nats a pixel: so
it is for the eutectic and the powder of `bench joint` from 0.2 to 7 nats."""
USUAL_BOUNDARY = 0.1
USUAL_NATS = 0.3
CLEAR_GAIN = 0.8
"""A way is recommended over the plainer one only where its cost is under this part of the other's."""


@dataclass(frozen=True)
class Way:
    """One way to map the specimen."""

    name: Literal["raster", "points", "lists"]
    n_points: int
    dwell_s: float
    """Real time of a point, s."""
    time_s: float
    """From start to end, s."""
    dose_nc: float
    """On the specimen, nC; NaN without a current."""


@dataclass(frozen=True)
class Recommendation:
    """What is cheapest for a specimen."""

    best: Literal["raster", "points", "lists"]
    why: str
    ways: tuple[Way, ...]
    assumed: tuple[str, ...]
    """What no earlier run says and was taken as usual, in words."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def raster_nats(distortion: float, boundary: float) -> float:
    """Return the information that each pixel of a raster needs for a distortion, with a spatial prior, nats.

    Parameters
    ----------
    distortion : float
        Wanted total distortion.
    boundary : float
        Part of the pixels that lie at boundaries.

    Examples
    --------
    More where less may be wrong, or more of the map is boundary:

    >>> raster_nats(0.001, 0.1) > raster_nats(0.01, 0.1) < raster_nats(0.01, 0.2)
    True
    """
    return (max(math.log(EASE * boundary / distortion), 0.3) / FALL) ** 2


def recommend(
    runs: Sequence[PastRun],
    *,
    n_pixels: int,
    fraction: float,
    distortion: float = 0.005,
    minimise: Minimise = "both",
    dwell_s: float | None = None,
    current_na: float | None = None,
) -> Recommendation | None:
    """Compare a fast raster, sparse points and sparse point lists of one specimen.

    Parameters
    ----------
    runs : sequence of PastRun
        Earlier runs on the same instrument and specimen.
    n_pixels : int
        Of the map.
    fraction : float
        Part of them that a sparse map visits.
    distortion : float
        That the map may have, for the raster's dwell.
    minimise : {"dose", "time", "both"}
        What decides; ``both`` weighs their logarithms alike.
    dwell_s, current_na : float, optional
        Of a sparse point, and of the beam; by default those of the earlier runs.

    Returns
    -------
    Recommendation or None
        None where no earlier run knows the rate of counts.

    Raises
    ------
    ConfigError
        If the distortion lies outside (0, 0.5).
    """
    if not 0 < distortion < 0.5:
        raise ConfigError(f"distortion must be above 0 and under 0.5, not {distortion:g}")
    assumed: list[str] = []

    def usual(name: str, values: Sequence[float], otherwise: float, words: str) -> float:
        known = [value for value in values if math.isfinite(value)]
        if not known:
            assumed.append(words.format(otherwise))
        return median(known) if known else otherwise

    rates = [run.rate_cps for run in runs if math.isfinite(run.rate_cps) and run.rate_cps > 0]
    if not rates:
        return None
    nats = usual("nats", [run.nats_per_count for run in runs], USUAL_NATS, "{:g} nats a count")
    boundary = usual(
        "boundary", [run.boundary for run in runs], USUAL_BOUNDARY, "a boundary fraction of {:g}"
    )
    ratio = usual("ratio", [run.real_per_live for run in runs], 1.0, "no dead time")
    of_points = [run.overhead_s for run in runs if not run.by_lists]
    of_lists = [run.overhead_s for run in runs if run.by_lists]
    point_s = usual("points", of_points, POINT_OVERHEAD_S, "{:g} s a point besides its dwell")
    list_s = usual("lists", of_lists, LIST_OVERHEAD_S, "{:g} s a point of a list besides its dwell")
    current = math.nan
    if current_na is not None:
        current = current_na
    elif known := [run.current_na for run in runs if math.isfinite(run.current_na)]:
        current = median(known)
    live = median([run.live_s for run in runs]) if dwell_s is None else dwell_s
    sparse_s, n = live * ratio, max(1, round(fraction * n_pixels))
    counts = raster_nats(distortion, max(boundary, 1e-3)) / max(nats, 1e-6)
    raster_s = counts / median(rates) * ratio
    ways = (
        Way("raster", n_pixels, raster_s, n_pixels * raster_s, n_pixels * raster_s * current),
        Way("points", n, sparse_s, n * (sparse_s + point_s), n * sparse_s * current),
        Way("lists", n, sparse_s, n * (sparse_s + list_s), n * sparse_s * current),
    )
    best = _cheapest(ways, minimise)
    return Recommendation(best.name, _why(best, ways, counts, nats, boundary), ways, tuple(assumed))


def _cost(way: Way, minimise: Minimise) -> float:
    """Cost to be compared; the dose counts as the beam's time where the current is not known."""
    beam = way.n_points * way.dwell_s
    return {"dose": beam, "time": way.time_s, "both": math.sqrt(beam * way.time_s)}[minimise]


def _cheapest(ways: Sequence[Way], minimise: Minimise) -> Way:
    """The cheapest way; a raster needs no adaptive map, points need no scan generator: they win where it is close."""
    raster, points, lists = ways
    best = raster
    for other in (points, lists):
        if _cost(other, minimise) < CLEAR_GAIN * _cost(best, minimise):
            best = other
    return best


def _why(best: Way, ways: Sequence[Way], counts: float, nats: float, boundary: float) -> str:
    raster, points, lists = ways
    needs = f"{counts:.3g} counts a pixel at {nats:.2g} nats a count and {100 * boundary:.2g} % boundary"
    beam = raster.n_points * raster.dwell_s / (points.n_points * points.dwell_s)
    of_lists, of_points = raster.time_s / lists.time_s, raster.time_s / points.time_s
    if best.name == "raster":
        return (
            f"a raster needs {needs}: {beam:.2g} × the dose of the sparse map, in {of_lists:.2g} × the time of its "
            f"lists and {of_points:.2g} × that of its points"
        )
    if best.name == "points":
        moving = 1.0 - points.dwell_s * points.n_points / points.time_s
        return (
            f"a raster needs {needs}, {beam:.2g} × the dose of the sparse map; moves and readout are "
            f"{100 * moving:.0f} % of the time of points, so that lists would save little"
        )
    return (
        f"a raster needs {needs}, {beam:.2g} × the dose of the sparse map; point by point it takes "
        f"{points.time_s / lists.time_s:.2g} × the time of lists"
    )
