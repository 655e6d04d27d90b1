"""An estimate of the next map in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from .cost import Estimate, PastRun, Range
from .recommend import Recommendation

__all__ = ["describe_estimate", "describe_recommendation"]


def describe_estimate(made: Estimate, runs: Sequence[PastRun]) -> list[str]:
    """Lines that say what a map will take, and by which earlier runs."""
    total = _span(made.wall_s) if made.wall_s else "not known: beam on, plus the overhead of each point"
    dose = _amount(made.dose_nc, "nC") if made.dose_nc else "not known: give the current"
    return [
        f"points     {made.n_points} of {made.n_pixels} pixels, live {_amount(made.dwell_s, 's')} each",
        f"beam on    {_span(made.beam_s)}",
        f"total      {total}",
        f"dose       {dose}",
        f"a raster   {timedelta(seconds=round(made.raster_beam_s))} of beam for every pixel",
        _basis(runs),
    ]


def describe_recommendation(found: Recommendation | None) -> list[str]:
    """Lines that say which of raster, points and lists a specimen wants, and why; None: nothing is known."""
    if found is None:
        return [
            "recommended  not known: no earlier run of this specimen says how many counts come in a second"
        ]
    titles = {
        "raster": "a fast raster of every pixel",
        "points": "sparse points",
        "lists": "sparse point lists",
    }
    lines = [f"recommended  {titles[found.best]}: {found.why}"]
    for way in found.ways:
        dose = f", {_three(way.dose_nc)} nC" if way.dose_nc == way.dose_nc else ""
        lines.append(
            f"  {way.name:<7} {way.n_points} points of {_three(1e3 * way.dwell_s)} ms: {_three(way.time_s)} s{dose}"
        )
    if found.assumed:
        lines.append(f"  not known from earlier runs, so taken as usual: {'; '.join(found.assumed)}")
    return lines


def _basis(runs: Sequence[PastRun]) -> str:
    if not runs:
        return "by         no earlier run: dead time and overhead are not counted, the map will take longer"
    if len(runs) == 1:
        return f"by         one earlier run, {runs[0].uid[:8]}: the spread between runs is not known"
    names = ", ".join(run.uid[:8] for run in runs[:5]) + (", …" if len(runs) > 5 else "")
    return f"by         {len(runs)} earlier runs, {names}; in brackets the lowest and highest of them"


def _span(value: Range) -> str:
    low, high = (timedelta(seconds=round(v)) for v in (value.low, value.high))
    middle = str(timedelta(seconds=round(value.value)))
    return middle if low == high else f"{middle}  ({low} … {high})"


def _amount(value: Range, unit: str) -> str:
    middle = f"{_three(value.value)} {unit}"
    if value.high - value.low < 1e-3 * value.value:
        return middle
    return f"{middle}  ({_three(value.low)} … {_three(value.high)})"


def _three(value: float) -> str:
    """Three digits, and no powers of ten."""
    return f"{value:.3g}" if value < 1000 else f"{float(f'{value:.3g}'):.0f}"
