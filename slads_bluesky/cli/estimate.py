"""``slads-bluesky estimate``: time and dose of a map before it is started."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError, RecordError
from ..files import check_writable, write_json
from ..simulated import simulated_object
from ..terminal import make_console, working
from .options import Json
from .record import Where

if TYPE_CHECKING:
    from ..analysis.cost import PastRun, Range

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
    last: Annotated[int, typer.Option(help="Look at this many earlier runs, the latest.")] = 20,
    catalog: Where = None,
    json_file: Json = None,
) -> None:
    """Estimate the time and the dose of a map from what earlier runs took."""
    from ..analysis.cost import estimate as predict

    console = make_console()
    check_writable(json_file)
    rows, columns = _shape(shape)
    if last < 1:
        raise ConfigError(f"--last takes at least one run, not {last}")
    with working(console, "reading earlier runs") as show:
        runs = _earlier(catalog, sample, object_name, last, show)
    try:
        made = predict(runs, n_pixels=rows * columns, fraction=fraction, dwell_s=dwell, current_na=current)
    except RecordError as error:
        raise RecordError(f"{error} with --dwell") from None
    console.print(f"points     {made.n_points} of {made.n_pixels} pixels, live {_seconds(made.dwell_s)} each")
    console.print(f"beam on    {_span(made.beam_s)}")
    console.print(
        f"total      {_span(made.wall_s)}" if made.wall_s else "total      not known: beam on, plus the overhead "
        "of each point"
    )  # fmt: skip
    console.print(
        f"dose       {_amount(made.dose_nc, 'nC')}"
        if made.dose_nc
        else "dose       not known: give --current"
    )
    console.print(f"a raster   {timedelta(seconds=round(made.raster_beam_s))} of beam for every pixel")
    console.print(_basis(runs))
    write_json(json_file, {**made.to_json(), "runs": [run.uid for run in runs]})


def _shape(text: str) -> tuple[int, int]:
    from ..grid import ScanGrid

    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 2 or not all(part.strip().isdigit() for part in parts):
        raise ConfigError(f"a grid is given as ROWSxCOLUMNS, such as 256x256, not '{text}'")
    grid = ScanGrid((int(parts[0]), int(parts[1])))
    return grid.shape


def _earlier(
    where: str | None, sample: str | None, object_name: str | None, last: int, show: Callable[[str], None]
) -> list[PastRun]:
    from ..analysis.cost import past_run
    from ..record.runs import list_runs

    found: list[PastRun] = []
    try:
        recorded = list_runs(where)
    except RecordError:
        if where is not None:
            raise
        recorded = []  # the user's own record begins with the first run
    for run in reversed(recorded):
        if sample is not None and run.start.get("sample") != sample:
            continue
        specimen = simulated_object(run.start)
        if object_name is not None and (specimen is None or specimen.name != object_name):
            continue
        if "grid" not in run.start:
            continue
        show(f"reading run {run.uid[:8]}")
        try:
            past = past_run(run.documents())
        except RecordError:
            continue  # a damaged run is no reason not to look at the others
        if past is not None:
            found.append(past)
        if len(found) == last:
            break
    return found


def _basis(runs: list[PastRun]) -> str:
    if not runs:
        return "by         no earlier run: dead time and overhead are not counted, the map will take longer"
    if len(runs) == 1:
        return f"by         one earlier run, {runs[0].uid[:8]}: the spread between runs is not known"
    names = ", ".join(run.uid[:8] for run in runs[:5]) + (", …" if len(runs) > 5 else "")
    return f"by         {len(runs)} earlier runs, {names}; in brackets the lowest and highest of them"


def _span(value: Range) -> str:
    low, high = (timedelta(seconds=round(v)) for v in (value.low, value.high))
    middle = str(timedelta(seconds=round(value.value)))
    return middle if low == high else f"{middle}  ({low} … {high})"


def _seconds(value: Range) -> str:
    return _amount(value, "s")


def _amount(value: Range, unit: str) -> str:
    middle = f"{_three(value.value)} {unit}"
    if value.high - value.low < 1e-3 * value.value:
        return middle
    return f"{middle}  ({_three(value.low)} … {_three(value.high)})"


def _three(value: float) -> str:
    """Three digits, and no powers of ten."""
    return f"{value:.3g}" if value < 1000 else f"{float(f'{value:.3g}'):.0f}"
