"""Distortion with its interval, against samples, time or dose; of one map or of two."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from bokeh.models import (
    BoxZoomTool,
    ColumnDataSource,
    HoverTool,
    PanTool,
    Range1d,
    ResetTool,
    SaveTool,
    Span,
    WheelZoomTool,
)
from bokeh.plotting import figure

from .analyst import CurvePoint
from .desk import WatchedRun
from .look import COLOURS, dress, plain_toolbar

__all__ = ["AXES", "CurvePanel"]

AXES = {"samples": "pixels measured, %", "time": "time, s", "dose": "dose, nC"}
"""What the distortion may be drawn against."""
FLOOR = 1e-5
"""Distortions below this are drawn here: the axis is logarithmic."""


class CurvePanel:
    """A figure for the distortion curve."""

    def __init__(self) -> None:
        self._xs, self._ys = Range1d(0, 10), Range1d(FLOOR, 1.0)
        wheel = WheelZoomTool()
        self.figure: Any = figure(
            name="curve", sizing_mode="stretch_both", min_height=180, x_range=self._xs, y_range=self._ys,
            y_axis_type="log", tools=[PanTool(), BoxZoomTool(), wheel, ResetTool(), SaveTool()],
            toolbar_location="above", toolbar_inner=True, x_axis_label=AXES["samples"],
            y_axis_label="estimated distortion", output_backend="canvas",
        )  # fmt: skip
        plain_toolbar(self.figure)
        self._sources = [ColumnDataSource(_columns([], [])) for _ in range(2)]
        self._recorded = [ColumnDataSource({"x": [], "y": []}) for _ in range(2)]
        self._bands = [
            self.figure.varea(x="x", y1="low", y2="high", source=source, fill_alpha=0.2)
            for source in self._sources
        ]
        self._lines = [
            self.figure.line(x="x", y="y", source=source, line_width=2) for source in self._sources
        ]
        self._dots = [
            self.figure.scatter(x="x", y="y", source=source, size=6, line_width=1.5, fill_alpha=0)
            for source in self._recorded
        ]
        self._limit = Span(dimension="width", location=FLOOR, line_dash="dashed", visible=False)
        self.figure.add_layout(self._limit)
        self.figure.add_tools(
            HoverTool(
                renderers=self._lines, mode="vline",
                tooltips=[
                    ("measured", "@n pixels"), ("distortion", "@y{0.00000}"),
                    ("90 % interval", "@low{0.00000} … @high{0.00000}"),
                ],
            )
        )  # fmt: skip

    def dress(self, theme: str) -> None:
        """Take the colours of a theme."""
        dress(self.figure, theme)
        for i, role in enumerate(("line", "other")):
            colour = COLOURS[theme][role]
            self._bands[i].glyph.fill_color = self._lines[i].glyph.line_color = colour
            self._dots[i].glyph.line_color = colour
        self._limit.line_color = COLOURS[theme]["limit"]

    def refit(self) -> None:
        """Show the whole of what comes next, zoomed or not."""
        for span in (self._xs, self._ys):
            span.update(reset_start=span.start, reset_end=span.end)

    def show(self, runs: list[WatchedRun | None], axis: str) -> None:
        """Show the curves of one run or two, against one of `AXES`."""
        self.figure.xaxis[0].axis_label = AXES[axis]
        lowest, highest, furthest = 1.0, FLOOR, 0.0
        for i, run in enumerate([*runs, None, None][:2]):
            curve = [] if run is None else [p for p in list(run.analyst.curve) if math.isfinite(p.distortion)]
            xs = [] if run is None else [_against(point, run, axis) for point in curve]
            self._sources[i].data = _columns(xs, curve)
            self._recorded[i].data = {"x": [], "y": []} if run is None else _recorded(run, axis)
            drawn = np.concatenate([self._sources[i].data["y"], self._recorded[i].data["y"]])
            furthest = max([furthest, *xs, *self._recorded[i].data["x"]])
            if drawn.size:
                lowest = min(lowest, float(drawn.min()))
                highest = max(
                    highest, float(drawn.max()), float(np.max(self._sources[i].data["high"], initial=FLOOR))
                )
        stop_at = runs[0].follower.state.stop_at if runs and runs[0] is not None else None
        self._limit.visible = stop_at is not None
        if stop_at is not None:
            self._limit.location = stop_at
            lowest = min(lowest, stop_at)
        if furthest > 0:
            _fit(self._xs, 0.0, furthest * 1.03)
        if highest > FLOOR:
            _fit(self._ys, max(lowest / 2, FLOOR), min(highest * 1.5, 1.0))


def _fit(span: Range1d, start: float, end: float) -> None:
    """Let a range show something else, unless the user has zoomed into it."""
    untouched = (span.start, span.end) == (span.reset_start, span.reset_end) or span.reset_end is None
    span.update(reset_start=start, reset_end=end)
    if untouched:
        span.update(start=start, end=end)


def _against(point: CurvePoint, run: WatchedRun, axis: str) -> float:
    if axis == "time":
        return point.seconds
    if axis == "dose":
        return point.dose_nc
    return 100.0 * point.n / run.follower.state.grid.n_pixels


def _columns(xs: list[float], curve: list[CurvePoint]) -> dict[str, Any]:
    y = np.maximum([p.distortion for p in curve], FLOOR)
    low = np.array([p.low for p in curve], float)
    high = np.array([p.high for p in curve], float)
    known = np.isfinite(low) & np.isfinite(high)
    return {
        "x": np.array(xs, float), "n": np.array([p.n for p in curve]), "y": y,
        "low": np.maximum(np.where(known, low, y), FLOOR), "high": np.maximum(np.where(known, high, y), FLOOR),
    }  # fmt: skip


def _recorded(run: WatchedRun, axis: str) -> dict[str, Any]:
    """Estimates that the run itself recorded, in its stream ``map``."""
    state, points = run.follower.state, run.follower.state.points
    found = [(n, d) for n, d in list(state.curve) if 0 < n <= points.n]
    xs = [
        _against(
            CurvePoint(
                n,
                float(points.column("seconds")[n - 1]),
                float(points.column("dose_nc")[n - 1]),
                d,
                math.nan,
                math.nan,
            ),
            run,
            axis,
        )
        for n, d in found
    ]
    return {"x": np.array(xs, float), "y": np.maximum([d for _, d in found], FLOOR)}
