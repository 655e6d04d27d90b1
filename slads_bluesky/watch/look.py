"""How the figures look, in light and in dark: one table of colours, applied to every figure."""

from __future__ import annotations

from typing import Any

__all__ = ["COLOURS", "dress", "plain_toolbar"]

COLOURS: dict[str, dict[str, str]] = {
    "light": {
        "card": "#ffffff", "frame": "#fbfcfd", "grid": "#e3e8ee", "text": "#3a4656", "faint": "#8693a3",
        "line": "#0b62c4", "other": "#b8480f", "template": "#b8480f", "limit": "#8693a3",
    },
    "dark": {
        "card": "#171c23", "frame": "#1b2129", "grid": "#2b333e", "text": "#c4cedb", "faint": "#7d8998",
        "line": "#58a6ff", "other": "#ff9e5e", "template": "#ff9e5e", "limit": "#7d8998",
    },
}  # fmt: skip
"""By theme and role; blue and orange differ for colour-blind people, on both grounds."""


def plain_toolbar(figure: Any) -> None:
    """Let a figure's tools appear over it when the pointer is there; the page's own ground shows around it."""
    from bokeh.models import InlineStyleSheet

    figure.toolbar.logo = None
    figure.toolbar.autohide = True
    figure.toolbar.stylesheets = [
        InlineStyleSheet(css=":host { background: transparent !important; opacity: 0.85; }")
    ]
    figure.border_fill_color = None


def dress(figure: Any, theme: str) -> None:
    """Give a figure the colours of a theme."""
    colours = COLOURS[theme]
    figure.background_fill_color = colours["frame"]
    figure.outline_line_color = colours["grid"]
    for axis in figure.axis:
        axis.axis_line_color = axis.major_tick_line_color = colours["faint"]
        axis.minor_tick_line_color = None
        axis.major_label_text_color = axis.axis_label_text_color = colours["text"]
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size = axis.major_label_text_font_size = "11px"
        axis.axis_label_standoff = 6
    for grid in figure.grid:
        grid.grid_line_color = colours["grid"]
