"""The maps of a run as TIFF images: phases, measured pixels, probability, with the size of a pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from ..analysis.run_data import RunData
from ..files import atomic_write

__all__ = ["write_tiff"]


def write_tiff(data: RunData, path: Path) -> list[Path]:
    """Write ``NAME.tif``, the phase of each pixel, ``NAME.measured.tif`` and ``NAME.probability.tif``.

    Phases are uint8, 1 … L as in the legend of the description, of the last recorded map; without one, of the
    measured pixels, 0 elsewhere. Measured pixels are 1, others 0. Probabilities are float32, NaN where unmeasured.

    Parameters
    ----------
    data : RunData
    path : Path
    """
    measured = data.measured
    reconstruction = data.reconstruction
    probability = np.full(data.grid.shape, np.nan, np.float32)
    probability.ravel()[data.pixels] = data.probabilities
    legend = ", ".join(f"{label} {phase}" for label, phase in enumerate(data.phases, start=1))
    phases = reconstruction if reconstruction is not None else np.maximum(measured, 0).astype(np.uint8)
    return [
        _write(data, path, phases, f"phases of run {data.uid}: {legend}"),
        _write(
            data, path.with_suffix(f".measured{path.suffix}"), (measured >= 0).astype(np.uint8), "measured"
        ),
        _write(data, path.with_suffix(f".probability{path.suffix}"), probability, "probability of the phase"),
    ]


def _write(data: RunData, path: Path, image: Any, title: str) -> Path:
    dy, dx = data.grid.step_um
    with atomic_write(path) as partial:
        tifffile.imwrite(
            partial,
            image,
            resolution=(1e4 / dx, 1e4 / dy),
            resolutionunit="CENTIMETER",
            description=title.encode("ascii", "replace").decode(),
        )
    return path
