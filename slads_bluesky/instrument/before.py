"""Before a map: checked against field and dose, forecast from earlier runs, with a preview of its first pixels."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..analysis.cost import Estimate, PastRun
from ..analysis.cost import estimate as predict
from ..analysis.in_words import describe_estimate
from ..errors import ConfigError, RecordError
from ..grid import ScanGrid
from ..record.earlier import earlier_runs
from . import diagnostics
from .diagnostics import CheckResult

if TYPE_CHECKING:
    from .session import Session

__all__ = ["MapForecast", "Preflight", "check_field", "forecast_map", "preflight", "preflight_without"]

EARLIER = 10
"""Earlier runs that a forecast rests on, the latest."""
SHOWN = 4000
"""Pixels of the initial mask that a client gets to draw, about, at most."""
SIDE = 256
"""Rows and columns of the image that a client gets, at most."""


@dataclass(frozen=True, repr=False)
class MapForecast:
    """A map that the instrument can take, and what it will take."""

    grid: ScanGrid
    estimate: Estimate
    runs: tuple[PastRun, ...]
    first_pixels: tuple[int, ...]
    """Flat indices of the initial mask."""
    image: NDArray[np.float32] | None = None
    """(rows, columns): the frame that shall guide the map; None without one, or where it is scanned first."""

    def __repr__(self) -> str:
        rows, columns = self.grid.shape
        (y0, y1), (x0, x1) = self.grid.extents_um
        return "\n".join(
            [
                f"grid       {rows} × {columns} pixels, x {x0:g} … {x1:g} µm, y {y0:g} … {y1:g} µm: inside the field",
                *describe_estimate(self.estimate, self.runs),
                f"first      {len(self.first_pixels)} pixels of the initial mask: .preview('image.png')",
            ]
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a client of the queue server; with what it takes to draw the initial mask."""
        every = len(self.first_pixels) // SHOWN + 1
        return {
            "grid": self.grid.to_json(), **self.estimate.to_json(), "n_first": len(self.first_pixels),
            "first_pixels": [int(pixel) for pixel in self.first_pixels[::every]],
            "lines": describe_estimate(self.estimate, self.runs),
            "image_png": "" if self.image is None else _png(self.image),
        }  # fmt: skip

    def preview(self, image: str | Path | None = None, save: str | Path | None = None) -> None:
        """Draw the pixels of the initial mask, over an image of the region if there is one.

        Parameters
        ----------
        image : path, optional
            .npy, .png or .tif that shows the region of the grid, and no more; by default the image that was given
            to the estimate.
        save : path, optional
            Picture to write; by default a window opens.

        Raises
        ------
        ConfigError
            If there is neither a file to write nor a display.
        DataError
            If the image cannot be read.
        """
        from matplotlib.figure import Figure

        from ..callbacks.live.view import has_display
        from ..images.files import read_image

        shown = self.image if image is None else read_image(image)
        if save is None and not has_display():
            raise ConfigError("there is no display: name a picture, preview(save='mask.png')")
        if save is None:
            import matplotlib.pyplot as plt

            figure: Figure = plt.figure(figsize=(6, 6))
        else:
            figure = Figure(figsize=(6, 6))
        (y0, y1), (x0, x1) = self.grid.extents_um
        dy, dx = self.grid.step_um
        axes = figure.subplots()
        if shown is not None:
            axes.imshow(shown, cmap="gray", extent=(x0 - dx / 2, x1 + dx / 2, y1 + dy / 2, y0 - dy / 2))
        places = [self.grid.position(pixel) for pixel in self.first_pixels]
        axes.plot([x for x, _ in places], [y for _, y in places], "o", color="#e0218a", markersize=3)
        axes.set(
            xlim=(x0 - dx / 2, x1 + dx / 2), ylim=(y1 + dy / 2, y0 - dy / 2), xlabel="x, µm", ylabel="y, µm"
        )
        axes.set_aspect("equal")
        axes.set_title(f"initial mask: {len(places)} of {self.grid.n_pixels} pixels")
        if save is None:
            figure.show()
        else:
            figure.savefig(save)


class Preflight(list[CheckResult]):
    """Results of the pre-flight check; printed a line each."""

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return diagnostics.all_passed(self)

    def __repr__(self) -> str:
        lines = []
        for result in self:
            lines.append(f"{'ok' if result.passed else 'NOT OK':<7}{result.name}: {result.message}")
            if result.hint:
                lines.append(f"       → {result.hint}")
        failed = sum(not result.passed for result in self)
        return "\n".join(
            [*lines, f"{failed} of {len(self)} checks failed" if failed else "all checks passed"]
        )


def preflight_without(recorder: Any, reasons: Sequence[str]) -> Preflight:
    """Check versions and record of a session of which parts are missing; each missing part is a failed check.

    Parameters
    ----------
    recorder : Recorder, optional
        None without a record.
    reasons : sequence of str
        ``part: what is wrong``, a line each.
    """
    found = Preflight(diagnostics.check_versions())
    if recorder is not None:
        found += diagnostics.check_record(recorder.directory)
    for reason in reasons:
        for line in filter(None, map(str.strip, reason.splitlines())):
            part, _, text = line.partition(": ")
            found.append(CheckResult(part if text else "session", False, text or line))
    return found


