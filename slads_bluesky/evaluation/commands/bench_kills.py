"""``slads-bluesky bench kills``: an acquisition killed at random moments and resumed."""

from __future__ import annotations

from typing import Annotated

import typer

from ...cli.options import Json

__all__ = ["bench_kills", "register"]


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command("kills")(bench_kills)


def bench_kills(
    kills: Annotated[
        int, typer.Option("-n", "--kills", min=1, help="How often the acquisition is killed.")
    ] = 25,
    object_name: Annotated[str, typer.Option("--object", help="Object that is mapped.")] = "pbsn-64",
    fraction: Annotated[float, typer.Option(help="Part of the pixels of the whole map.")] = 0.12,
    soft: Annotated[
        bool, typer.Option("--soft/--ioc", help="In-process devices, or the IOC over Channel Access.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Seed of the object, the training and the moments.")] = 0,
    json_file: Json = None,
) -> None:
    """Kill -9 an acquisition at random moments; every point must be on record and the resumed map be the same."""
    from ..benchmarks.kills import kill_figures, measure_kills
    from .output import bench_output

    with bench_output(json_file, f"{kills} kills of a map of {object_name}") as output:
        output.results = measure_kills(
            kills, object_name, fraction, soft=soft, seed=seed, progress=output.progress
        )
        output.figures = kill_figures(output.results)
