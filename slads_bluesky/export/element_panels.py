"""Pictures of element maps: one panel an element with scale bar and colour bar, and a composite of up to four."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from ..analysis.elements.maps import ElementMaps
from ..analysis.run_data import RunData
from ..errors import ConfigError

__all__ = ["COMPOSITE_COLOURS", "blend", "check_composite", "composite", "draw_elements", "element_rows"]

COMPOSITE_COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7")
"""Of the elements of a composite: distinct for readers who do not distinguish red and green (Okabe & Ito 2008)."""
MOST = 12
"""Panels of a picture; further elements are left out."""
LEVELS = (2.0, 98.0)
"""Percentiles of a map that stand for black and for the full colour of a composite."""
NICE = (1, 2, 5)


def draw_elements(figure: Any, data: RunData, maps: ElementMaps, *, quantity: str = "mass") -> None:
    """Draw a panel an element, its standard deviation beside it, and the composite of the four most varied ones.

    Map and standard deviation of an element have the same limits and one colour bar.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    data : RunData
    maps : ElementMaps
    quantity : {"mass", "intensity"}
    """
    shown = list(range(len(maps.elements)))[:MOST]
    columns = 4 if len(shown) > 1 else 3
    pairs = columns // 2 if columns == 4 else 1
    rows = -(-(len(shown) + 1) // pairs) if columns == 4 else 1
    axes = np.atleast_2d(figure.subplots(rows, columns)).reshape(rows, columns)
    step = data.grid.step_um
    cells = [
        (axes[k // pairs, 2 * (k % pairs)], axes[k // pairs, 2 * (k % pairs) + 1])
        for k in range(rows * pairs)
    ]
    for (left, right), e in zip(cells, shown, strict=False):
        mass = quantity == "mass" or not np.isfinite(maps.intensity[e]).any()
        values = 100 * maps.mass_fraction[e] if mass else maps.intensity[e]
        spread = 100 * maps.mass_fraction_sd[e] if mass else maps.intensity_sd[e]
        top = float(np.nanmax(values)) if np.isfinite(values).any() else 1.0
        how = {"cmap": "viridis", "vmin": 0.0, "vmax": max(top, 1e-9), "interpolation": "nearest"}
        picture = left.imshow(values, **how)
        right.imshow(spread, **how)
        unit = "% by mass" if mass else "counts/s"
        line = maps.lines[e] if maps.lines[e] != "stoichiometry" else f"{maps.elements[e]} (stoichiometry)"
        left.set_title(f"{line}, {unit}", fontsize="medium", loc="left")
        right.set_title("standard deviation", fontsize="medium", loc="left")
        figure.colorbar(picture, ax=[left, right], shrink=0.85, pad=0.02)
        scale_bar(left, values.shape, step[1])
    blended, legend = composite(maps)
    left, right = cells[len(shown)] if len(cells) > len(shown) else (axes[0, -1], None)
    left.imshow(blended, interpolation="nearest")
    left.set_title("composite", fontsize="medium", loc="left")
    scale_bar(left, blended.shape[:2], step[1])
    handles = [Patch(facecolor=colour, label=name) for name, colour in legend]
    if right is not None:
        right.legend(handles=handles, loc="upper left", frameon=False)
        measured = float(maps.measured.mean())
        right.text(
            0.0,
            0.3,
            f"{measured:.1%} of the pixels measured,\nall others inferred",
            transform=right.transAxes,
        )
    used = {id(ax) for pair in cells[: len(shown)] for ax in pair} | {id(left)}
    for here in axes.ravel():
        here.set_xticks([])
        here.set_yticks([])
        if id(here) not in used:
            here.set_axis_off()


def composite(
    maps: ElementMaps, symbols: Sequence[str] | None = None
) -> tuple[NDArray[np.float64], list[tuple[str, str]]]:
    """Blend up to four elements, each in its colour from black at its lowest to full at its highest.

    Parameters
    ----------
    maps : ElementMaps
    symbols : sequence of str, optional
        Default: the four whose mass fractions vary most against their means; oxygen only among two.

    Returns
    -------
    picture : (rows, columns, 3) float64
        Red, green and blue, 0 … 1.
    legend : list of (str, str)
        Symbol and colour.

    Raises
    ------
    ConfigError
        If there are more than four, or one without a map.
    """
    if symbols is None:
        others = len(maps.elements) > 2
        spread = [
            float(np.nanstd(m)) / max(float(np.nanmean(m)), 1e-3) * (not (others and symbol == "O"))
            for symbol, m in zip(maps.elements, maps.mass_fraction, strict=True)
        ]
        order = sorted(np.argsort(spread)[::-1][: len(COMPOSITE_COLOURS)].tolist())
        symbols = [maps.elements[e] for e in order]
    check_composite(symbols)
    values = [np.nan_to_num(maps.mass_fraction[maps.index(symbol)]) for symbol in symbols]
    return blend(values), list(zip(symbols, COMPOSITE_COLOURS, strict=False))


def check_composite(symbols: Sequence[str]) -> None:
    """Raise ConfigError if there are more elements than a composite has colours."""
    if len(symbols) > len(COMPOSITE_COLOURS):
        raise ConfigError(f"a composite takes up to {len(COMPOSITE_COLOURS)} elements, not {len(symbols)}")


def blend(values: Sequence[NDArray[np.floating[Any]]]) -> NDArray[np.float64]:
    """Blend maps of one shape into red, green and blue, (rows, columns, 3): each in its colour of a composite.

    A map's second percentile is black, its 98th the full colour; NaN is black.
    """
    picture = np.zeros((*values[0].shape, 3))
    total = np.zeros(values[0].shape)
    for one, colour in zip(values, COMPOSITE_COLOURS, strict=False):
        known = one[np.isfinite(one)]
        low, high = np.percentile(known, LEVELS) if known.size else (0.0, 1.0)
        level = np.nan_to_num(np.clip((one - low) / max(high - low, 1e-12), 0.0, 1.0))
        picture += level[..., None] * np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
        total += level
    return np.asarray(picture / np.maximum(total, 1.0)[..., None])


def scale_bar(axes: Any, shape: tuple[int, ...], step_um: float) -> None:
    """Draw a scale bar of a round length, about a quarter of the width, in the lower left corner."""
    rows, columns = shape[0], shape[1]
    wanted = 0.25 * columns * step_um
    decade = 10.0 ** np.floor(np.log10(wanted))
    length = max((n * decade for n in NICE if n * decade <= wanted), default=decade)
    pixels = length / step_um
    height = max(0.02 * rows, 0.4)
    corner = (0.04 * columns - 0.5, 0.93 * rows - 0.5)
    axes.add_patch(Rectangle(corner, pixels, height, facecolor="white", edgecolor="black", linewidth=0.5))
    label = f"{length:g} µm" if length < 1000 else f"{length / 1000:g} mm"
    axes.text(
        corner[0] + pixels / 2,
        corner[1] - 0.01 * rows,
        label,
        ha="center",
        va="bottom",
        fontsize="x-small",
        color="white",
        path_effects=_outline(),
    )


def _outline() -> list[Any]:
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=1.5, foreground="black")]


def element_rows(maps: ElementMaps) -> tuple[list[str], list[list[str]]]:
    """Table of the compositions: heads, and a row a phase with mass per cent and the half width of 95 % intervals."""
    rows = []
    for label, found in maps.compositions.items():
        cells = [maps.name_of(label), found.method]
        cells += [
            f"{100 * e.mass_fraction:.2f} ± {196 * e.mass_fraction_sd:.2f}"
            if e.detected
            else f"< {100 * e.detection_limit:.2g}"
            for e in found.elements
        ]
        total = found.analytical_total
        rows.append([*cells, "–" if total is None else f"{100 * total:.1f}"])
    return ["phase", "method", *(f"{e}, % by mass" for e in maps.elements), "total, %"], rows