def preflight(session: Session, timeout_s: float = 5.0) -> Preflight:
    """Check versions, record, publishers and, where they have PVs, the devices of a session.

    Parameters
    ----------
    session : Session
    timeout_s : float
        How long PVs and proxies may take.
    """
    found = Preflight([*diagnostics.check_versions(), *diagnostics.check_record(session.recorder.directory)])
    if session.settings.catalog.uri:
        found += diagnostics.check_tiled(session.settings.catalog.uri)
    for where in session.settings.publishers:
        if not where.startswith("kafka://"):
            found.append(diagnostics.check_proxy(where, timeout_s))
    beam, eds, sem, classifier = session.beam, session.eds, session.sem, session.models.classifier
    if all(hasattr(device, "walk_signals") for device in (beam, eds, sem)):
        found += diagnostics.check_devices(beam, eds, sem, timeout_s)
        if eds.connected:
            found.append(diagnostics.check_detector(eds, classifier))
            if classifier is not None and beam.connected:
                found += diagnostics.check_settings(beam, eds, classifier)
    return found


def check_field(beam: Any, grid: ScanGrid) -> None:
    """Raise ConfigError, with both sizes, if a grid reaches out of the field of the beam."""
    (y0, y1), (x0, x1) = grid.extents_um
    for corner in ((x0, y0), (x1, y1)):
        try:
            beam.check_value(corner)
        except Exception as error:  # a vendor's beam has errors of its own
            rows, columns = grid.shape
            raise ConfigError(
                f"a grid of {rows} × {columns} pixels of {grid.step_um[0]:g} × {grid.step_um[1]:g} µm does not lie "
                f"in the field: {error}"
            ) from None


def forecast_map(
    session: Session,
    *,
    fraction: float | None = None,
    rows: int | None = None,
    columns: int | None = None,
    step_um: float | None = None,
    centre_x_um: float | None = None,
    centre_y_um: float | None = None,
    dwell_s: float | None = None,
    error: float | None = None,
    budget_nc: float | None = None,
    stop_at: float | None = None,
    confidence: float | None = None,
    smallest_feature: int | None = None,
    minimise: str | None = None,
    image: str = "",
    image_pixel_um: float | None = None,
    phases: str = "auto",
    every_phase_over: float | None = None,
    seed: int | None = None,
    notes: str = "",
    sample: str | None = None,
) -> MapForecast:
    """Check a map before it is taken or queued, and forecast its time and dose; arguments as `map_sample`.

    Parameters
    ----------
    session : Session
        What is not given is as in its ``instrument.yml``.
    sample : str, optional
        Rest the forecast on earlier runs of this sample only.

    Raises
    ------
    ConfigError
        If the grid does not lie in the field, or a pixel or the first pixels would take more than their dose.
    """
    usual = session.grid
    grid = session.make_grid(
        shape=(usual.shape[0] if rows is None else rows, usual.shape[1] if columns is None else columns),
        step_um=step_um,
        centre_um=(
            usual.centre_um[0] if centre_y_um is None else centre_y_um,
            usual.centre_um[1] if centre_x_um is None else centre_x_um,
        ),
    )
    check_field(session.beam, grid)
    # the backscatter detector scans its frame when the map begins: here it is only asked for
    guide = session.map_image(image, shape=grid.shape, step_um=grid.step_um[0], pixel_um=image_pixel_um)
    dose, part = session.settings.dose, session.settings.sampler.fraction if fraction is None else fraction
    dwell = dose.dwell_s if dwell_s is None else dwell_s
    adaptive = bool(dose.error if error is None else error) and not session.discovers(phases)
    current = _current_na(session.beam)
    runs = _earlier(session, sample)
    made = predict(
        runs,
        n_pixels=grid.n_pixels,
        fraction=part,
        dwell_s=None if adaptive and runs else dwell,
        current_na=current,
    )
    if current and not adaptive and dose.pixel_nc is not None and dwell * current > dose.pixel_nc:
        raise ConfigError(
            f"a dwell of {dwell:g} s at {current:g} nA gives a pixel {dwell * current:g} nC, dose.pixel_nc allows "
            f"{dose.pixel_nc:g}"
        )
    limit = dose.run_nc if budget_nc is None else budget_nc
    agent = session.new_agent(
        fraction, shape=grid.shape, step_um=grid.step_um, centre_um=grid.centre_um, seed=seed,
        stop_at=stop_at, confidence=confidence, smallest_feature=smallest_feature, minimise=minimise or None,
        phases=phases, every_phase_over=every_phase_over,
    )  # fmt: skip
    first = tuple(s.pixel for s in agent.suggest(agent.n_wanted or grid.n_pixels) if math.isnan(s.erd))
    if (
        limit is not None
        and made.dose_nc is not None
        and made.dose_nc.value * len(first) > limit * made.n_points
    ):
        raise ConfigError(f"a budget of {limit:g} nC ends within the initial mask of {len(first)} pixels")
    return MapForecast(grid, made, tuple(runs), first, getattr(guide, "frame", None))


def _png(image: NDArray[np.float32]) -> str:
    """Return a grey-level picture of an image as base64 of a PNG, for a browser."""
    from PIL import Image

    every = max(-(-max(image.shape) // SIDE), 1)
    grey = np.asarray(image[::every, ::every], np.float64)
    low, high = np.percentile(grey, (1, 99))
    levels = np.clip(255 * (grey - low) / max(high - low, 1e-12), 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(levels).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode("ascii")


def _earlier(session: Session, sample: str | None) -> list[PastRun]:
    try:
        return earlier_runs(session.recorder.directory, sample=sample, last=EARLIER)
    except RecordError:
        return []


def _current_na(beam: Any) -> float | None:
    """Beam current, nA; None where the beam does not give it."""
    signal = getattr(beam, "current", None)
    if signal is None or not hasattr(signal, "get"):
        return None
    value = float(signal.get())
    return value if value > 0 else None
