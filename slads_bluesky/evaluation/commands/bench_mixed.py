"""``slads-bluesky bench mixed``: maps of specimens whose boundaries an interaction volume mixes."""

from __future__ import annotations

from typing import Annotated

import typer

from ...cli.options import Json

__all__ = ["mixed", "register"]


def register(app: typer.Typer) -> None:
    """Add ``mixed`` to `app`."""
    app.command()(mixed)


def mixed(
    objects: Annotated[str, typer.Option(help="Simulated objects, with commas between.")] = "pbsn-128",
    sigmas: Annotated[
        str, typer.Option(help="Standard deviations of the interaction volume, pixels; 0: sharp.")
    ] = "0,1,2",
    dwells: Annotated[
        str, typer.Option(help="fixed, label (the largest part is sure), position (so is the boundary).")
    ] = "fixed,label,position",
    fraction: Annotated[
        float | None, typer.Option(help="Part of the pixels; default 10 %, powders 7 %.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Specimens of each row.")] = 3,
    imperfect: Annotated[bool, typer.Option("--imperfect", help="With all imperfections, too.")] = False,
    looks: Annotated[
        str, typer.Option(help="Fractions at which the distortion is measured on the way, with commas.")
    ] = "",
    json_file: Json = None,
) -> None:
    """Map specimens with mixed boundaries, and compare with the majority phase and the sharp map."""
    from ...errors import ConfigError
    from ..benchmarks.mixed import POSITION_SD, Row, measure_rows, mixed_figures
    from .output import bench_output

    try:
        widths = [float(word) for word in sigmas.split(",")]
        on_the_way = sorted(float(word) for word in looks.split(",") if word)
    except ValueError:
        raise ConfigError(
            f"sigmas and looks are numbers with commas between, not {sigmas!r}, {looks!r}"
        ) from None
    kinds = dwells.split(",")
    if unknown := sorted(set(kinds) - {"fixed", *POSITION_SD}):
        raise ConfigError(f"no dwell '{unknown[0]}'; there are fixed, {', '.join(POSITION_SD)}")
    rows = [
        Row(name, sigma, dwell, worse)  # type: ignore[arg-type]
        for name in objects.split(",")
        for sigma in widths
        for dwell in kinds
        if sigma > 0 or dwell != "position"
        for worse in ((False, True) if imperfect and sigma > 0 else (False,))
    ]
    with bench_output(json_file, "Mixed boundaries") as output:
        results = measure_rows(rows, seeds, fraction, looks=on_the_way, progress=output.progress)
        output.results = {"rows": results}
        keys = (
            "td_majority",
            "td_sharp",
            "misclassification",
            "mixed",
            "dose_nc",
            "area_error",
            "boundary_px",
        )
        output.table(
            f"Medians of {seeds} seeds",
            ("", "majority", "sharp", "misclassified", "mixed", "dose, nC", "areas", "boundary, px"),
            [[r["row"], *(r[key]["median"] for key in keys)] for r in results],
        )
        output.figures = mixed_figures(results)
