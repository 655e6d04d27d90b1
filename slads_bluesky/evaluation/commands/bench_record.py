"""``slads-bluesky bench record``: what recording costs a point, and what reading a large map back costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...cli.options import Json
from ...files import check_writable, write_json

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
    from rich.console import Console
    from rich.table import Table

    from ..benchmarks.record import measure_record

    check_writable(json_file)
    console = Console(highlight=False)
    with console.status("") as status:
        figures = measure_record(
            points, object_name, seed=seed, folder=folder, told=lambda what: status.update(what)
        )
    journal, fsync = figures["journal_ms"], figures["journal_fsync_ms"]
    imports, opening, reading = (figures[f"catalog_{step}_s"] for step in ("import", "open", "read"))
    table = Table(
        title=f"{points} points of {object_name}, {figures['catalog_shape'][1]} channels",
        title_justify="left",
    )
    for column in ("", "measured", "to reach"):
        table.add_column(column, justify="left" if not column else "right")
    for row in (
        ("journal, a point: median", f"{journal['median']:.3f} ms", "≤ 0.3 ms"),
        ("journal, a point: 99 %", f"{journal['p99']:.3f} ms", ""),
        ("journal with fsync: median", f"{fsync['median']:.3f} ms", ""),
        ("catalog's writer, a point", f"{figures['writer_ms_a_point']:.2f} ms", "≤ 4 ms"),
        ("catalog's writer, memory", f"{figures['writer_peak_rss_mb']:.0f} MB", "≤ 1000 MB"),
        ("reopened and read as arrays", f"{imports + opening + reading:.1f} s", "≤ 10 s"),
        ("  imports, opening, reading", f"{imports:.1f}, {opening:.1f}, {reading:.1f} s", ""),
        ("  memory of that", f"{figures['catalog_peak_rss_mb']:.0f} MB", "≤ 1000 MB"),
        ("  the same as was recorded", "yes" if figures["read_back_equal"] else "NO", "yes"),
        ("replay --verify", f"{figures['verify_points_per_s']:.0f} points/s", "≥ 1000"),
        ("  passed", "yes" if figures["verify_passed"] else "NO", "yes"),
    ):
        table.add_row(*row)
    console.print(table)
    write_json(json_file, figures)
