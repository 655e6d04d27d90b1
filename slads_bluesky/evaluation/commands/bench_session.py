"""``slads-bluesky bench session``: cost of live view and publisher to a run, and the start of a session."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...cli.options import Json

__all__ = ["register", "session"]


def register(app: typer.Typer) -> None:
    """Add ``session`` to `app`."""
    app.command()(session)


def session(
    object_name: Annotated[
        str, typer.Option("--object", help="Simulated object, over soft devices.")
    ] = "pbsn-128",
    points: Annotated[int, typer.Option(min=200, help="Points of each run.")] = 8000,
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each kind, taken alternately.")] = 3,
    profile: Annotated[
        Path, typer.Option(metavar="DIR", help="IPython profile to start; skipped if it is missing.")
    ] = Path("profile"),
    seed: Annotated[int, typer.Option(help="Seed of object and training.")] = 0,
    json_file: Json = None,
) -> None:
    """Map with and without the live view and a 0MQ publisher, alternately, and start a session."""
    from ..benchmarks.session import measure_session, session_figures
    from .output import bench_output

    with bench_output(json_file, f"{object_name}, {points} points, {repeats} runs of each kind") as output:
        output.results = measure_session(
            object_name, points, repeats, profile, seed=seed, progress=output.progress
        )
        output.figures = session_figures(output.results)
