"""Distortion against samples and against dose: a line per method, and a band over its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ...files import atomic_write
from ...phantom.paper_results import PAPER
from .trial import METHODS

__all__ = ["Curve", "band", "charts", "real_chart"]

Curve = Sequence[Sequence[float]]
"""Rows of [n, dose in nC, TD]."""

_LINES = {
    "random": ("#9aa0a6", ":"),
    "low-discrepancy": ("#5f6b7a", "--"),
    "paper": ("#d1495b", "-"),
    "ours": ("#2a9d8f", "-"),
    "oracle": ("#f2c14e", "-."),
}


def band(
    curves: Sequence[Curve], column: int, floor: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Median and range of curves over their seeds.

    Parameters
    ----------
    curves : sequence of Curve
        One per seed.
    column : int
        0 for samples, 1 for dose.
    floor : float
        Replaces smaller distortions: a perfect map has no place on a logarithmic axis.

    Returns
    -------
    at, median, least, most : (n,) float64 arrays
        Between the places where every curve has begun and where the last one ends; a curve that ends before (its
        map is right) stays where it ended.
    """
    ends = [np.array(curve, np.float64)[:, [column, 2]] for curve in curves]
    ends = [found[np.isfinite(found).all(axis=1)] for found in ends]
    ends = [found for found in ends if len(found)]
    if not ends:
        nothing = np.zeros(0)
        return nothing, nothing, nothing, nothing
    first, last = max(found[0, 0] for found in ends), max(found[-1, 0] for found in ends)
    at = np.geomspace(first, max(first, last), 60)
    values = np.array(
        [np.interp(np.log(at), np.log(x), np.log(np.maximum(y, floor))) for x, y in (e.T for e in ends)]
    )
    low, median, high = (np.exp(f(values, axis=0)) for f in (np.min, np.median, np.max))
    return at, median, low, high


def charts(path: Path, experiment: str, curves: Mapping[str, Sequence[Curve]]) -> None:
    """Draw the curves of an experiment.

    Parameters
    ----------
    path : Path
        Of the picture.
    experiment : str
        For the title and the paper's own point.
    curves : mapping
        Name to a `Curve` for each seed.
    """
    n_pixels = int(experiment.partition("-")[2]) ** 2
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    by_fraction, by_dose = figure.subplots(1, 2)
    for name, of_seeds in curves.items():
        colour, dashes = _LINES.get(name, ("#1b2a41", "-"))
        label = f"{METHODS[name].title}: {METHODS[name].about}" if name in METHODS else name
        for axes, column, scale in ((by_fraction, 0, 1.0 / n_pixels), (by_dose, 1, 1.0)):
            at, median, low, high = band(of_seeds, column, 0.5 / n_pixels)
            axes.plot(at * scale, median, dashes, color=colour, label=label)
            if len(of_seeds) > 1:
                axes.fill_between(at * scale, low, high, color=colour, alpha=0.2, linewidth=0)
    paper = PAPER[experiment]
    by_fraction.plot(paper.fraction, paper.td, "k*", markersize=11, label="the paper's own figure")
    by_dose.axhline(paper.td, color="black", linewidth=0.6)
    _finish(by_fraction, "part of the pixels measured", "total distortion")
    _finish(by_dose, "dose on the specimen, nC", "total distortion")
    by_dose.set_xscale("log")
    handles, labels = by_fraction.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize="small", frameon=False)
    figure.suptitle(experiment)
    _save(figure, path)


def real_chart(path: Path, results: Mapping[str, Any]) -> None:
    """Draw the disagreement of a measured map with its full map, against pixels and dose; `map_real` made it."""
    looks = [_LINES[name] for name in ("low-discrepancy", "paper", "ours", "oracle")]
    looks.append(("#7b4fa3", ":"))
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2)
    methods = list(results["methods"].values())
    for (colour, dashes), found in zip(looks[: len(methods)], methods, strict=True):
        curve = np.array(found["curve"], np.float64)
        for axes, column in zip(panels, (0, 1), strict=True):
            wrong = np.maximum(1.0 - curve[:, 2], 1e-4)
            axes.plot(curve[:, column], wrong, dashes, color=colour, label=found["title"])
    for axes, what in zip(
        panels, ("part of the pixels measured", "part of the full map's dose"), strict=True
    ):
        for level in (0.01, 0.02, 0.05):
            axes.axhline(level, color="black", linewidth=0.4)
        _finish(axes, what, f"part that disagrees with {results.get('judge', 'the full map')}")
        axes.set_xscale("log")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize="small", frameon=False)
    figure.suptitle(str(results["map"]))
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=110)


def _finish(axes: Any, across: str, up: str) -> None:
    axes.set_yscale("log")
    axes.set_xlabel(across)
    axes.set_ylabel(up)
