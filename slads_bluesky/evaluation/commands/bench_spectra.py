"""``slads-bluesky bench spectra``: the figures of the spectrum side, measured here and now."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...cli.options import Json
from ...files import check_writable, write_json

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

    from ..figures import Figure
    from ..kept import Kept

__all__ = ["register"]

COUNTS = [20, 50, 200, 1000, 5000]
VERDICT_COUNTS = [50, 200, 1000, 5000, 50_000]


def register(app: typer.Typer) -> None:
    """Add the command ``spectra`` to `app`."""
    app.command("spectra")(bench_spectra)


def bench_spectra(
    nist: Annotated[Path | None, typer.Option(help="Folder with NIST's standards (.msa).")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder with nist_msa/ and p45_dacite.npz, for the real spectra.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer spectra a figure, in about a minute.")
    ] = False,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="keep each part here; parts that it holds are not measured again"),
    ] = None,
    json_file: Json = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Measure physics model, classifiers, verdicts and dose; parts without their data say 'skipped'."""
    import numpy as np
    from rich.console import Console

    from ...errors import ConfigError
    from ..kept import Kept

    check_writable(json_file)
    for folder in (nist, data):
        if folder is not None and not folder.is_dir():
            raise ConfigError(f"{folder}: there is no such folder")
    if nist is None and data is not None and (data / "nist_msa").is_dir():
        nist = data / "nist_msa"
    dacite = data / "p45_dacite.npz" if data is not None else None
    if dacite is not None and not dacite.is_file():
        dacite = None
    console = Console()
    kept = Kept(keep, f"{seed} {quick}")
    figures: dict[str, Any] = {"seed": seed, "quick": quick}
    parts: dict[str, Callable[[np.random.Generator], Any]] = {
        "speed": lambda rng: _speed(console, rng),
        "physics": lambda rng: _physics(console, nist),
        "error": lambda rng: _error(console, rng, quick),
        "reliability": lambda rng: _reliability(console, rng, quick),
        "objects": lambda rng: _objects(console, rng, quick, seed),
        "verdicts": lambda rng: _verdicts(console, rng, quick),
        "dose": lambda rng: _dose(console, rng, quick),
        "nist": lambda rng: _nist(console, nist, rng, quick),
        "dacite": lambda rng: _dacite(console, dacite, rng, quick),
    }
    of_detectors, figures["detectors"] = _detectors(console, data, seed, quick, kept)
    for i, (name, measure) in enumerate(parts.items()):
        rng = np.random.default_rng([seed, 0xBE7C, i])  # its own: a part that is kept moves no other
        figures[name] = kept(name, partial(measure, rng))
    rows = _figures(console, figures, of_detectors)
    write_json(json_file, {**figures, "figures": rows})


def _figures(console: Console, tables: dict[str, Any], of_detectors: list[Figure]) -> list[dict[str, Any]]:
    """Print the figures beside their goals, and return the rows for JSON."""
    from ..figures import as_rows, at_most, measured

    rows = [row for table in tables["error"].values() for row in table]
    excess = max((r["classifier"] - 1.2 * r["bayes"]) * r["n"] ** 0.5 for r in rows)
    figures = [
        at_most("simulated spectra: error over 1.2 × Bayes limit, in standard errors, worst", excess, 1.0),
        at_most(
            "default classifier, one spectrum of 1.2e5 counts", tables["speed"]["classify_us"], 20.0, "µs"
        ),
        *[
            measured(f"speed: {key.removesuffix('_us').replace('_', ' ')}", value, "µs")
            for key, value in tables["speed"].items()
            if key.startswith("classify_")
        ],
    ]
    figures += of_detectors
    _table(
        console,
        "Figures and goals",
        ["", "figure", "goal", "holds"],
        [[f.name, f.text, f.goal, {True: "yes", False: "no", None: ""}[f.holds]] for f in figures],
    )
    return as_rows(figures)


def _detectors(
    console: Console, data: Path | None, seed: int, quick: bool, kept: Kept
) -> tuple[list[Figure], dict[str, Any]]:
    from ..benchmarks.detectors import measure_detectors

    if data is None or not (data / "bruker_k309").is_dir():
        _skipped(console, "Real detectors", "--data DIR with bruker_k309/ and the others")
        return [], {}

    def shown(stage: str, part: float) -> None:
        console.print(f"{100 * part:3.0f} % {stage}")

    return measure_detectors(data, 15 if quick else 60, seed, shown, kept)


