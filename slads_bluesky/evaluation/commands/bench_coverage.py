"""``slads-bluesky bench coverage``: which lines of the runtime the tests reach."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...cli.options import Json

__all__ = ["bench_coverage", "register"]


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command("coverage")(bench_coverage)


def bench_coverage(
    tests: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TEST]…", help="Files of tests, or after -- any arguments of pytest; by default all."
        ),
    ] = None,
    processes: Annotated[int, typer.Option("-n", "--processes", min=0, help="Processes of the tests.")] = 2,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Add to what this file holds, so that tests can be run in pieces."),
    ] = None,
    json_file: Json = None,
) -> None:
    """Run the tests of a checkout and print the share of the runtime's lines that they reach, package by package."""
    from ..benchmarks.tested_lines import figures_of_lines, measure_tested_lines
    from .output import bench_output

    with bench_output(json_file, "Coverage") as output:
        own = tests or []
        spread = ["-n", str(processes), *(["--dist", "loadfile"] if processes else [])]
        found = measure_tested_lines([*own, *([] if "-n" in own else ["-q", *spread])], kept=keep)
        output.results.update(found)
        packages: dict[str, list[int]] = {}
        for module, (lines, reached) in found["modules"].items():
            total = packages.setdefault(str(Path(module).parent), [0, 0])
            total[0] += lines
            total[1] += reached
        output.table(
            "Lines that the tests reach",
            ("package", "lines", "reached", "%"),
            [
                [name, lines, reached, 100.0 * reached / max(lines, 1)]
                for name, (lines, reached) in packages.items()
            ],
        )
        output.figures = figures_of_lines(found)
    if found["tests"]:
        raise typer.Exit(found["tests"])
