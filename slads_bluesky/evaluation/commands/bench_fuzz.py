"""``slads-bluesky bench fuzz``: every reader against valid inputs changed at random."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...cli.options import Json

__all__ = ["bench_fuzz", "register"]


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command("fuzz")(bench_fuzz)


def bench_fuzz(
    minutes: Annotated[float, typer.Option(min=0.01, help="Minutes for each reader.")] = 10.0,
    reader: Annotated[
        list[str] | None, typer.Option(help="Only readers with this in their name; may be repeated.")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep the first input of each kind of finding.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the changes.")] = 0,
    json_file: Json = None,
) -> None:
    """Change valid files at random; no reader may end in a traceback, hang, crash or fill the memory."""
    from ..fuzz.campaign import BAD, fuzz_figures, measure_fuzz
    from .output import bench_output

    with bench_output(json_file, f"{minutes:g} minutes for each reader") as output:
        found = measure_fuzz(reader, minutes, seed=seed, keep=keep, progress=output.progress)
        output.results.update(seed=seed, minutes=minutes, readers=found)
        output.table(
            "Changed inputs",
            ("reader", "inputs", "read", "refused", *BAD),
            [[row["reader"], *(row[key] for key in ("inputs", "read", "refused", *BAD))] for row in found],
        )
        for row in found:
            for kind in row["findings"][:8]:
                output.print(
                    f"{row['reader']}: {kind['n']} × {kind['outcome']} at {kind['where'] or '?'}: {kind['what']}"
                )
        output.figures = fuzz_figures(found, minutes)
