"""What a file of spectra holds, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ..axis import EnergyAxis
from ..counts import MAX_COUNTS

__all__ = ["MeasuredSpectra", "checked_counts"]


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
    elements : tuple of str
        Symbols that the file's header names; never guessed from a title.
    resolution_ev : float or None
        FWHM at Mn Kα.
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
    elements: tuple[str, ...] = ()
    resolution_ev: float | None = None


def checked_counts(path: Path, field: str, counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the counts of a file; DataError naming file and field if they cannot be counts."""
    if not np.isfinite(counts).all():
        raise DataError(f"{path}: field {field} holds counts that are not finite")
    if counts.min() < 0:
        raise DataError(f"{path}: field {field} holds negative counts ({counts.min():g})")
    if counts.max() > MAX_COUNTS:
        raise DataError(
            f"{path}: field {field} holds {counts.max():g} counts in a channel, more than {MAX_COUNTS}"
        )
    return counts
