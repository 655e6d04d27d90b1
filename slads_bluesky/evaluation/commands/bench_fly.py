"""``slads-bluesky bench fly``: maps by point lists against the hardware's own time, single decisions and a raster."""

from __future__ import annotations

from typing import Annotated

import typer

from ...cli.options import Json

__all__ = ["bench_fly", "register"]

PARTS = ("pace", "batches", "raster")
LARGE_BATCH = 0.005
"""Of the map of 1024²: a decision takes seconds there, a list of 2 % would be half of the map."""


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command("fly")(bench_fly)


def bench_fly(
    parts: Annotated[
        str, typer.Option(help="What is measured, with commas between: pace, batches, raster.")
    ] = "pace,batches,raster",
    objects: Annotated[
        str, typer.Option(help="Objects of pace, with commas between, each with its fraction.")
    ] = "pbsn-128:0.1,powder-256:0.1",
    batch: Annotated[
        str,
        typer.Option(help="Batches of pace, with commas between: a number, a part under 1, auto, or pace."),
    ] = "0.02,pace",
    rasters: Annotated[
        str, typer.Option(help="Objects that are compared with a raster.")
    ] = "powder-256,pbsn-1024",
    minutes: Annotated[str, typer.Option(help="Instrument times of that, min.")] = "1,2,5",
    seeds: Annotated[int, typer.Option(min=1, help="Objects of each kind for the batches.")] = 2,
    large: Annotated[
        bool, typer.Option("--large", help="Also pace of 1024² at 5 %, 52,429 points: many minutes.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the objects.")] = 0,
    json_file: Json = None,
) -> None:
    """Measure maps by point lists: their pace, what batches and passes cost, and a fast raster of equal time."""
    from ...errors import ConfigError
    from ..benchmarks.fly import large_figures, measure_pace, pace_figures
    from ..benchmarks.fly_batches import batch_figures, measure_batches, measure_dose
    from ..benchmarks.fly_raster import measure_against_raster, raster_figures
    from .output import bench_output

    wanted = [part.strip() for part in parts.split(",") if part.strip()]
    if unknown := sorted(set(wanted) - set(PARTS)):
        raise ConfigError(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    sizes = [_batch(text.strip()) for text in batch.split(",")]
    with bench_output(json_file, "Maps by point lists") as output:
        if "pace" in wanted:
            paces = []
            for text in filter(None, objects.split(",")):
                name, _, fraction = text.strip().partition(":")
                for size in sizes:
                    paces.append(
                        measure_pace(
                            name, float(fraction or 0.1), batch=size, seed=seed, progress=output.progress
                        )
                    )
                    output.figures += pace_figures(paces[-1])
            if large:
                paces.append(
                    measure_pace(
                        "pbsn-1024", 0.05, batch=LARGE_BATCH, points=0, seed=seed, progress=output.progress
                    )
                )
                output.figures += large_figures(paces[-1])
            output.results["pace"] = paces
            output.table(
                "By lists, in real time over Channel Access, 1 ms dwell and 50 µs settle",
                ("object", "batch", "points", "lists", "wall, s", "hardware, s", "ratio", "software, µs a pixel",
                 "decision, ms", "TD"),
                [
                    (p["object"], str(p["batch"]), p["n"], p["lists"], p["wall_s"], p["hardware_s"], p["ratio"],
                     p["overhead_us_a_pixel"], p["decide_ms"], p["td"])
                    for p in paces
                ],
            )  # fmt: skip
        if "batches" in wanted:
            batches = measure_batches(seeds=range(seed, seed + seeds), progress=output.progress)
            doses = measure_dose(seed=seed, progress=output.progress)
            output.results.update(batches=batches, doses=doses)
            output.figures += batch_figures(batches, doses)
            output.table(
                "Samples for the same distortion, decided one list late, over single decisions",
                ("batch", "more samples, %", "worst, %"),
                [(str(row["batch"]), 100 * row["more"], 100 * row["worst"]) for row in batches],
            )
            output.table(
                "Dose in passes over a test after every count",
                ("object", "every count, ms", "ratio", "passes a pixel", "wrong, every count", "wrong, passes"),
                [
                    (d["object"], d["continuous_ms"], d["dose_ratio"], d["passes"], d["error_continuous"],
                     d["error_passes"])
                    for d in doses
                ],
            )  # fmt: skip
        if "raster" in wanted:
            output.results["raster"] = []
            for name in rasters.split(","):
                found = measure_against_raster(
                    name.strip(), minutes=[float(m) for m in minutes.split(",")], seed=seed,
                    progress=output.progress,
                )  # fmt: skip
                output.results["raster"].append(found)
                output.figures += raster_figures(found)
                output.table(
                    f"{name.strip()}: distortion at equal instrument time",
                    ("minutes", "sparse", "its pixels", "raster", "its dwell, µs", "its best denoising"),
                    [
                        (row["minutes"], row["sparse_td"], f"{row['sparse_fraction']:.1%}", row["raster_td"],
                         row["raster_dwell_us"], row["raster_best"])
                        for row in found["rows"]
                    ],
                    left=("its best denoising",),
                )  # fmt: skip


def _batch(text: str) -> int | float | str:
    """Return a batch as `plans.batches.batch_size` takes it."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text
