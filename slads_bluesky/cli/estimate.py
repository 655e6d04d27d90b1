"""``slads-bluesky estimate``: time and dose of a map before it is started."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from ..errors import ConfigError, RecordError
from ..files import check_writable, write_json
from ..terminal import make_console, working
from .options import Json
from .record import Where

__all__ = ["estimate", "register"]


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(estimate)


def estimate(
    shape: Annotated[str, typer.Argument(metavar="ROWSxCOLUMNS", help="The grid, such as 256x256.")],
    fraction: Annotated[float, typer.Option(help="Part of the pixels to measure.")] = 0.15,
    dwell: Annotated[
        float | None, typer.Option(metavar="S", help="Live time of a point; default what earlier runs took.")
    ] = None,
    current: Annotated[
        float | None, typer.Option(metavar="NA", help="Beam current; default that of earlier runs.")
    ] = None,
    sample: Annotated[str | None, typer.Option(help="Look at earlier runs of this sample only.")] = None,
    object_name: Annotated[
        str | None, typer.Option("--object", help="Look at earlier runs of this simulated object only.")
    ] = None,
    distortion: Annotated[
        float,
        typer.Option(help="Total distortion that the map may have: for the raster it is compared with."),
    ] = 0.005,
    minimise: Annotated[
        Literal["dose", "time", "both"], typer.Option(help="What decides between raster, points and lists.")
    ] = "both",
    last: Annotated[int, typer.Option(help="Look at this many earlier runs, the latest.")] = 20,
    catalog: Where = None,
    json_file: Json = None,
) -> None:
    """Estimate the time and the dose of a map from what earlier runs took, and recommend raster, points or lists."""
    from ..analysis.cost import estimate as predict
    from ..analysis.in_words import describe_estimate, describe_recommendation
    from ..analysis.recommend import recommend
    from ..record.earlier import earlier_runs

    console = make_console()
    check_writable(json_file)
    rows, columns = _shape(shape)
    if last < 1:
        raise ConfigError(f"--last takes at least one run, not {last}")
    with working(console, "reading earlier runs") as show:
        runs = earlier_runs(catalog, sample=sample, object_name=object_name, last=last, on_run=show)
    try:
        made = predict(runs, n_pixels=rows * columns, fraction=fraction, dwell_s=dwell, current_na=current)
        advice = recommend(
            runs, n_pixels=rows * columns, fraction=fraction, distortion=distortion, minimise=minimise,
            dwell_s=dwell, current_na=current,
        )  # fmt: skip
    except RecordError as error:
        raise RecordError(f"{error} with --dwell") from None
    for line in (*describe_estimate(made, runs), *describe_recommendation(advice)):
        console.print(line, soft_wrap=True)
    recommended = None if advice is None else advice.to_json()
    write_json(
        json_file, {**made.to_json(), "runs": [run.uid for run in runs], "recommendation": recommended}
    )


def _shape(text: str) -> tuple[int, int]:
    from ..grid import ScanGrid

    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 2 or not all(part.strip().isdigit() for part in parts):
        raise ConfigError(f"a grid is given as ROWSxCOLUMNS, such as 256x256, not '{text}'")
    grid = ScanGrid((int(parts[0]), int(parts[1])))
    return grid.shape
