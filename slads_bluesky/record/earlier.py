"""What the earlier maps of a record took: the basis of an estimate of the next one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..analysis.cost import PastRun, past_run
from ..errors import RecordError
from ..simulated import simulated_object
from .runs import list_runs

__all__ = ["earlier_runs"]


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