def _table(console: Console, title: str, columns: list[str], rows: list[list[Any]]) -> None:
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*[f"{value:.4g}" if isinstance(value, float) else str(value) for value in row])
    console.print(table)


def _skipped(console: Console, what: str, option: str) -> None:
    console.print(f"{what}: skipped, needs {option}", highlight=False)


def _speed(console: Console, rng: np.random.Generator) -> dict[str, float]:
    from ..benchmarks.spectra import SPEED_COUNTS, measure_speed

    out = measure_speed(rng)
    _table(
        console,
        "Processor time a spectrum of 2040 channels (medians)",
        ["", "µs"],
        [
            ["default classifier, one of 1.2e5 counts", out["classify_us"]],
            *[
                [f"{name}, one of {total} counts", out[f"{key}_{total}_us"]]
                for name, key in (
                    ("default classifier", "classify"),
                    ("by compositions alone", "classify_computed"),
                )
                for total in SPEED_COUNTS
            ],
            ["default classifier, in batches", out["classify_batch_us"]],
            ["paper's two networks, one", out["paper_us"]],
            ["its second network in eager torch", out["paper_eager_torch_us"]],
            ["physics model, Pb-Sn", out["physics_ms"] * 1e3],
        ],
    )
    return out


def _physics(console: Console, nist: Path | None) -> Any:
    if nist is None:
        return _skipped(console, "Physics model against NIST's standards", "--nist DIR")
    from ..spectra.measured import nist_fit, read_nist

    found = nist_fit(read_nist(nist))
    _table(
        console,
        "Physics model against NIST's standards; no fit but one overall scale",
        ["standard", "kV", "cosine", "measured / model counts"],
        [
            [name, row["beam_energy_kev"], row["cosine"], row["measured_over_model"]]
            for name, row in found.items()
        ],
    )
    return found


def _error(console: Console, rng: np.random.Generator, quick: bool) -> Any:
    from ...spectra.axis import EnergyAxis
    from ..spectra.simulated import SETS, error_table

    found = {
        name: error_table(name, COUNTS, EnergyAxis.phenom(), 500 if quick else 4000, rng, paper=not quick)
        for name in SETS
    }
    rows = [
        [name, int(row["counts"]), row["bayes"], row["classifier"], row.get("paper", "not trained (--quick)")]
        for name, table in found.items()
        for row in table
    ]
    _table(
        console,
        "Error by counts: Bayes limit with true templates; learnt from 24 spectra a phase",
        ["phases", "counts", "Bayes limit", "default", "paper's network"],
        rows,
    )
    return found


def _reliability(console: Console, rng: np.random.Generator, quick: bool) -> Any:
    from ...spectra.axis import EnergyAxis
    from ..spectra.simulated import SETS, reliability

    n = 300 if quick else 2000
    found = {name: reliability(name, [10, 20, 50, 200], EnergyAxis.phenom(), n, rng) for name in SETS}
    _show_reliability(console, "Whether posteriors come true, at 10 to 200 counts", found)
    return found


def _show_reliability(console: Console, title: str, found: dict[str, list[dict[str, float]]]) -> None:
    rows = [
        [name, row["from"], int(row["n"]), row["posterior"], row["right"]]
        for name, table in found.items()
        for row in table
    ]
    _table(console, title, ["", "posterior from", "n", "mean posterior", "right"], rows)


def _objects(console: Console, rng: np.random.Generator, quick: bool, seed: int) -> Any:
    from ..benchmarks.spectra import measure_objects

    found = measure_objects(1000 if quick else 16_000, rng, seed)
    _table(
        console,
        "Simulated objects at the full dwell, with Poisson(2) noise; ill is Poisson(20)",
        ["object, classifier", "n", "misclassified", "false alarms", "ill caught"],
        [[key, *row.values()] for key, row in found.items()],
    )
    return found


