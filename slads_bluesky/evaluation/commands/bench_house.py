"""``slads-bluesky bench house``: figures of the source tree itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...cli.options import Json

__all__ = ["bench_house", "register"]


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command("house")(bench_house)


def bench_house(
    root: Annotated[Path, typer.Option(metavar="DIR", help="Checkout that holds slads_bluesky/.")] = Path(),
    json_file: Json = None,
) -> None:
    """Count modules, imports, circles and lines of a checkout, and time its import and --help."""
    from ..benchmarks.architecture import measure_tree, tree_figures
    from .output import bench_output

    with bench_output(json_file, "The whole tree") as output:
        found = output.results = measure_tree(root)
        output.table(
            "Packages: modules, imports inside, to and from other packages, modules in circles",
            ("package", "modules", "inside", "out", "in", "in circles"),
            [[name or "slads_bluesky", *counts.values()] for name, counts in found["packages"].items()],
        )
        for title, key in (("modules", "circles"), ("packages", "package_circles")):
            for names in found[key]:
                output.print(f"circle of {len(names)} {title}: {', '.join(names)}")
        output.figures = tree_figures(found)
