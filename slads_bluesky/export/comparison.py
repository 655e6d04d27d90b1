"""A picture of what another sampler or classifier would have made of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..analysis.run_data import RunData

__all__ = ["draw_comparison"]


def draw_comparison(
    path: Path,
    data: RunData,
    numbers: NDArray[np.int64],
    curves: Mapping[str, NDArray[np.float64]],
    labels: Mapping[str, Any] | None,
) -> None:
    """Write the comparison as one picture.

    Parameters
    ----------
    path : Path
        A file of a type that matplotlib writes.
    data : RunData
        The recorded map.
    numbers : (K,) int array
        Numbers of pixels at which the curves stand.
    curves : mapping of str to (K,) float array
        Total distortion after these, by name.
    labels : mapping, optional
        ``labels`` and ``counts``: how the recorded labels and the other's fall together.
    """
    panels = int(bool(curves)) + int(labels is not None)
    figure = Figure(figsize=(5 * panels, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(np.atleast_1d(figure.subplots(1, panels)))
    if curves:
        here = axes.pop(0)
        for name, curve in curves.items():
            here.plot(numbers / data.grid.n_pixels * 100, curve, marker=".", label=name)
        here.set(xlabel="pixels measured, %", ylabel="total distortion", yscale="symlog")
        here.set_yscale("symlog", linthresh=1e-3)
        here.set_ylim(bottom=0)
        here.legend(frameon=False)
    if labels is not None:
        here = axes.pop(0)
        counts = np.array(labels["counts"])
        here.imshow(np.log1p(counts), cmap="Blues")
        for (i, j), count in np.ndenumerate(counts):
            here.text(j, i, str(count), ha="center", va="center")
        names = list(labels["labels"])
        here.set_xticks(range(len(names)), names, rotation=30)
        here.set_yticks(range(len(names)), names)
        here.set(xlabel="other", ylabel="recorded")
    figure.savefig(path, dpi=120)
