"""``slads-bluesky bench record``: cost of recording, per point, and of reading a large map back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...cli.options import Json

__all__ = ["bench_record", "register"]


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command("record")(bench_record)


def bench_record(
    points: Annotated[
        int, typer.Option(min=200, help="Points of the large map: 52429 are 5 % of 1024².")
    ] = 52429,
    object_name: Annotated[str, typer.Option("--object", help="Object that is mapped.")] = "pbsn-1024",
    folder: Annotated[
        Path | None, typer.Option(help="Where to work; by default the system's temporary files.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the object and of the training.")] = 0,
    json_file: Json = None,
) -> None:
    """Measure journal, catalog, reading back and verification on one large map."""
    from ..benchmarks.record import measure_record, record_figures
    from .output import bench_output

    with bench_output(json_file, f"{points} points of {object_name}") as output:
        output.results = measure_record(
            points, object_name, seed=seed, folder=folder, progress=output.progress
        )
        output.figures = record_figures(output.results)
