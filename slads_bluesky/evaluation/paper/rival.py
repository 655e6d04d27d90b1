"""The rival in the tables: a fast raster of every pixel, inferred with a spatial prior, at our dose and in our time.

Its distortion is measured at some doses, once with the Potts reference and once with our own best inference, and
taken between them by straight lines in logarithms. Time is that of its dwells alone, which favours it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...agent_settings import LIST_OVERHEAD_S, POINT_OVERHEAD_S
from ...phantom.paper_results import PAPER

__all__ = ["RIVAL", "RIVAL_COLUMNS", "measure_rival", "rival_rows"]

RIVAL = "rival"
"""Name of its steps, beside the methods."""
COUNTS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Counts a pixel at which it is measured."""
LARGE_COUNTS = (0.5, 2.0, 8.0, 32.0)
"""The same on maps of 1024²."""
RIVAL_COLUMNS = (
    "the rival: a fast raster of every pixel",
    "with the Potts reference",
    "with our network",
    "ours",
)
_KEYS = ("reference", "best")


def measure_rival(experiment: str, seed: int) -> dict[str, Any]:
    """Measure the raster of one object.

    Parameters
    ----------
    experiment, seed : str, int
        As of `trial.run_trial`.

    Returns
    -------
    dict
        JSON: what `benchmarks.joint_runs.measure_raster` gives, and ``trial_s``.
    """
    from ..benchmarks.joint_runs import measure_raster

    began = time.perf_counter()
    pixels = int(experiment.partition("-")[2]) ** 2
    counts = COUNTS if pixels < 2**18 else LARGE_COUNTS
    found = measure_raster(experiment, seed, counts, lambda done: None, in_counts=True)
    return {**found, "trial_s": time.perf_counter() - began}


def _td_at(rows: Sequence[Mapping[str, Any]], key: str, name: str, value: float) -> str:
    """Distortion where the column `name` (``dose_nc`` or ``time_s``) is `value`; a bound outside those."""
    at = np.array([row[name] for row in rows])
    td = np.array([max(row[key]["td"], 1e-9) for row in rows])
    if value < at[0]:
        return f"> {_short(td[0])}"
    if value > at[-1]:
        return f"< {_short(td[-1])}"
    return _short(float(np.exp(np.interp(np.log(value), np.log(at), np.log(td)))))


def _short(td: float) -> str:
    return f"{td:.5f}" if td > 1e-8 else "0"


def rival_rows(
    experiment: str, rivals: Sequence[Mapping[str, Any]], ours: Sequence[Mapping[str, Any]]
) -> list[list[str]]:
    """Lines of the rival's table, of the median seed by our dose.

    Parameters
    ----------
    experiment : str
    rivals, ours : sequence of dict
        Results of `measure_rival` and of `trial.run_trial` with our method, by seed.

    Returns
    -------
    list of [str, str, str, str]
        As `RIVAL_COLUMNS`.
    """
    from ..benchmarks.joint_runs import dose_for

    target = PAPER[experiment].td
    lines = []

    def doses(values: Sequence[float | None]) -> str:
        middle = float(np.median([np.inf if v is None else v for v in values]))
        return f"{middle:.3g}" if np.isfinite(middle) else "not reached"

    lines.append(
        [
            f"dose for a distortion of {target}, nC",
            *(doses([dose_for(rival["rows"], key, target) for rival in rivals]) for key in _KEYS),
            doses([trial["dose_at_paper_td_nC"] for trial in ours]),
        ]
    )
    middle = int(np.argsort([trial["dose_nC"] for trial in ours])[len(ours) // 2])
    rows, trial = rivals[middle]["rows"], ours[middle]
    dwell, n = float(trial.get("beam_on_total_s", np.nan)), int(trial["n_measured"])
    spent = [("dose_nc", float(trial["dose_nC"]), "distortion at our dose of {:.3g} nC")]
    if np.isfinite(dwell):
        spent += [
            ("time_s", dwell + n * POINT_OVERHEAD_S, "distortion in our time of {:.3g} s, point by point"),
            ("time_s", dwell + n * LIST_OVERHEAD_S, "distortion in our time of {:.3g} s, by point lists"),
        ]
    for name, value, title in spent:
        cells = [_td_at(rows, key, name, value) for key in _KEYS]
        lines.append([title.format(value), *cells, _short(float(trial["td"]))])
    return lines
