"""One map: an image in µm with a scale bar, zoom and pan, a pointer and a mark for the pixel that is pinned."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.models import (
    ColumnDataSource,
    CustomJS,
    DataRange1d,
    LinearColorMapper,
    MetricLength,
    PanTool,
    ResetTool,
    SaveTool,
    ScaleBar,
    Spinner,
    WheelZoomTool,
)
from bokeh.plotting import figure

from ..grid import ScanGrid
from .layers import Picture
from .look import COLOURS, dress, plain_toolbar

__all__ = ["MapPanel"]


class MapPanel:
    """A figure for one layer of one map.

    Parameters
    ----------
    name : str
        Of the root in the page's template.
    ranges : (DataRange1d, DataRange1d)
        Shared with the other panel, so that both show the same region.
    """

    def __init__(self, name: str, ranges: tuple[DataRange1d, DataRange1d]) -> None:
        x, y = ranges
        wheel = WheelZoomTool(zoom_on_axis=False)
        self.figure: Any = figure(
            name=name, x_range=x, y_range=y, match_aspect=True, sizing_mode="stretch_both", min_height=220,
            tools=[PanTool(), wheel, ResetTool(), SaveTool()], toolbar_location="above", toolbar_inner=True,
            x_axis_label="x, µm", y_axis_label="y, µm", output_backend="canvas",
        )  # fmt: skip
        self.figure.toolbar.active_scroll = wheel
        plain_toolbar(self.figure)
        self.figure.grid.visible = False
        self._source = ColumnDataSource(_nothing())
        self._mapper = LinearColorMapper(palette=["#eceff1"], low=0, high=1, nan_color="#eceff1")
        self.figure.image(
            image="image", x="x", y="y", dw="w", dh="h", source=self._source, color_mapper=self._mapper,
        )  # fmt: skip
        self._colours = ColumnDataSource(_no_colours())
        self.figure.image_rgba(image="image", x="x", y="y", dw="w", dh="h", source=self._colours)
        self._mark = ColumnDataSource({"x": [], "y": [], "w": [], "h": []})
        for width, colour in ((5, "#000000"), (2, "#ffffff")):  # seen on every ground
            self.figure.rect(
                x="x", y="y", width="w", height="h", source=self._mark, fill_alpha=0, line_width=width,
                line_color=colour,
            )  # fmt: skip
        self._bar = ScaleBar(
            range=x, unit="µm", dimensional=MetricLength(), orientation="horizontal",
            location="bottom_left", bar_length=0.2, bar_line_width=3, bar_line_color="#3b82d6",
            label="@{value} @{unit}", padding=8, margin=8,
            border_line_color=None, background_fill_alpha=0.75, length_sizing="adaptive",
        )  # fmt: skip
        self.figure.add_layout(self._bar)
        self._shown: tuple[Any, ...] = ()
        self._fits = Spinner(value=0)
        self._fits.js_on_change(
            "value", CustomJS(args={"plot": self.figure}, code="setTimeout(() => plot.reset.emit())")
        )
        self.figure.tags = [self._fits]

    def dress(self, theme: str) -> None:
        """Take the colours of a theme."""
        dress(self.figure, theme)
        colours = COLOURS[theme]
        self._mapper.nan_color = "#eceff1" if theme == "light" else "#4a5462"
        self._bar.background_fill_color = colours["card"]
        self._bar.label_text_color = colours["text"]

    def show(self, picture: Picture | None, grid: ScanGrid | None) -> None:
        """Show a picture of a grid; nothing without one."""
        if picture is None or grid is None:
            self._source.data, self._colours.data = _nothing(), _no_colours()
            return
        (y0, y1), (x0, x1) = grid.extents_um
        dy, dx = grid.step_um
        if (picture.palette, picture.low, picture.high) != self._shown:
            self._shown = (picture.palette, picture.low, picture.high)
            self._mapper.update(palette=list(picture.palette), low=picture.low, high=picture.high)
        place = {"x": [x0 - dx / 2], "y": [y0 - dy / 2], "w": [x1 - x0 + dx], "h": [y1 - y0 + dy]}
        self._source.data = {"image": [picture.image], **place}
        if picture.rgba is not None:
            packed = np.ascontiguousarray(picture.rgba).view(np.uint32)[..., 0]
            self._colours.data = {"image": [packed], **place}
        elif self._colours.data["x"]:
            self._colours.data = _no_colours()

    def refit(self) -> None:
        """Show the whole of what comes next: another map lies elsewhere."""
        self._fits.value += 1

    def mark(self, pixel: int | None, grid: ScanGrid | None) -> None:
        """Mark a pixel; none with None."""
        if pixel is None or grid is None:
            self._mark.data = {"x": [], "y": [], "w": [], "h": []}
            return
        x, y = grid.position(pixel)
        dy, dx = grid.step_um
        self._mark.data = {"x": [x], "y": [y], "w": [dx], "h": [dy]}


def _nothing() -> dict[str, Any]:
    """One empty pixel: ranges need something to lie around."""
    return {"image": [np.full((1, 1), np.nan, np.float32)], "x": [-0.5], "y": [-0.5], "w": [1.0], "h": [1.0]}


def _no_colours() -> dict[str, Any]:
    return {"image": [], "x": [], "y": [], "w": [], "h": []}
