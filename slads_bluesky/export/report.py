"""A map on one page: pictures, areas with intervals, dose, time, configuration and versions. HTML, PDF or PNG."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from numpy.typing import NDArray

from slads_bluesky.errors import ConfigError

from ..analysis.elements.maps import ElementMaps
from ..analysis.run_data import RunData
from ..analysis.summary import summarize
from ..documents import reading
from ..files import atomic_write
from ..metadata import json_text
from .element_panels import draw_elements, element_rows
from .panels import draw_maps, draw_progress, draw_spectra, figure_of

__all__ = ["REPORTS", "write_report"]

REPORTS = (".html", ".pdf", ".png")
Table = tuple[str, list[str], list[list[str]]]

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1b2a41 }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
img { width: 100% } table { border-collapse: collapse } pre { white-space: pre-wrap; font-size: 0.85rem }
th, td { text-align: left; padding: 0.15rem 1.2rem 0.15rem 0; border-bottom: 1px solid #ddd }
@media (prefers-color-scheme: dark) {
  body { background: #14181f; color: #e6e9ee } th, td { border-color: #3a414d }
  img { background: #ffffff; border-radius: 4px }
}
td.n { text-align: right; font-variant-numeric: tabular-nums }
"""


def write_report(
    data: RunData, path: Path, truth: NDArray[np.uint8] | None = None, elements: ElementMaps | None = None
) -> Path:
    """Write the report of a map.

    Parameters
    ----------
    data : RunData
        With its spectra, if the spectra of the phases are to be drawn.
    path : Path
        Ends in ``.html`` (self-contained, nothing is fetched), ``.pdf`` or ``.png``.
    truth : (rows, columns) uint8 array, optional
        The object's phase map, where it is known.
    elements : ElementMaps, optional
        Element maps to show, with the composition of each phase.

    Raises
    ------
    ConfigError
        If the name ends otherwise or the file cannot be written.
    """
    if path.suffix not in REPORTS:
        raise ConfigError(f"a report's name must end in {', '.join(REPORTS)}, not '{path.name}'")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"cannot write {path}: there is no folder {path.absolute().parent}")
    with reading(f"run {data.uid[:8]}"):
        return _write_report(data, path, truth, elements)


def _write_report(
    data: RunData, path: Path, truth: NDArray[np.uint8] | None, elements: ElementMaps | None
) -> Path:
    lines, figures = summarize(data)
    tables = _tables(data, figures)
    if elements is not None:
        tables.insert(1, ("Compositions of the phases, ± 95 %", *element_rows(elements)))
    title = f"{data.start.get('sample', 'map')}, run {data.uid[:8]}"
    with atomic_write(path) as partial:
        if path.suffix == ".html":
            partial.write_text(_html(title, lines, tables, _pictures(data, truth, elements), data), "utf-8")
        elif path.suffix == ".pdf":
            with PdfPages(partial) as pages:
                for figure in [*_pictures(data, truth, elements), _text_page(title, lines, tables)]:
                    pages.savefig(figure)
        else:
            _one_picture(title, lines, tables, data, truth, elements).savefig(partial, dpi=110)
    return path


def _pictures(data: RunData, truth: NDArray[np.uint8] | None, elements: ElementMaps | None) -> list[Figure]:
    rows = 1 if truth is None and data.image is None else 2
    n = max(len(data.phases), 1)
    return [
        figure_of(draw_maps, data, truth, size=(11, 4.2 * rows)),
        figure_of(draw_spectra, data, size=(11, 1 + 2.2 * n)),
        figure_of(draw_progress, data, size=(11, 3.4)),
        *(
            []
            if elements is None
            else [figure_of(draw_elements, data, elements, size=(11, _height(elements)))]
        ),
    ]


