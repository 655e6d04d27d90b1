"""``slads-bluesky bench endurance``: a long map over Channel Access, and whether anything grows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...cli.options import Json

__all__ = ["bench_endurance", "register"]


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command("endurance")(bench_endurance)


def bench_endurance(
    points: Annotated[int, typer.Option(min=100, help="Points of the map: 52429 are 5 % of 1024².")] = 52429,
    object_name: Annotated[str, typer.Option("--object", help="Object that is mapped.")] = "pbsn-1024",
    folder: Annotated[
        Path | None, typer.Option(help="Where to work; by default the system's temporary files.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the object and of the training.")] = 0,
    json_file: Json = None,
) -> None:
    """Compare the first and the last tenth of a long map: memory, file handles, threads, time per point."""
    from ..benchmarks.endurance import endurance_figures, measure_endurance
    from .output import bench_output

    with bench_output(json_file, f"{points} points of {object_name}, last tenth against first") as output:
        output.results = measure_endurance(
            points, object_name, seed=seed, folder=folder, progress=output.progress
        )
        output.figures = endurance_figures(output.results)
