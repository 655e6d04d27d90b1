"""Maps without an agent: every pixel of a grid, or a list of them, in order."""

from collections.abc import Generator, Sequence
from typing import Any, Unpack

from bluesky.utils import Msg

from slads_bluesky.errors import ConfigError
from slads_bluesky.grid import ScanGrid
from slads_bluesky.protocols import Beam, Detector, EventKeys, Suggestion

from .ledger import Ledger
from .readables import ScanPoint
from .run import Limits, Points, RunOptions, in_order, one_run
from .start import versions

__all__ = ["list_map", "raster_map"]


def raster_map(
    beam: Beam, eds: Detector, grid: ScanGrid, **options: Unpack[RunOptions]
) -> Generator[Msg, Any, str]:
    """Measure every pixel of a grid that lies in its region of interest, row by row.

    Parameters
    ----------
    beam, eds : Beam, Detector
    grid : ScanGrid
    **options
        See `plans.run.RunOptions`.
    """
    pixels = range(grid.shape[0] * grid.shape[1])
    wanted = list(pixels) if grid.roi is None else [p for p in pixels if grid.roi.flat[p]]
    return (yield from list_map(beam, eds, grid, wanted, plan_name="raster_map", **options))


def list_map(
    beam: Beam,
    eds: Detector,
    grid: ScanGrid,
    pixels: Sequence[int],
    *,
    plan_name: str = "list_map",
    **options: Unpack[RunOptions],
) -> Generator[Msg, Any, str]:
    """Measure given pixels of a grid in the order given: one run with the events of `adaptive_map`.

    Parameters
    ----------
    beam, eds : Beam, Detector
    grid : ScanGrid
    pixels : sequence of int
        Flat indices.
    plan_name : str
        For the start document.
    **options
        See `plans.run.RunOptions`.

    Returns
    -------
    str
        Why the run ended, as in the stop document.

    Raises
    ------
    ConfigError
        If there is no pixel, one lies outside the grid, or a limit is out of bounds.
    InstrumentError
        If a pixel lies outside the field, or too many points failed.
    """
    if not len(pixels):
        raise ConfigError("no pixel to measure")
    limits = Limits.of(options)
    try:
        positions = [grid.position(int(pixel)) for pixel in pixels]
    except IndexError as error:
        raise ConfigError(str(error)) from None
    point = ScanPoint(grid)
    points = Points(beam, eds, limits, EventKeys(), options.get("ledger") or Ledger(), min(grid.step_um))
    xs, ys = zip(*positions, strict=True)
    (y0, y1), (x0, x1) = grid.extents_um
    start = {
        "plan_name": plan_name, "plan_type": "generator", "detectors": [eds.name], "motors": [beam.name],
        "hints": {"dimensions": [([f"{beam.name}_{axis}"], "primary") for axis in "yx"]},
        **(options.get("md") or {}),
        "plan_args": {"beam": beam.name, "eds": eds.name, "n_pixels": len(pixels), **limits.to_json()},
        "shape": [int(n) for n in grid.shape], "extents": [[y0, y1], [x0, x1]], "grid": grid.to_json(),
        "num_points": len(pixels), "versions": versions(),
    }  # fmt: skip
    choices = (lambda pixel=pixel: point.choose(Suggestion(int(pixel), float("nan"))) for pixel in pixels)
    return (
        yield from one_run(
            points,
            lambda: in_order(points, choices, [point], "every pixel is measured"),
            beam=beam,
            eds=eds,
            start=start,
            places=((min(xs), min(ys)), (max(xs), max(ys))),
            limits=limits,
            baseline=options.get("baseline", ()),
            suspenders=options.get("suspenders", ()),
        )
    )