def _height(elements: ElementMaps) -> float:
    rows, columns = elements.labels.shape
    return float((len(elements.elements) // 2 + 1) * (0.4 + min(2.4 * rows / columns, 4.0)))


def _tables(data: RunData, figures: dict[str, Any]) -> list[Table]:
    tables: list[Table] = []
    if figures.get("areas"):
        rows = [
            [area["phase"], f"{area['fraction']:.3%}", f"{area['low']:.3%} … {area['high']:.3%}"]
            for area in figures["areas"]
        ]
        tables.append(("Area fractions", ["phase", "of the map", "95 % interval"], rows))
    steps = sorted({key.rsplit("_", 2)[0] for key in data.ledger if key.endswith("_median_ms")})
    ledger = [key.removeprefix("ledger_") for key in steps]
    if steps:
        rows = [
            [
                name,
                f"{data.ledger.get(f'{step}_median_ms', np.nan):.2f}",
                f"{data.ledger.get(f'{step}_p99_ms', np.nan):.2f}",
                f"{data.ledger.get(f'{step}_total_s', np.nan):.2f}",
            ]
            for step, name in zip(steps, ledger, strict=True)
        ]
        tables.append(("Time ledger", ["step", "median, ms", "99 %, ms", "total, s"], rows))
    cost = [
        ["live time, s", f"{figures['live_time_s']:.6g}"],
        ["real time, s", f"{figures['real_time_s']:.6g}"],
        ["dose, nC", f"{figures['dose_nC']:.6g}"],
        ["dose per pixel, nC", f"{figures['dose_nC'] / max(data.n_measured, 1):.4g}"],
        ["wall clock, s", f"{figures['wall_s']:.6g}"],
        ["points that failed", str(figures["n_failed"])],
    ]
    tables.append(("Dose and time", ["", "total"], cost))
    versions = [[name, value] for name, value in figures["versions"].items()]
    models = [[f"model: {name}", value] for name, value in figures["model_hashes"].items()]
    tables.append(("Versions and models", ["", ""], versions + models))
    return tables


def _html(
    title: str, lines: Sequence[str], tables: list[Table], pictures: list[Figure], data: RunData
) -> str:
    def image(figure: Figure) -> str:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=130)
        return f'<img alt="" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'

    maps, spectra, progress, *of_elements = map(image, pictures)
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<pre>{html.escape(chr(10).join(lines))}</pre>",
        f"<h2>Map</h2>{maps}",
        *(f"<h2>Elements, measured and inferred</h2>{picture}" for picture in of_elements),
        f"<h2>Spectra of the phases</h2>{spectra}",
        f"<h2>Acquisition progress</h2>{progress}",
        *(_html_table(*table) for table in tables),
        f"<h2>Configuration</h2><pre>{html.escape(json.dumps(json.loads(json_text(data.start)), indent=1))}</pre>",
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _html_table(title: str, head: list[str], rows: list[list[str]]) -> str:
    def row(cells: list[str], tag: str) -> str:
        first, *rest = cells
        numbers = "".join(f'<{tag} class="n">{html.escape(cell)}</{tag}>' for cell in rest)
        return f"<tr><{tag}>{html.escape(first)}</{tag}>{numbers}</tr>"

    body = "".join(row(cells, "td") for cells in rows)
    return f"<h2>{html.escape(title)}</h2><table>{row(head, 'th')}{body}</table>"


def _text(tables: list[Table]) -> str:
    out = []
    for title, head, rows in tables:
        widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
        out.append(f"{title}\n")
        for row in [head, *rows]:
            out.append("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
        out.append("")
    return "\n".join(out)


def _write(figure: Any, title: str, lines: Sequence[str], tables: list[Table]) -> None:
    figure.text(0.03, 0.98, title, va="top", fontsize="x-large")
    text = "\n".join(lines) + "\n\n" + _text(tables)
    figure.text(0.03, 0.93, text, va="top", family="monospace", fontsize=8)


def _text_page(title: str, lines: Sequence[str], tables: list[Table]) -> Figure:
    rows = len(lines) + sum(len(table[2]) + 3 for table in tables) + 6
    figure = Figure(figsize=(11, max(4.0, rows * 0.17)))
    FigureCanvasAgg(figure)
    _write(figure, title, lines, tables)
    return figure


def _one_picture(
    title: str,
    lines: Sequence[str],
    tables: list[Table],
    data: RunData,
    truth: NDArray[np.uint8] | None,
    elements: ElementMaps | None,
) -> Figure:
    rows = len(lines) + sum(len(table[2]) + 3 for table in tables) + 6
    heights = [4.2 * (1 if truth is None else 2), 1 + 2.2 * max(len(data.phases), 1), 3.4, rows * 0.17]
    if elements is not None:
        heights.append(_height(elements))
    figure = Figure(figsize=(11, sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    parts: Any = figure.subfigures(len(heights), 1, height_ratios=heights)
    draw_maps(parts[0], data, truth)
    draw_spectra(parts[1], data)
    draw_progress(parts[2], data)
    _write(parts[3], title, lines, tables)
    if elements is not None:
        draw_elements(parts[4], data, elements)
    return figure
