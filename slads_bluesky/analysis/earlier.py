"""What the earlier maps of a record took, and an estimate of the next one in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

from ..errors import RecordError
from ..simulated import simulated_object
from .cost import Estimate, PastRun, Range, past_run

__all__ = ["describe_estimate", "earlier_runs"]


def earlier_runs(
    where: str | Path | None,
    *,
    sample: str | None = None,
    object_name: str | None = None,
    last: int = 20,
    on_run: Callable[[str], None] = lambda text: None,
) -> list[PastRun]:
    """Read what the latest maps of a record took.

    Parameters
    ----------
    where : str or path, optional
        The record; by default the user's own.
    sample, object_name : str, optional
        Only maps of that sample, of that simulated object.
    last : int
        At most this many.
    on_run : callable
        Called with a sentence before each run is read.
    """
    from ..record.runs import list_runs

    found: list[PastRun] = []
    try:
        recorded = list_runs(where)
    except RecordError:
        if where is not None:
            raise
        recorded = []  # the user's own record begins with the first run
    for run in reversed(recorded):
        if sample is not None and run.start.get("sample") != sample:
            continue
        specimen = simulated_object(run.start)
        if object_name is not None and (specimen is None or specimen.name != object_name):
            continue
        if "grid" not in run.start:
            continue
        on_run(f"reading run {run.uid[:8]}")
        try:
            past = past_run(run.documents())
        except RecordError:
            continue  # a damaged run is no reason not to look at the others
        if past is not None:
            found.append(past)
        if len(found) == last:
            break
    return found


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
