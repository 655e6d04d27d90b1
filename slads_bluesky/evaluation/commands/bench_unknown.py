"""``slads-bluesky bench unknown``: specimens whose phases are found on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...cli.options import Json

__all__ = ["bench_unknown", "register"]

COLUMNS = (
    "specimen", "seed", "phases", "found", "matched", "invented", "complete_at", "td", "td_known", "dose",
    "rand", "cpu_s",
)  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command("unknown")(bench_unknown)


def bench_unknown(
    objects: Annotated[
        str,
        typer.Option(
            help="Simulated objects, -imperfect after a name for all imperfections; commas between."
        ),
    ] = "pbsn-128,powder-256,rock-128,rock-128-imperfect",
    runs: Annotated[int, typer.Option(help="Runs of pbsn and powder, each.", min=1)] = 10,
    seeds: Annotated[int, typer.Option(help="Specimens of each object.", min=1)] = 3,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder with edax_minerals/ and p45_dacite.npz, real spectra."),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep each trial here; trials that it holds are not run again."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Begin no trial after so many minutes; --keep resumes.")
    ] = None,
    json_file: Json = None,
) -> None:
    """Map without knowing the phases, and compare with maps that know them."""
    from ..benchmarks.unknown import measure_unknown, unknown_figures
    from .output import bench_output

    with bench_output(json_file, "Specimens nobody has described") as output:
        found = output.results = measure_unknown(
            tuple(name.strip() for name in objects.split(",")),
            runs,
            seeds,
            data=data,
            keep=keep,
            minutes=minutes,
            progress=output.progress,
        )
        output.table("Maps from nothing", COLUMNS, [[t[k] for k in COLUMNS] for t in found["trials"]])
        if found["real"]:
            output.table(
                "Real spectra",
                ("specimen", "phases", "found", "Rand index", "EM told the number"),
                [[r[k] for k in ("specimen", "phases", "found", "ours", "em")] for r in found["real"]],
            )
        output.figures = unknown_figures(found)
