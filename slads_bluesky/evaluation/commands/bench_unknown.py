"""``slads-bluesky bench unknown``: specimens whose phases are found on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...cli.options import Json

__all__ = ["bench_unknown", "register"]


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command("unknown")(bench_unknown)


def bench_unknown(
    objects: Annotated[
        str, typer.Option(help="Simulated objects, and eight-SIZE for one of eight phases; commas between.")
    ] = "pbsn-128,powder-256,eight-128",
    seeds: Annotated[int, typer.Option(help="Runs of each.", min=1)] = 3,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder with edax_minerals/, real spectra.")
    ] = None,
    json_file: Json = None,
) -> None:
    """Map without knowing the phases, and compare with maps that know them."""
    from ..benchmarks.unknown import measure_unknown, unknown_figures
    from .output import bench_output

    with bench_output(json_file, "Specimens nobody has described") as output:
        found = output.results = measure_unknown(
            tuple(name.strip() for name in objects.split(",")), seeds, data=data, progress=output.progress
        )
        output.table(
            "Maps from nothing",
            ("specimen", "seed", "phases", "found", "distortion", "known", "Rand index"),
            [
                [t[k] for k in ("specimen", "seed", "phases", "found", "td", "td_known", "rand")]
                for t in found["trials"]
            ],
        )
        output.figures = unknown_figures(found)
