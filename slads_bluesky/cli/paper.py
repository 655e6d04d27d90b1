"""``slads-bluesky paper``: the paper's four experiments, by its method and by ours, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ConfigError
from ..reproduction import PAPER
from .figures import check_writable, write_json

__all__ = ["paper", "register"]

QUICK = ("pbsn-128", "powder-256")
"""The small ones, which run through the whole system: IOC, Channel Access, journal and catalog."""


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command()(paper)


def paper(
    quick: Annotated[bool, typer.Option("--quick", help="The two small experiments, one seed.")] = False,
    experiment: Annotated[list[str] | None, typer.Option(help="Only this one; may be given again.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Objects of each kind.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first object; the others follow.")] = 0,
    out: Annotated[Path, typer.Option(help="Directory of results, figures and the record.")] = Path(
        "paper-results"
    ),
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the table as JSON too.")
    ] = None,
) -> None:
    """Run the paper's experiments (3.2.1, 3.2.2); what is done is kept, so an interrupted run goes on."""
    import time

    from rich.console import Console

    from .. import __version__
    from ..reproduction.store import TrialStore
    from ..reproduction.trial import METHODS

    chosen = tuple(experiment or (QUICK if quick else PAPER))
    unknown = [name for name in chosen if name not in PAPER]
    if unknown:
        raise ConfigError(f"unknown experiment '{unknown[0]}'; known: {', '.join(PAPER)}")
    check_writable(json_file)
    store = TrialStore(out, __version__)
    console = Console(highlight=False)
    numbers = range(seed, seed + (1 if quick else seeds))
    plan = [(name, method, number) for name in chosen for number in numbers for method in METHODS]
    work = {step: int(step[0].partition("-")[2]) ** 2 * PAPER[step[0]].fraction for step in plan}
    began, spent, todo = (
        time.monotonic(),
        0.0,
        sum(w for s, w in work.items() if store.load("-".join(map(str, s))) is None),
    )
    results: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for name, method, number in plan:
        key = f"{name}-{method}-{number}"
        result = store.load(key)
        if result is None:
            left = (
                f", {(time.monotonic() - began) / spent * (todo - spent) / 60:.0f} min left" if spent else ""
            )
            console.print(f"{name}, {METHODS[method].title}, seed {number}{left}")
            result = _trial(console, out, name, method, number)
            store.save(key, result)
            spent += work[name, method, number]
        results.setdefault((name, method), []).append(result)
    tables = {}
    for name in chosen:
        of_name = {method: results[name, method] for method in METHODS}
        tables[name] = _show(console, store, name, of_name)
    write_json(json_file, {"version": __version__, "experiments": tables})


def _trial(console: Any, out: Path, name: str, method: str, seed: int) -> dict[str, Any]:
    from ..callbacks.progress import MapProgress
    from ..catalog import Recorder
    from ..reproduction.trial import run_trial

    bar = MapProgress(lambda: float("nan"), console)
    if name not in QUICK:
        return run_trial(name, method, seed, subscribers=(bar,))
    with Recorder(out / "record", on_problem=lambda text: console.print(f"catalog: {text}")) as recorder:
        result = run_trial(name, method, seed, soft=False, subscribers=(recorder, bar))
        recorder.flush(timeout=600)
    return result


def _show(console: Any, store: Any, name: str, of_name: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Print one experiment's table, draw its figures; return its summary."""
    from rich.table import Table

    from ..export.figures import four_panels
    from ..reproduction.summary import charts, rows, summarise
    from ..reproduction.trial import METHODS, reference_curves

    first = of_name["paper"][0]
    references = store.load(f"{name}-references-{first['seed']}")
    if references is None:
        references = reference_curves(name, first["seed"], first["dose_nC"] / first["n_measured"])
        store.save(f"{name}-references-{first['seed']}", references)
    curves = {key: value for key, value in references.items() if key != "program_version"}
    for method, trials in of_name.items():
        curves[method] = trials[0]["curve"]
        maps = {**trials[0]["maps"], "phases": tuple(trials[0]["maps"]["phases"])}
        four_panels(
            store.directory / f"{name}-{method}.png", title=f"{name}: {METHODS[method].title}", **maps
        )
    charts(store.directory / f"{name}-curves.png", name, curves)

    summaries = {method: summarise(trials) for method, trials in of_name.items()}
    b = [trial["boundary_fraction"] for trial in of_name["paper"]]
    table = Table(
        title=f"{name}, boundary fraction {min(b):.3f}–{max(b):.3f}, {len(b)} seed(s): median (worst)"
    )
    for column in ("", "the paper", *(METHODS[method].title for method in of_name)):
        table.add_column(column, justify="left" if not column else "right")
    for row in rows(name, summaries, first["raster_dose_nC"]):
        table.add_row(*row)
    console.print(table)
    return {"boundary_fractions": b, "raster_dose_nC": first["raster_dose_nC"], **summaries}
