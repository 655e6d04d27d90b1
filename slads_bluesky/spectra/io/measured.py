"""What a file of spectra holds, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..axis import EnergyAxis

__all__ = ["MeasuredSpectra"]


@dataclass(frozen=True, eq=False)
class MeasuredSpectra:
    """Spectra from one file.

    Parameters
    ----------
    counts : (M, n_channels) float64
        One row a spectrum; a map has a row a pixel.
    axis : EnergyAxis
    beam_energy_kev, live_time_s, real_time_s, current_na, takeoff_deg : float or None
        None where the file does not say.
    title : str
    path : Path
    """

    counts: NDArray[np.float64]
    axis: EnergyAxis
    beam_energy_kev: float | None
    live_time_s: float | None
    real_time_s: float | None
    current_na: float | None
    takeoff_deg: float | None
    title: str
    path: Path
