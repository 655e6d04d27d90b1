"""``slads-bluesky bench mutants``: small changes to the program, and which of them no test notices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...cli.options import Json

__all__ = ["bench_mutants", "register"]


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command("mutants")(bench_mutants)


def bench_mutants(
    module: Annotated[
        list[str] | None,
        typer.Option(help="slads, journal, plans, or one of their modules such as budget; may be repeated."),
    ] = None,
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="Mutants of each.")] = 67,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sample.")] = 0,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep results here, and resume from them.")
    ] = None,
    json_file: Json = None,
) -> None:
    """Change one operator, number, condition or statement at a time, in a checkout; print what no test noticed."""
    from ..mutants.campaign import measure_mutants, mutant_figures
    from ..mutants.trial import KILLED, SURVIVED, TIMED_OUT
    from .output import bench_output

    with bench_output(json_file, "Mutants") as output:
        found = measure_mutants(
            module,
            number,
            seed=seed,
            keep=keep,
            progress=output.progress,
            on_survivor=lambda text: output.print(text),
        )
        output.results.update(seed=seed, targets=found)
        keys = ("possible", "mutants", KILLED, TIMED_OUT, SURVIVED, "baseline_cpu_s")
        output.table(
            "Mutants against the tests of their modules",
            ("modules", *keys),
            [[row["target"], *(row[key] for key in keys)] for row in found],
        )
        output.figures = mutant_figures(found)
