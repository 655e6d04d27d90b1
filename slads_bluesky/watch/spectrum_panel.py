"""One spectrum with what is expected of its phase and the lines of its elements."""

from __future__ import annotations

from collections.abc import Sequence
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
    WheelZoomTool,
)
from bokeh.plotting import figure
from numpy.typing import NDArray

from ..export.about import elements_in
from ..export.lines import line_labels
from .look import COLOURS, dress, plain_toolbar

__all__ = ["SpectrumPanel"]

HEADROOM = 1.5
"""Height of the axis, by the highest channel: above it stand the names of lines."""
ROWS = (1.04, 1.15, 1.26, 1.37)
"""Heights at which names of lines stand, by the highest channel."""
APART = 0.085
"""Part of the axis between two names in a row."""


class SpectrumPanel:
    """A figure for the spectrum under the pointer."""

    def __init__(self) -> None:
        wheel = WheelZoomTool(dimensions="width")
        self._energy, self._counts = Range1d(0, 20), Range1d(0, 1)
        self.figure: Any = figure(
            name="spectrum", sizing_mode="stretch_both", min_height=180, x_range=self._energy, y_range=self._counts,
            tools=[PanTool(dimensions="width"), BoxZoomTool(dimensions="width"), wheel, ResetTool(), SaveTool()],
            toolbar_location="above", toolbar_inner=True, x_axis_label="energy, keV", y_axis_label="counts a channel",
            output_backend="canvas",
        )  # fmt: skip
        plain_toolbar(self.figure)
        self.figure.toolbar.active_scroll = wheel
        empty: dict[str, Any] = {"energy": [], "counts": []}
        self._source, self._template = ColumnDataSource(empty), ColumnDataSource(empty)
        self._fill = self.figure.varea(x="energy", y1=0, y2="counts", source=self._source, fill_alpha=0.18)
        self._line = self.figure.step(
            x="energy", y="counts", source=self._source, mode="center", line_width=1.2
        )
        self._expected = self.figure.line(
            x="energy", y="counts", source=self._template, line_width=2, alpha=0.9
        )
        self._lines = ColumnDataSource({"energy": [], "top": [], "text": [], "alpha": []})
        self._stems = self.figure.segment(
            x0="energy",
            x1="energy",
            y0=0,
            y1="top",
            source=self._lines,
            line_dash="dotted",
            line_alpha="alpha",
        )
        self._texts = self.figure.text(
            x="energy", y="top", text="text", source=self._lines, text_font_size="11px", text_align="center",
            text_baseline="bottom", text_alpha="alpha",
        )  # fmt: skip
        self.figure.add_tools(
            HoverTool(
                renderers=[self._line], mode="vline", line_policy="nearest",
                tooltips=[("energy", "@energy{0.000} keV"), ("counts", "@counts{0.0}")],
            )
        )  # fmt: skip
        self._elements: tuple[str, ...] | None = None
        self._all: list[tuple[float, str, str]] = []
        self._top_kev = 0.0
        self._fitted: tuple[int, tuple[str, ...]] = (0, ())

    def dress(self, theme: str) -> None:
        """Take the colours of a theme."""
        dress(self.figure, theme)
        colours = COLOURS[theme]
        self._line.glyph.line_color = self._fill.glyph.fill_color = colours["line"]
        self._expected.glyph.line_color = colours["template"]
        self._stems.glyph.line_color = self._texts.glyph.text_color = colours["text"]

    def show(
        self,
        counts: NDArray[Any] | None,
        expected: NDArray[np.float64] | None,
        energy_kev: tuple[float, float] | None,
        phases: Sequence[str],
        phase: str,
    ) -> None:
        """Show a spectrum.

        Parameters
        ----------
        counts : (channels,) array, optional
            None: nothing to show.
        expected : (channels,) float64 array, optional
            Shape of the phase's spectrum; it is scaled to the counts where it is above 0.
        energy_kev : (float, float), optional
            Offset and width of the channels; without, channels are shown.
        phases : sequence of str
            All of the map, for their elements.
        phase : str
            Of the spectrum.
        """
        if counts is None:
            empty: dict[str, Any] = {"energy": [], "counts": []}
            self._source.data, self._template.data = empty, dict(empty)
            self._lines.data = {"energy": [], "top": [], "text": [], "alpha": []}
            return
        offset, width = energy_kev if energy_kev is not None else (0.0, 1.0)
        axis = (offset + width * np.arange(counts.size)).astype(np.float32)
        shown = axis >= (0.08 if energy_kev is not None else 0)
        self._fit(axis, phases, energy_kev is not None)
        values = np.asarray(counts, np.float32)
        self._source.data = {"energy": axis[shown], "counts": values[shown]}
        top = float(values[shown].max(initial=1.0))
        if expected is not None and expected.shape == counts.shape:
            where = expected > 0
            scaled = (expected * (values[where].sum() / max(expected[where].sum(), 1e-12))).astype(np.float32)
            self._template.data = {"energy": axis[where & shown], "counts": scaled[where & shown]}
            top = max(top, float(scaled[shown].max(initial=0.0)))
        else:
            self._template.data = {"energy": [], "counts": []}
        self._counts.update(start=0, end=top * HEADROOM, reset_start=0, reset_end=top * HEADROOM)
        self._label(phases, phase, top, energy_kev is not None)

    def _fit(self, axis: NDArray[np.float32], phases: Sequence[str], calibrated: bool) -> None:
        """Show the part of the axis that has lines of the phases, where others were shown."""
        if (axis.size, tuple(phases)) == self._fitted:
            return
        self._fitted, self._elements = (axis.size, tuple(phases)), None
        end = float(axis[-1])
        if calibrated:
            lines = line_labels(elements_in(phases), 0.1, end)
            end = min(max([5.0, *(1.3 * label.energy_kev for label in lines)]), end)
        if abs(end - self._top_kev) > 1e-6:
            self._top_kev = end
            start = -0.04 * end
            self._energy.update(start=start, end=end, reset_start=start, reset_end=end)

    def _label(self, phases: Sequence[str], phase: str, top: float, calibrated: bool) -> None:
        if not calibrated:
            self._lines.data = {"energy": [], "top": [], "text": [], "alpha": []}
            return
        if self._elements != tuple(phases):
            self._elements = tuple(phases)
            self._all = [
                (label.energy_kev, label.text, label.text.split()[0])
                for label in line_labels(elements_in(phases), 0.1, self._top_kev)
            ]
        own = set(elements_in([phase]))
        # texts in rows, none over another; those of the phase's own elements choose first, the last ones are left out
        rows: list[list[float]] = [[] for _ in ROWS]
        texts: dict[int, tuple[float, str]] = {}
        for i in sorted(range(len(self._all)), key=lambda i: (self._all[i][2] not in own, self._all[i][0])):
            energy, text, _ = self._all[i]
            row = next(
                (
                    k
                    for k, taken in enumerate(rows)
                    if all(abs(energy - other) > APART * self._top_kev for other in taken)
                ),
                None,
            )
            if row is not None:
                rows[row].append(energy)
            texts[i] = (top * ROWS[row or 0], "" if row is None else text)
        self._lines.data = {
            "energy": [energy for energy, _, _ in self._all],
            "top": [texts[i][0] for i in range(len(self._all))],
            "text": [texts[i][1] for i in range(len(self._all))],
            "alpha": [1.0 if element in own else 0.5 for _, _, element in self._all],
        }
