"""Maps without an agent: every pixel of a grid, or a list of them, in order."""

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from bluesky.utils import Msg

from slads_bluesky.errors import ConfigError
from slads_bluesky.grid import ScanGrid
from slads_bluesky.protocols import EventKeys, Suggestion

from .adaptive import versions
from .budget import DoseBudget
from .ledger import Ledger
from .readables import ScanPoint
from .run import MAX_FAILED_POINTS, Limits, Points, in_order, one_run
from .stubs import BeamLike, DetectorLike

__all__ = ["list_map", "raster_map"]


def raster_map(beam: BeamLike, eds: DetectorLike, grid: ScanGrid, **more: Any) -> Generator[Msg, Any, str]:
    """Measure every pixel of a grid that lies in its region of interest, row by row.

    Parameters
    ----------
    beam, eds : BeamLike, DetectorLike
    grid : ScanGrid
    **more
        As in `list_map`.
    """
    pixels = range(grid.shape[0] * grid.shape[1])
    wanted = list(pixels) if grid.roi is None else [p for p in pixels if grid.roi.flat[p]]
    return (yield from list_map(beam, eds, grid, wanted, plan_name="raster_map", **more))


def list_map(
    beam: BeamLike,
    eds: DetectorLike,
    grid: ScanGrid,
    pixels: Sequence[int],
    *,
    baseline: Sequence[Any] = (),
    dwell_s: float | None = 10.0,
    timeout_s: float | None = None,
    budget: DoseBudget | None = None,
    max_failed_points: int = MAX_FAILED_POINTS,
    suspenders: Sequence[Any] = (),
    ledger: Ledger | None = None,
    plan_name: str = "list_map",
    md: Mapping[str, Any] | None = None,
) -> Generator[Msg, Any, str]:
    """Measure given pixels of a grid in the order given: one run with the events of `adaptive_map`.

    Parameters
    ----------
    beam, eds : BeamLike, DetectorLike
    grid : ScanGrid
    pixels : sequence of int
        Flat indices.
    baseline, dwell_s, timeout_s, budget, max_failed_points, suspenders, ledger, md
        As in `adaptive_map`.
    plan_name : str
        For the start document.

    Returns
    -------
    str
        Why the run ended, as in the stop document.

    Raises
    ------
    ConfigError
        If there is no pixel, one lies outside the grid, or a limit is not what it may be.
    InstrumentError
        If a pixel lies outside the field, or too many points failed.
    """
    if not len(pixels):
        raise ConfigError("no pixel to measure")
    limits = Limits(
        dwell_s=dwell_s,
        timeout_s=timeout_s,
        budget=budget if budget is not None else DoseBudget(),
        max_failed_points=max_failed_points,
    )
    try:
        positions = [grid.position(int(pixel)) for pixel in pixels]
    except IndexError as error:
        raise ConfigError(str(error)) from None
    point = ScanPoint(grid)
    points = Points(beam, eds, limits, EventKeys(), ledger if ledger is not None else Ledger())
    xs, ys = zip(*positions, strict=True)
    (y0, y1), (x0, x1) = grid.extents_um
    start = {
        "plan_name": plan_name, "plan_type": "generator", "detectors": [eds.name], "motors": [beam.name],
        "hints": {"dimensions": [([f"{beam.name}_{axis}"], "primary") for axis in "yx"]},
        **(md or {}),
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
            baseline=baseline,
            suspenders=suspenders,
        )
    )
