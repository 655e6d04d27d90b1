"""Trials of several seeds as one table and two charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .figures_of_paper import PAPER
from .trial import METHODS, SCORES

__all__ = ["charts", "rows", "summarise"]

_LINES = {
    "random": ("#9aa0a6", ":"),
    "low-discrepancy": ("#5f6b7a", "--"),
    "paper": ("#d1495b", "-"),
    "ours": ("#2a9d8f", "-"),
    "oracle": ("#f2c14e", "-."),
}


def summarise(trials: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Median and worst of each score over the trials of one method.

    A score that a trial did not reach (None) counts as worst of all, and as infinite in the median.

    Returns
    -------
    dict
        Score to ``{"median": …, "worst": …}``, None where that was not reached.
    """
    found: dict[str, Any] = {}
    for score in SCORES:
        values = [np.inf if t[score] is None else float(t[score]) for t in trials]
        median, worst = float(np.median(values)), float(np.max(values))
        found[score] = {
            "median": median if np.isfinite(median) else None,
            "worst": worst if np.isfinite(worst) else None,
        }
    return found


def _number(value: float | None, form: str) -> str:
    return "not reached" if value is None else format(value, form)


def rows(
    experiment: str, summaries: Mapping[str, Mapping[str, Any]], raster_dose_nc: float
) -> list[list[str]]:
    """Lines of the table of one experiment.

    Parameters
    ----------
    experiment : str
        A key of `PAPER`.
    summaries : mapping
        Method (``paper``, ``ours``) to what `summarise` gave.
    raster_dose_nc : float
        Dose of a full raster at the paper's dwell, nC.

    Returns
    -------
    list of [str, str, str, …]
        What it is, the paper's figure, and for each method "median (worst)".
    """
    paper, n = PAPER[experiment], "–"
    forms = {
        "td": ("total distortion, clean truth", n, ".5f"),
        "td_paper_definition": ("total distortion, label 0 in the truth", f"{paper.td:.4f}", ".5f"),
        "fraction_at_paper_td": (f"fraction at distortion {paper.td}", f"{paper.fraction:.2f}", ".4f"),
        "misclassification": ("misclassification", f"{paper.misclassification:.4f}", ".5f"),
        "false_alarm": ("false alarms", n, ".5f"),
        "counts_per_pixel": ("counts a pixel", n, ".0f"),
        "dwell_per_pixel_s": ("live time a pixel, s", f"{paper.dwell_s:.0f}", ".4g"),
        "dose_nC": ("total dose, nC", n, ".4g"),
        "dose_at_paper_td_nC": (f"dose at distortion {paper.td}, nC", n, ".4g"),
        "decision_us": ("a decision, µs", n, ".0f"),
        "point_ms": ("a point besides its dwell, ms", n, ".1f"),
        "peak_rss_mb": ("memory, MB", n, ".0f"),
    }
    table = [
        [
            title,
            told,
            *(
                f"{_number(s[key]['median'], form)} ({_number(s[key]['worst'], form)})"
                for s in summaries.values()
            ),
        ]
        for key, (title, told, form) in forms.items()
    ]
    base = summaries.get("paper", {}).get("dose_at_paper_td_nC", {}).get("median")
    doses = [s["dose_at_paper_td_nC"]["median"] for s in summaries.values()]
    table.append(
        [
            "dose saved against the paper's method",
            n,
            *(f"{base / d:.0f} ×" if base and d else n for d in doses),
        ]
    )
    table.append(
        ["dose saved against a full raster", n, *(f"{raster_dose_nc / d:.0f} ×" if d else n for d in doses)]
    )
    return table


def charts(path: Path, experiment: str, curves: Mapping[str, Sequence[Sequence[float]]]) -> None:
    """Draw distortion against samples and against dose, a line a method.

    Parameters
    ----------
    path : Path
        Of the picture.
    experiment : str
        For the title and the paper's own point.
    curves : mapping
        Name to rows of [n, dose in nC, TD].
    """
    n_pixels = int(experiment.partition("-")[2]) ** 2
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    by_fraction, by_dose = figure.subplots(1, 2)
    for name, curve in curves.items():
        n, dose, td = (np.array(column, float) for column in zip(*curve, strict=True))
        colour, dashes = _LINES.get(name, ("#1b2a41", "-"))
        label = METHODS[name].title if name in METHODS else name
        floor = np.maximum(td, 0.5 / n_pixels)  # a perfect map has no place on a logarithmic axis
        by_fraction.plot(n / n_pixels, floor, dashes, color=colour, label=label)
        by_dose.plot(dose, floor, dashes, color=colour)
    paper = PAPER[experiment]
    by_fraction.plot(paper.fraction, paper.td, "k*", markersize=11, label="the paper's own figure")
    by_dose.axhline(paper.td, color="black", linewidth=0.6)
    for axes, name in ((by_fraction, "part of the pixels measured"), (by_dose, "dose on the specimen, nC")):
        axes.set_yscale("log")
        axes.set_xlabel(name)
        axes.set_ylabel("total distortion")
    by_dose.set_xscale("log")
    by_fraction.legend(fontsize="small", frameon=False)
    figure.suptitle(experiment)
    figure.savefig(path, dpi=110)
