"""The table: trials of several seeds as lines, on a terminal or in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...phantom.paper_results import PAPER
from ..figures import Figure, at_most
from .trial import METHODS, SCORES

__all__ = [
    "COLUMNS",
    "as_table",
    "heading",
    "markdown",
    "paper_figures",
    "rows",
    "smoother",
    "summarise",
    "titles",
]

COLUMNS = ("", "the paper", *(method.column for method in METHODS.values()))
"""Headings of each table."""

NONE = "–"


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


def heading(experiment: str, boundary_fractions: Sequence[float]) -> str:
    """Experiment, its grid and samples, and how hard each of its objects was, in their order."""
    b = ", ".join(f"{value:.3f}" for value in boundary_fractions)
    size, part = experiment.partition("-")[2], _percent(PAPER[experiment].fraction)
    return f"{experiment}: {size} × {size}, {part} of the pixels; boundary fraction {b}"


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
        Name, the paper's figure, and for each method the median and, of several seeds, the worst.
    """
    lines = [
        [title, paper, *(_cell(of[score], form) for of in summaries.values())]
        for score, title, paper, form in _scores(experiment)
    ]
    base = summaries.get("paper", {}).get("dose_at_paper_td_nC", {}).get("median")
    for title, against in (
        ("dose reduction factor against the paper's method", base),
        ("dose reduction factor against a full raster", raster_dose_nc),
    ):
        lines.append([title, NONE, *(_reduction(against, of) for of in summaries.values())])
    return lines


def _scores(experiment: str) -> list[tuple[str, str, str, str]]:
    """Score, title, the paper's figure and format of each line."""
    paper, at = PAPER[experiment], f"for a distortion of {PAPER[experiment].td}"
    return [
        ("fraction_at_paper_td", f"samples {at}", _percent(paper.fraction), "percent"),
        (
            "fraction_at_paper_definition",
            f"samples {at}, invalid pixels counted",
            _percent(paper.fraction),
            "percent",
        ),
        ("td", "distortion at the end", NONE, ".5f"),
        ("td_paper_definition", "distortion at the end, invalid pixels counted", f"{paper.td:.4f}", ".5f"),
        ("misclassification", "misclassified", f"{paper.misclassification:.4f}", ".5f"),
        ("false_alarm", "false alarms", NONE, ".5f"),
        ("counts_per_pixel", "counts per pixel", NONE, "short"),
        ("dwell_per_pixel_s", "live time per pixel, s", f"{paper.dwell_s:.0f}", ".4g"),
        ("dose_nC", "total dose, nC", NONE, "short"),
        ("dose_at_paper_td_nC", f"dose {at}, nC", NONE, "short"),
        ("decision_us", "time per decision, µs", NONE, ".0f"),
        ("point_ms", "time per point besides its dwell, ms", NONE, ".1f"),
        ("peak_rss_mb", "memory, MiB", NONE, ".0f"),
    ]


def paper_figures(experiment: str, found: Mapping[str, Any]) -> list[Figure]:
    """Return the figures whose goals are the paper's own, for its method and for ours.

    Parameters
    ----------
    experiment : str
        A key of `PAPER`.
    found : mapping
        Method to what `summarise` gave.
    """
    paper, figures = PAPER[experiment], []
    goals = {
        "fraction_at_paper_td": paper.fraction,
        "fraction_at_paper_definition": paper.fraction,
        "td_paper_definition": paper.td,
        "misclassification": paper.misclassification,
    }
    names = {score: title for score, title, _, _ in _scores(experiment)}
    for method, how in METHODS.items():
        for score, goal in goals.items():
            name = f"{experiment}, {how.title}: {names[score]}"
            figures.append(at_most(name, found[method][score]["median"], goal))
    return figures


def titles(experiment: str) -> list[str]:
    """First column of an experiment's table."""
    empty = {method: summarise([dict.fromkeys(SCORES, 1.0)]) for method in METHODS}
    return [row[0] for row in rows(experiment, empty, 1.0)]


def smoother(experiment: str, boundary_fractions: Sequence[float | None]) -> str:
    """Sentence on the boundary fraction that each object needs for the paper's method (`smoother_object`)."""
    paper = PAPER[experiment]
    found = ", ".join("less than was tried" if b is None else f"{b:.3f}" for b in boundary_fractions)
    return (
        f"By the paper's method {_percent(paper.fraction)} of the pixels give a distortion of {paper.td} where the "
        f"same objects are made coarser, up to boundary fractions of {found}."
    )


def markdown(tables: Sequence[tuple[str, Sequence[Sequence[str]], str]]) -> str:
    """Tables in Markdown, one after the other: heading, lines and a remark on each, "" for none.

    Headings, lines and remarks are those of `heading`, `rows` and `smoother`.
    """
    parts = []
    for title, lines, remark in tables:
        name, _, about = title.partition(": ")
        parts.append(f"**{name}**: {about}\n\n{as_table(COLUMNS, lines)}")
        if remark:
            parts.append(remark)
    return "\n\n".join(parts) + "\n"


def as_table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, its first column aligned to the left."""
    head = [f"| {' | '.join(columns)} |", "|---|" + "--:|" * (len(columns) - 1)]
    return "\n".join([*head, *(f"| {' | '.join(line)} |" for line in lines)])


def _percent(value: float, digits: int = 0) -> str:
    return f"{100 * value:.{digits}f} %"


def _number(value: float | None, form: str) -> str:
    if value is None:
        return "not reached"
    if form == "percent":
        return _percent(value, 1)
    if value == 0:
        return "0"
    if form == "short":
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return format(value, form)


def _cell(of: Mapping[str, float | None], form: str) -> str:
    """The median and, where it is another, the worst."""
    median, worst = _number(of["median"], form), _number(of["worst"], form)
    return median if median == worst else f"{median} ({worst})"


def _reduction(against: float | None, of: Mapping[str, Any]) -> str:
    dose = of["dose_at_paper_td_nC"]["median"]
    return f"{against / dose:.0f} ×" if against and dose else NONE
