"""The paper's four-panel figure (its Figs. 5-8): measured locations, reconstruction, truth, distortion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from ..errors import DataError
from ..files import atomic_write
from .colours import PHASE_COLOURS

__all__ = ["PHASE_COLOURS", "four_panels"]


def four_panels(
    path: Path,
    measured: NDArray[np.int16],
    reconstruction: NDArray[np.uint8],
    truth: NDArray[np.uint8] | None,
    phases: tuple[str, ...],
    title: str = "",
) -> None:
    """Write the four panels of a map as one picture.

    Parameters
    ----------
    path : Path
        A file of a type that matplotlib writes: .png, .pdf, .svg.
    measured : (rows, columns) int16 array
        Measured labels, 0 without a vote, -1 where unmeasured.
    reconstruction : (rows, columns) uint8 array
        Labels 1 … L.
    truth : (rows, columns) uint8 array or None
        Labels 1 … L; without it the two last panels are left out.
    phases : tuple of str
        Names of the phases, for the legend.
    title : str
        Above the panels.

    Raises
    ------
    DataError
        If the maps differ in shape.
    """
    maps: dict[str, NDArray[Any] | None] = {
        "measured": measured,
        "reconstruction": reconstruction,
        "truth": truth,
    }
    shapes = {name: array.shape for name, array in maps.items() if array is not None}
    if len(set(shapes.values())) != 1:
        raise DataError(f"maps of one figure must be of one shape, not {shapes}")
    colours = ListedColormap([PHASE_COLOURS[i % len(PHASE_COLOURS)] for i in range(len(phases))])
    style: dict[str, Any] = {
        "cmap": colours,
        "vmin": 0.5,
        "vmax": len(phases) + 0.5,
        "interpolation": "nearest",
    }
    seen = measured >= 0
    panels = [
        (f"Measured: {seen.mean():.1%}", seen, {"cmap": "gray", "vmin": 0, "vmax": 1}),
        ("Reconstruction", reconstruction, style),
    ]
    if truth is not None:
        wrong = reconstruction != truth
        panels += [
            ("Truth", truth, style),
            (f"Distortion: {wrong.mean():.4f}", wrong, {"cmap": "gray", "vmin": 0, "vmax": 1}),
        ]

    figure = Figure(figsize=(3.4 * len(panels), 4.1), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, image, how) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        axes.imshow(image, **{"interpolation": "nearest", **how})
        axes.set_title(name)
        axes.set_xticks([])
        axes.set_yticks([])
    handles = [Patch(facecolor=colours(i), label=phase) for i, phase in enumerate(phases)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(phases), frameon=False)
    if title:
        figure.suptitle(title)
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=110)
