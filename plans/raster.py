"""Maps without an agent: every pixel of a grid, or a list of them, in order."""

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from bluesky.preprocessors import finalize_wrapper
from bluesky.utils import Msg

from slads_bluesky.errors import ConfigError
from slads_bluesky.grid import ScanGrid
from slads_bluesky.protocols import Suggestion

from .adaptive import versions
from .ledger import Ledger
from .readables import ScanPoint
from .stubs import BeamLike, DetectorLike, leave, measure, record

__all__ = ["list_map", "raster_map"]


def raster_map(beam: BeamLike, eds: DetectorLike, grid: ScanGrid, **more: Any) -> Generator[Msg, Any, None]:
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
    yield from list_map(beam, eds, grid, wanted, plan_name="raster_map", **more)


def list_map(
    beam: BeamLike,
    eds: DetectorLike,
    grid: ScanGrid,
    pixels: Sequence[int],
    *,
    baseline: Sequence[Any] = (),
    dwell_s: float | None = 10.0,
    timeout_s: float | None = None,
    ledger: Ledger | None = None,
    plan_name: str = "list_map",
    md: Mapping[str, Any] | None = None,
) -> Generator[Msg, Any, None]:
    """Measure given pixels of a grid in the order given: one run with the events of `adaptive_map`.

    Parameters
    ----------
    beam, eds : BeamLike, DetectorLike
    grid : ScanGrid
    pixels : sequence of int
        Flat indices.
    baseline, dwell_s, timeout_s, ledger, md
        As in `adaptive_map`.
    plan_name : str
        For the start document.

    Raises
    ------
    ConfigError
        If there is no pixel, one lies outside the grid, or the dwell is not positive.
    """
    if not len(pixels):
        raise ConfigError("no pixel to measure")
    if dwell_s is not None and not dwell_s > 0:
        raise ConfigError(f"dwell must be positive, not {dwell_s} s")
    try:
        positions = [grid.position(int(pixel)) for pixel in pixels]
    except IndexError as error:
        raise ConfigError(str(error)) from None
    timeout = timeout_s if timeout_s is not None else 30.0 + 3.0 * (dwell_s or 10.0)
    times = ledger if ledger is not None else Ledger()
    point = ScanPoint(grid)
    devices = [beam, eds, *baseline]
    (y0, y1), (x0, x1) = grid.extents_um
    start = {
        "plan_name": plan_name, "plan_type": "generator", "detectors": [eds.name], "motors": [beam.name],
        "hints": {"dimensions": [([f"{beam.name}_{axis}"], "primary") for axis in "yx"]},
        **(md or {}),
        "plan_args": {"beam": beam.name, "eds": eds.name, "dwell_s": dwell_s, "n_pixels": len(pixels)},
        "shape": [int(n) for n in grid.shape], "extents": [[y0, y1], [x0, x1]], "grid": grid.to_json(),
        "num_points": len(pixels), "versions": versions(),
    }  # fmt: skip

    def scan() -> Generator[Msg, Any, None]:
        staged = None
        for device in devices:
            staged = yield Msg("stage", device)
        if staged is not None and hasattr(beam, "check_value"):
            for position in (min(positions), max(positions)):
                beam.check_value(position)
        if dwell_s is not None:
            yield Msg("configure", eds, {"live_time": dwell_s, "real_time": 0.0, "counts": 0})
        yield Msg("open_run", None, **start)
        if baseline:
            yield from record("baseline", baseline)
        for pixel in pixels:
            yield Msg("checkpoint")
            yield from measure(
                beam, eds, point.choose(Suggestion(int(pixel), float("nan"))), [point], timeout=timeout,
                ledger=times,
            )  # fmt: skip
        yield Msg("checkpoint")
        if baseline:
            yield from record("baseline", baseline)
        yield Msg("close_run", None, exit_status="success", reason="every pixel is measured")

    yield from finalize_wrapper(scan(), lambda: leave(beam, devices))
