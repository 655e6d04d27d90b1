"""``slads-bluesky bench point``: cost of one adaptive point, and whether interruptions lose anything."""

from __future__ import annotations

from typing import Annotated

import typer

from ...cli.options import Json

__all__ = ["point", "register"]


def register(app: typer.Typer) -> None:
    """Add ``point`` to `app`."""
    app.command()(point)


def point(
    object_name: Annotated[str, typer.Option("--object", help="Simulated object.")] = "pbsn-128",
    points: Annotated[int, typer.Option(min=50, help="Points of each timed run.")] = 1000,
    turns: Annotated[int, typer.Option(min=1, help="How often adaptive and bare runs alternate.")] = 2,
    pauses: Annotated[int, typer.Option(min=0, help="Immediate pauses at random moments.")] = 20,
    trips: Annotated[int, typer.Option(min=0, help="Trips of the beam at random moments.")] = 5,
    sampler: Annotated[str, typer.Option(help="slads or learned.")] = "slads",
    classifier: Annotated[str, typer.Option(help="likelihood or paper.")] = "likelihood",
    seed: Annotated[int, typer.Option(help="Seed of object, training and interruptions.")] = 0,
    json_file: Json = None,
) -> None:
    """Time adaptive points against a bare list scan of the same points, and count what interruptions lose."""
    from ..benchmarks.point import measure_points, point_figures
    from .output import bench_output

    with bench_output(json_file, f"{object_name}, {points} points, zero dwell") as output:
        found = output.results = measure_points(
            object_name, points, turns, pauses, trips,
            sampler=sampler, classifier=classifier, seed=seed, progress=output.progress,
        )  # fmt: skip
        rows: list[list[object]] = []
        for kind, name in (("channel_access", "over Channel Access"), ("soft", "soft devices")):
            of = found[kind]
            for what, key in (("bare list scan", "bare_ms"), ("adaptive, all included", "adaptive_ms")):
                rows.append([f"{name}: {what}", of[key]["median"], of[key]["p99"]])
            rows.append(["   adaptive / bare", of["ratio"], None])
        output.table("One point", ("ms", "median", "99 %"), rows)
        soft = found["soft"]["ledger"]
        output.table(
            "Ledger of a point",
            ("step, ms", "Channel Access: median", "99 %", "soft: median", "99 %"),
            [
                [
                    step,
                    *(part.get(key) for part in (of, soft.get(step, {})) for key in ("median_ms", "p99_ms")),
                ]
                for step, of in found["channel_access"]["ledger"].items()
            ],
        )
        output.figures = point_figures(found)
