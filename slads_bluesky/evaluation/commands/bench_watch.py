"""``slads-bluesky bench watch``: how soon the page shows a point, and what it costs the run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...cli.options import Json

__all__ = ["bench_watch", "register"]


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command("watch")(bench_watch)


def bench_watch(
    points: Annotated[int, typer.Option(min=200, help="Points that are written at the given rate.")] = 8000,
    rate: Annotated[float, typer.Option(min=1, help="Points a second.")] = 1000.0,
    pairs: Annotated[int, typer.Option(min=1, help="Maps with and without the page, in turn.")] = 3,
    object_name: Annotated[str, typer.Option("--object", help="Object that is mapped.")] = "pbsn-64",
    folder: Annotated[
        Path | None, typer.Option(help="Where to work; by default the system's temporary files.")
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png", help="Picture of the page with the last map; in dark FILE-dark.png."
        ),
    ] = None,
    json_file: Json = None,
) -> None:
    """Measure the page of `slads-bluesky watch` in Chromium, over a journal that grows.

    Example: slads-bluesky bench watch --points 2000 --pairs 1
    """
    from ..benchmarks.watch import measure_watch, watch_figures
    from .output import bench_output

    with bench_output(json_file, f"{points} points at {rate:g}/s, {pairs} pairs of {object_name}") as output:
        output.results = measure_watch(
            points, rate, pairs, object_name, folder=folder, picture=picture, progress=output.progress
        )
        output.figures = watch_figures(output.results)
