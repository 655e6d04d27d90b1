"""``slads-bluesky bench joint``: the joint sampler beside a fast raster with the same inference, at equal dose."""

from __future__ import annotations

from typing import Annotated

import typer

from ...cli.options import Json

__all__ = ["bench_joint", "register"]


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command("joint")(bench_joint)


def bench_joint(
    objects: Annotated[str, typer.Option(help="Objects, separated by commas.")] = "pbsn-128,powder-256",
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0 … of each object.")] = 3,
    quick: Annotated[bool, typer.Option("--quick", help="One seed.")] = False,
    json_file: Json = None,
) -> None:
    """Compare what one dose gives: sparse visits by the joint sampler, or a raster of every pixel."""
    from ...errors import ConfigError
    from ..benchmarks.joint import GOALS_NC, joint_figures, measure_object
    from .output import bench_output

    names = [name.strip() for name in objects.split(",")]
    if unknown := [name for name in names if name not in GOALS_NC]:
        raise ConfigError(f"unknown object '{unknown[0]}'; known: {', '.join(GOALS_NC)}")
    with bench_output(json_file, "Figures of the joint inference") as output:
        results = [
            measure_object(name, seed, progress=output.progress)
            for name in names
            for seed in range(1 if quick else seeds)
        ]
        output.results = {"results": results}
        for result in results:
            lines = []
            for row in result["rows"]:
                ours = row.get("ours")
                lines.append(
                    [
                        f"{row['dose_nc']:g}", f"{row['raster_counts']:.2f}", f"{row['raster_alone']:.4f}",
                        f"{row['raster_reference']['td']:.4f}", f"{row['raster_best']['td']:.4f}",
                        f"{row['raster_s']:.1f}", "–" if ours is None else f"{ours['td']:.4f}",
                        "–" if ours is None else f"{ours['expected']:.4f}",
                        "–" if ours is None else f"{ours['time_s']:.1f}",
                    ]
                )  # fmt: skip
            output.table(
                f"{result['object']}, seed {result['seed']}: total distortion at equal dose",
                (
                    "dose, nC", "raster: counts a pixel", "raster alone", "raster, Potts reference",
                    "raster, our best", "raster, s", "ours", "ours, expected", "ours, s",
                ),
                lines,
            )  # fmt: skip
        output.figures = joint_figures(results)
