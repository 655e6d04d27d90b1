"""The pictures of a report: maps, spectra of the phases, acquisition progress, dose and time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from ..analysis.areas import phase_sums
from ..analysis.run_data import RunData
from .about import acquisition, elements_of
from .figures import PHASE_COLOURS
from .lines import line_labels

__all__ = ["draw_maps", "draw_progress", "draw_spectra", "figure_of"]

Draw = Callable[[Any], None]


def figure_of(draw: Callable[..., None], *arguments: Any, size: tuple[float, float]) -> Figure:
    """Return a figure of its own on which `draw(subfigure, *arguments)` has drawn."""
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure, *arguments)
    return figure


def draw_maps(figure: Any, data: RunData, truth: NDArray[np.uint8] | None) -> None:
    """Draw the measured pixels, the phase map, its probability, and image, truth and distortion where known.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    data : RunData
    truth : (rows, columns) uint8 array or None
    """
    (y0, y1), (x0, x1) = data.grid.extents_um
    dy, dx = (step / 2 for step in data.grid.step_um)
    place = {"extent": (x0 - dx, x1 + dx, y1 + dy, y0 - dy), "interpolation": "nearest"}
    n = max(len(data.phases), 1)
    colours = ListedColormap([PHASE_COLOURS[i % len(PHASE_COLOURS)] for i in range(n)])
    phases = {"cmap": colours, "vmin": 0.5, "vmax": n + 0.5, **place}
    grey = {"cmap": "gray", "vmin": 0, "vmax": 1, **place}
    seen = data.measured >= 0
    panels: list[tuple[str, Any, dict[str, Any]]] = [(f"Measured: {seen.mean():.2%}", seen, grey)]
    reconstruction = data.reconstruction
    if reconstruction is not None:
        panels.append(("Reconstruction", reconstruction, phases))
    boundaries = data.boundary_maps
    if boundaries:
        panels.append(("Sharp map, deconvolved", boundaries["sharp"], phases))
        panels.append(
            (
                "Probability that it is wrong",
                boundaries["sharp_uncertainty"],
                {**grey, "cmap": "viridis", "vmax": 0.5},
            )
        )
    sure = data.maps[-1].get("probability") if data.maps else None
    title = "Probability of the phase"
    if sure is None:
        title = "Probability, where measured"
        sure = np.full(data.grid.shape, np.nan)
        sure.ravel()[data.pixels] = data.probabilities
    panels.append((title, sure, {**grey, "cmap": "viridis"}))
    if data.image is not None:
        low, high = (float(v) for v in np.percentile(data.image, [1, 99]))
        panels.append((image_title(data), data.image, {**grey, "vmin": low, "vmax": max(high, low + 1e-9)}))
    if truth is not None and reconstruction is not None:
        wrong = reconstruction != truth
        panels += [("Truth", truth, phases), (f"Distortion: {wrong.mean():.4f}", wrong, grey)]
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for here, (name, image, how) in zip(axes, panels, strict=False):
        picture = here.imshow(image, **how)
        here.set_title(name)
        here.set(xlabel="x, µm", ylabel="y, µm")
        if name.startswith("Probability"):
            figure.colorbar(picture, ax=here, shrink=0.8)
    for here in axes[len(panels) :]:
        here.set_axis_off()
    handles = [Patch(facecolor=colours(i), label=phase) for i, phase in enumerate(data.phases)]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)


def image_title(data: RunData) -> str:
    """Say whether the image was used, and how far it was displaced, by the last recorded map."""
    displacement = data.image_displacement
    if displacement is None:
        return "Image, not used"
    y, x = displacement
    return "Image" if not (x or y) else f"Image, displaced by ({x:g}, {y:g}) pixels"


def draw_spectra(figure: Any, data: RunData) -> None:
    """Draw the mean spectrum of each phase, counts per second of live time, with the lines of its elements."""
    sums = phase_sums(data)
    axes = np.atleast_1d(figure.subplots(max(len(sums), 1), 1, sharex=True))
    if not sums:
        axes[0].text(0.5, 0.5, "no spectra", ha="center")
        return
    beam = acquisition(data).get("beam_energy", np.inf)
    energies = data.energies_kev
    if np.isnan(data.energy_width_kev):
        energies = (
            np.arange(data.spectra.shape[1], dtype=np.float64) if data.spectra is not None else energies
        )
    top = min(float(energies[-1]), beam)
    labels = line_labels(elements_of(data), max(float(energies[0]), 0.1), top)
    for here, (label, counts) in zip(axes, sums.items(), strict=False):
        which = data.votes == label
        live = float(np.nansum(data.live_time_s[which]))
        rate = counts / live if live > 0 else counts
        name = data.phases[label - 1] if label <= len(data.phases) else f"phase {label}"
        here.fill_between(
            energies, rate, step="mid", color=PHASE_COLOURS[(label - 1) % len(PHASE_COLOURS)], lw=0
        )
        here.set(yscale="symlog", ylabel="counts/s", ylim=(0, None), xlim=(0, top))
        here.set_title(
            f"{name}: {int(which.sum())} spectra, {live:.4g} s live", loc="left", fontsize="medium"
        )
        peak = here.get_ylim()[1]
        for line in labels:
            here.axvline(line.energy_kev, color="0.6", lw=0.5, zorder=0)
            here.text(line.energy_kev, peak, line.text, rotation=90, va="top", ha="right", fontsize="x-small")
    axes[-1].set_xlabel("energy, keV" if not np.isnan(data.energy_width_kev) else "channel")


def draw_progress(figure: Any, data: RunData) -> None:
    """Draw the estimated distortion and the predicted gain over the pixels, and dose and time as they went."""
    left, middle, right = figure.subplots(1, 3)
    number = np.arange(1, data.n_measured + 1)
    share = number / data.grid.n_pixels * 100
    points = [
        (100 * float(one["fraction"]), float(one["distortion_estimate"]))
        for one in data.maps
        if "fraction" in one and "distortion_estimate" in one
    ]
    if points:
        left.plot(*zip(*points, strict=True), marker=".", color=PHASE_COLOURS[3])
    left.set(xlabel="pixels measured, %", ylabel="estimated distortion", title="Stop curve")
    middle.plot(share, data.erd, ".", ms=2, color=PHASE_COLOURS[2])
    middle.set(xlabel="pixels measured, %", ylabel="pixels", title="Predicted reduction in distortion")
    right.plot(share, np.nancumsum(data.dose_nc), color=PHASE_COLOURS[0], label="dose, nC")
    right.plot(share, np.nancumsum(data.live_time_s), color=PHASE_COLOURS[1], label="live time, s")
    right.plot(share, data.times - data.starts[0]["time"], color=PHASE_COLOURS[4], label="wall clock, s")
    right.set(xlabel="pixels measured, %", title="Dose and time")
    right.legend(frameon=False)
