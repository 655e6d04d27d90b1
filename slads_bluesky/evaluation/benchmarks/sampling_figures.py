"""Figures of `bench sampling` with the goals of the issue on the sampler."""

from __future__ import annotations

import math
import statistics
from typing import Any

from ..figures import Figure, at_least, at_most, measured
from .large import HUGE, START
from .trace import LEVEL

__all__ = ["sampling_figures"]

DECISION_US = {
    "slads": {"pbsn-128": 60.0, "powder-256": 65.0, "pbsn-1024": 140.0, "powder-1024": 140.0},
    "learned": {"pbsn-128": 400.0, "powder-256": 700.0, "pbsn-1024": 350.0, "powder-1024": 700.0},
}
"""Goals of a decision: of SLADS the median, of the learned sampler the mean, batches included."""
COVERAGE = (0.85, 0.95)


def sampling_figures(found: dict[str, Any]) -> list[Figure]:
    """Return one figure for each goal, of what `found` holds.

    Parameters
    ----------
    found : dict
        Results of the command: ``objects``, ``natural``, ``coverage``, ``large``.
    """
    figures = []
    for row in found["objects"]:
        name = f"{row['sampler']}, {row['object']}"
        figures.append(at_most(f"{name}: {row['asked']}", row["median"], row["goal"]))
        goals = DECISION_US.get(row["sampler"], {})
        times = row["decision_us" if row["sampler"] == "slads" else "decision_mean_us"]
        known = [value for value in times if value is not None]
        if known and row["object"] in goals:
            figures.append(
                at_most(f"{name}: time per decision", statistics.median(known), goals[row["object"]], "µs")
            )
    figures += _natural(found["natural"])
    for row in found["coverage"]:
        if row["group"].endswith(", all"):
            low, high = COVERAGE
            name = f"{row['group'][:-5]}: {LEVEL:.0%} interval contains the true distortion"
            share = row["coverage"]
            figures.append(Figure(name, share, f"{low:.0%} … {high:.0%}", low <= share <= high))
    for row in found["large"]:
        name = f"{row['sampler']}, {row['side']}²"
        if row["side"] == START:
            figures.append(at_most(f"{name}: start-up", row["start_s"], 3, "s"))
        elif row["side"] == HUGE:
            if row["sampler"] == "slads":
                figures.append(at_most(f"{name}: time per decision", row["decision_us"]["median"], 300, "µs"))
            figures.append(at_most(f"{name}: memory", row["peak_rss_mb"], 2048, "MB"))
    return figures


def _natural(rows: list[dict[str, Any]]) -> list[Figure]:
    """Fraction needed against SLADS: the largest ratio over the photographs, and how many are at most 1."""
    figures = []
    for row in rows:
        for name, worst in row["worst_ratio"].items():
            about = f"{name} / slads, {row['image']} in {row['phases']} phases: distortion at any fraction, largest"
            figures.append(at_most(about, None if worst is None else worst[0], 1.0))
    for name in {name: None for row in rows for name in row["ratio"]}:
        ratios = [row["ratio"].get(name) for row in rows]
        known = [ratio for ratio in ratios if ratio is not None]
        worst = max(known, default=math.nan) if len(known) == len(ratios) else None
        figures.append(at_most(f"{name} / slads on photographs, largest", worst, 1.0))
        figures.append(
            measured(f"{name} / slads on photographs, median", statistics.median(known) if known else None)
        )
        figures.append(
            at_least(f"{name} / slads at most 1, photographs", sum(r <= 1 for r in known), len(ratios))
        )
    return figures