def _show_verdicts(console: Console, title: str, found: dict[int, dict[str, dict[str, float]]]) -> None:
    sorts = list(dict.fromkeys(sort for table in found.values() for sort in table))

    def cell(table: dict[str, dict[str, float]], sort: str) -> str:
        row = table.get(sort)
        if row is None:
            return "–"
        beside = f" ({row['paper']:.3g})" if "paper" in row else ""
        return f"{row['mean']:.3g}, {row['worst']:.3g}{beside}"

    rows = [[sort, *[cell(table, sort) for table in found.values()]] for sort in sorts]
    _table(console, title, ["sort", *[f"{counts} counts" for counts in found]], rows)


def _verdicts(console: Console, rng: np.random.Generator, quick: bool) -> Any:
    from ..benchmarks.spectra import measure_verdicts
    from ..spectra.simulated import SETS

    found: dict[str, Any] = {}
    for name in SETS:
        beside = name == "powder" and not quick
        tables = measure_verdicts(name, VERDICT_COUNTS, 60 if quick else 200, rng, paper=beside)
        _show_verdicts(
            console,
            f"Verdicts on simulated spectra, {name}: part not 'ok', mean and worst"
            + (" (paper's detection, trained at that count)" if beside else ""),
            tables,
        )
        found[name] = {str(counts): table for counts, table in tables.items()}
    return found


def _dose(console: Console, rng: np.random.Generator, quick: bool) -> Any:
    from ...spectra.axis import EnergyAxis
    from ..spectra.simulated import SETS, sequential_table

    found = {
        name: sequential_table(name, [1e-2, 1e-3], EnergyAxis.phenom(), 200 if quick else 2000, rng)
        for name in SETS
    }
    rows = [
        [
            name,
            row["error"],
            row["mean_counts"],
            row["p99_counts"],
            row["wrong"],
            row["not_ok"],
            int(row["preset_counts"]),
            round(row["dose_factor"]),
        ]
        for name, table in found.items()
        for row in table
    ]
    _table(
        console,
        "Dose that follows the sample: counts until the posterior exceeds 1 - ε",
        ["phases", "ε", "mean", "99 %", "wrong", "not ok", "count preset", "1.2e5 / mean"],
        rows,
    )
    return found


def _nist(console: Console, nist: Path | None, rng: np.random.Generator, quick: bool) -> Any:
    if nist is None:
        return _skipped(console, "Real spectra: NIST's standards", "--nist DIR")
    from ..spectra.measured import half_and_half, nist_errors, read_nist
    from ..spectra.verdicts import verdict_table

    standards = read_nist(nist)
    rows = nist_errors(standards, [20, 50, 200, 1000], 200 if quick else 1000, rng)
    _table(
        console,
        "Real spectra of six materials, thinned; templates computed from compositions alone",
        ["counts", "n", "error", "flagged"],
        [[int(row["counts"]), int(row["n"]), row["error"], row["flagged"]] for row in rows],
    )
    classifier, rest = half_and_half(standards, nist, rng)
    tables = {
        counts: verdict_table(classifier, rest, counts, 40 if quick else 200, rng, beam_energy_kev=20.0)
        for counts in VERDICT_COUNTS
    }
    _show_verdicts(
        console,
        "Verdicts on real spectra, NIST's: part not 'ok', mean and worst; mixtures of real spectra",
        tables,
    )
    return {"computed_templates": rows, "verdicts": {str(counts): table for counts, table in tables.items()}}


def _dacite(console: Console, path: Path | None, rng: np.random.Generator, quick: bool) -> Any:
    if path is None:
        return _skipped(console, "Real spectra: dacite map", "--data DIR with p45_dacite.npz")
    from ..spectra.measured import dacite_errors, read_dacite

    rows, bands = dacite_errors(read_dacite(path), [None, 200, 100, 50], 2 if quick else 8, rng)
    _table(
        console,
        "Real dacite map, 12 pixels a class to train on; error against the reference labels, mean over draws of them",
        ["counts", "error", "worst draw", "flagged", "error of those that are ok"],
        [
            [float(row["counts"]), row["error"], row["worst_draw"], row["flagged"], row["error_of_ok"]]
            for row in rows
        ],
    )
    _show_reliability(
        console, "Whether posteriors come true on the dacite map at its full count", {"dacite": bands}
    )
    return {"error": rows, "reliability": bands}
