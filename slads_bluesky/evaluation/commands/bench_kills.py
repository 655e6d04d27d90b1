"""``slads-bluesky bench kills``: an acquisition killed at random moments, resumed, compared with one that was not."""

from __future__ import annotations

from typing import Annotated

import typer

from ...cli.options import Json
from ...files import check_writable, write_json

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
    from rich.console import Console

    from ...progress import tracker
    from ..benchmarks.kills import measure_kills

    check_writable(json_file)
    console = Console(highlight=False)
    with tracker("killing") as progress:
        figures = measure_kills(
            kills, object_name, fraction, soft=soft, seed=seed, told=lambda n: progress("killing", n / kills)
        )
    console.print(
        f"{kills} kills of a map of {figures['points']} points, "
        f"{figures['writers_killed']} of them with the catalog's writer:\n"
        f"  completed points lost       {figures['completed_points_lost']}\n"
        f"  in flight at most           {figures['most_points_in_flight']}\n"
        f"  same decisions when resumed {figures['same_decisions']} of {kills}\n"
        f"  same map when resumed       {figures['same_maps']} of {kills}\n"
        f"  catalog complete afterwards {figures['catalogs_complete']} of {kills}"
    )
    write_json(json_file, figures)
