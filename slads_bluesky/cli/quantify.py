"""``slads-bluesky quantify``: the composition of spectra in files, and of the phases of a recorded map."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from ..files import check_writable, write_json
from ..terminal import make_console
from .options import Json
from .record import Where

if TYPE_CHECKING:
    from ..analysis.quantification.candidates import Match
    from ..analysis.quantification.result import Quantification

__all__ = ["quantify", "register"]


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command(context_settings={"ignore_unknown_options": True})(quantify)  # "-1" is a run, not an option


def quantify(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|RUN", help="Spectra in any format that is read, or a run: a uid, scan_id or -1."
        ),
    ],
    elements: Annotated[
        str | None,
        typer.Option(
            metavar="SYMBOLS", help="Elements, such as O,Mg,Si; default: those whose lines are found."
        ),
    ] = None,
    ignore: Annotated[
        str | None,
        typer.Option(
            metavar="SYMBOLS", help="Elements whose lines are fitted but do not count: a coating's."
        ),
    ] = None,
    standard: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE=FORMULA[:SYMBOLS]", help="Spectrum of a standard, and what it is the standard of."
        ),
    ] = None,
    oxygen: Annotated[
        str, typer.Option(metavar="measured|stoichiometry", help="Where oxygen comes from.")
    ] = ("measured"),
    valence: Annotated[
        list[str] | None,
        typer.Option(metavar="SYMBOL=N", help="Valence for oxygen by stoichiometry, such as Fe=3."),
    ] = None,
    line: Annotated[
        list[str] | None, typer.Option(metavar="SYMBOL=K|L|M", help="Line family to use for an element.")
    ] = None,
    normalise: Annotated[
        bool, typer.Option("--normalise", help="Scale to 100 % with standards, too.")
    ] = False,
    complete: Annotated[
        bool | None,
        typer.Option(
            "--complete/--incomplete",
            help="Whether the elements are all there is, so that their sum counts beside the dose; "
            "default: only where a beam current is nominal.",
        ),
    ] = None,
    beam_energy: Annotated[
        float | None, typer.Option(metavar="KEV", help="Beam energy, where the file does not say it.")
    ] = None,
    takeoff: Annotated[float | None, typer.Option(metavar="DEG", help="Take-off angle.")] = None,
    dose: Annotated[float | None, typer.Option(metavar="NC", help="Beam current × live time.")] = None,
    current: Annotated[
        str | None,
        typer.Option(
            metavar="measured|nominal",
            help="How the beam currents are known; default: nominal where a header has at most two digits.",
        ),
    ] = None,
    resolution: Annotated[
        float | None, typer.Option(metavar="EV", help="FWHM at Mn Kα to start from.")
    ] = None,
    candidates: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Candidate phases of your own, beside those that are shipped."),
    ] = None,
    catalog: Where = None,
    json_file: Json = None,
) -> None:
    """Quantify spectra: mass and atomic fractions, uncertainties, detection limits, goodness of fit."""
    from ..analysis.quantification.candidates import candidate_table, match_composition
    from ..analysis.quantification.sources import quantify_file, read_standard

    check_writable(json_file)
    console = make_console()
    table = candidate_table(candidates)
    given = {
        "beam_energy_kev": beam_energy,
        "takeoff_deg": takeoff,
        "dose_nc": dose,
        "resolution_ev": resolution,
        "dose_scale_sd": _scale_sd(current),
    }
    options: dict[str, Any] = {
        "elements": _symbols(elements),
        "ignored": _symbols(ignore),
        "standards": [read_standard(text, given) for text in standard or ()],
        "oxygen": oxygen,
        "valences": {symbol: _number(value, text) for symbol, value, text in _pairs(valence, "--valence")},
        "lines": {symbol: value.upper() for symbol, value, _ in _pairs(line, "--line")},
        "normalise": normalise,
        "complete": complete,
    }
    results: list[dict[str, Any]] = []
    if Path(source).suffix and Path(source).exists():
        for title, found in quantify_file(source, given=given, **options):
            _show(console, title, found)
            matches = match_composition(found, table)
            _show_matches(console, matches)
            results.append({"file": source, "title": title, **found.to_json(), **_as_json(matches)})
    else:
        for title, found in _of_run(source, catalog, given, options):
            _show(console, title, found)
            matches = match_composition(found, table)
            _show_matches(console, matches)
            results.append({"run": source, "phase": title, **found.to_json(), **_as_json(matches)})
    write_json(json_file, {"results": results})


def _of_run(
    uid: str, where: str | None, given: dict[str, float | None], options: dict[str, Any]
) -> list[tuple[str, Quantification]]:
    from ..analysis.quantification.sources import quantify_phases
    from ..export.conditions import conditions_of_map
    from .record import open_map

    if Path(uid).suffix:
        raise ConfigError(f"{uid}: there is no such file")
    _, data = open_map(uid, where)
    found = quantify_phases(data, conditions_of_map(data, given), **options)
    if not found:
        raise ConfigError(f"run {data.uid[:8]}: no phase has spectra enough to quantify")
    return [
        (f"{data.phases[label - 1]}, {counts:.0f} counts", result)
        for label, (counts, result) in found.items()
    ]


def _scale_sd(current: str | None) -> float | None:
    from ..analysis.quantification.geometry import NOMINAL_SD

    if current not in (None, "measured", "nominal"):
        raise ConfigError(f"--current takes measured or nominal, not {current!r}")
    return None if current is None else NOMINAL_SD if current == "nominal" else 0.0


def _symbols(text: str | None) -> list[str] | None:
    return [part.strip() for part in text.split(",") if part.strip()] if text is not None else None


def _pairs(texts: list[str] | None, option: str) -> list[tuple[str, str, str]]:
    out = []
    for text in texts or ():
        symbol, sign, value = text.partition("=")
        if not (sign and symbol and value):
            raise ConfigError(f"{option} takes SYMBOL=VALUE, not {text!r}")
        out.append((symbol.strip(), value.strip(), text))
    return out


def _number(value: str, text: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ConfigError(f"--valence takes a number, not {text!r}") from None


def _show_matches(console: Any, matches: list[Match]) -> None:
    text = ", ".join(
        f"{m.name or 'none of the table'} {m.probability:.2f}" for m in matches if m.probability >= 0.01
    )
    console.print(f"candidates: {text}", markup=False)


def _as_json(matches: list[Match]) -> dict[str, Any]:
    return {
        "candidates": [
            {"name": m.name or None, "probability": m.probability, "distance": m.distance if m.name else None}
            for m in matches
        ]
    }


def _show(console: Any, title: str, found: Quantification) -> None:
    from rich.markup import escape
    from rich.table import Table

    head = f"{title}: {found.method}"
    if found.analytical_total is not None:
        head += f", analytical total {100 * found.analytical_total:.1f} ± {100 * (found.total_sd or 0):.1f} %"
    else:
        head += ", normalised to 100 %"
    fit = found.fit
    table = Table(title=escape(head), title_justify="left", box=None, pad_edge=False)
    for name in ("element", "line", "mass %", "± 95 %", "atom %", "limit %", "counts", "k-ratio", "standard"):
        table.add_column(name, justify="left" if name in ("element", "line", "standard") else "right")
    for e in found.elements:
        by_valence = e.line == "stoichiometry"
        table.add_row(
            e.symbol,
            e.line if not by_valence else "–",
            f"{100 * e.mass_fraction:.2f}",
            f"{100 * 1.96 * e.mass_fraction_sd:.2f}",
            f"{100 * e.atomic_fraction:.2f}",
            "–" if by_valence else f"{100 * e.detection_limit:.2g}",
            "–" if by_valence else f"{e.counts:.0f}",
            "–" if by_valence else f"{e.k_ratio:.4f}",
            escape(e.standard) or e.method,
        )
    console.print(table)
    console.print(
        f"fit: χ² {fit.reduced_chi2:.2f}, misfit {fit.misfit:.2f}; {fit.resolution_ev:.1f} eV at Mn Kα",
        markup=False,
    )
    for warning in found.warnings:
        console.print(f"note: {warning}", markup=False)
