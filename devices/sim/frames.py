"""Backscatter frames of the simulated specimen: contrast by atomic number, noise, shading, charging, displacement.

The signal of a pixel is the backscatter coefficient of what lies there (`physics.backscatter`), its noise that of the
electrons which the detector counts. A frame may lie beside the map that is measured after it: the stage drifts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ...errors import ConfigError
from ...grid import ScanGrid
from ...protocols import Specimen

__all__ = ["FrameFaults", "backscatter_frame", "backscatter_map"]

ELECTRONS_PER_NC = 6.2415e9
EFFICIENCY = 0.1
"""Part of the backscattered electrons that the detector counts."""
FULL_SCALE = 65535.0
SPOT_PX = 0.5
"""Standard deviation of the interaction volume's width, pixels of the specimen."""
_LINES = 3.0
"""Lines over which charging keeps its sign."""


@dataclass
class FrameFaults:
    """What is wrong with the frames."""

    noise: float = 1.0
    """Times the noise of counting."""
    shading: float = 0.0
    """Difference in gain between two sides of the field."""
    charging: float = 0.0
    """Standard deviation of the gain from line to line."""
    offset_x_um: float = 0.0
    offset_y_um: float = 0.0
    """Where the frame shows what the map has at a pixel: so far from it, µm."""


def backscatter_map(specimen: Specimen) -> NDArray[np.float64]:
    """Backscatter coefficient of each pixel of a specimen, (rows, columns).

    A specimen says so by ``backscatter``, a number for each of its phases, and its ``truth``. One that does not
    has levels 0.2, 0.25, … in the order of its labels.

    Raises
    ------
    ConfigError
        If the specimen does not say which phase lies where.
    """
    truth = getattr(specimen, "truth", None)
    if truth is None:
        raise ConfigError(f"{specimen.name}: has no phase map to make an image of")
    levels = getattr(specimen, "backscatter", None)
    if levels is None:
        levels = 0.2 + 0.05 * np.arange(int(truth.max()))
    table = np.concatenate([[0.0], np.asarray(levels, np.float64)])
    return np.asarray(table[truth], np.float64)


def backscatter_frame(
    specimen: Specimen,
    field: ScanGrid,
    wanted: ScanGrid,
    *,
    current_na: float,
    dwell_s: float,
    faults: FrameFaults,
    number: int = 0,
) -> NDArray[np.float32]:
    """Scan a frame.

    Parameters
    ----------
    specimen : Specimen
    field : ScanGrid
        Where its pixels lie.
    wanted : ScanGrid
        Pixels of the frame.
    current_na, dwell_s : float
        Beam current, nA, and time at each pixel, s.
    faults : FrameFaults
    number : int
        Frames before this one; each has noise of its own.

    Returns
    -------
    (rows, columns) float32 array
        Grey levels, 0 … 65535 for coefficients 0 … 1; beyond the specimen's edge its edge.
    """
    rng = np.random.default_rng([getattr(specimen, "seed", 0), 0xB5E, number])
    coefficient = ndimage.gaussian_filter(backscatter_map(specimen), SPOT_PX, mode="nearest")
    (y0, _), (x0, _) = field.extents_um
    (fy, _), (fx, _) = wanted.extents_um
    rows = (fy - y0 - faults.offset_y_um + wanted.step_um[0] * np.arange(wanted.shape[0])) / field.step_um[0]
    columns = (fx - x0 - faults.offset_x_um + wanted.step_um[1] * np.arange(wanted.shape[1])) / field.step_um[
        1
    ]
    at = np.meshgrid(rows, columns, indexing="ij")
    signal = ndimage.map_coordinates(coefficient, at, order=1, mode="nearest")
    across = (
        np.linspace(-0.5, 0.5, wanted.shape[1])[None, :]
        + np.linspace(-0.5, 0.5, wanted.shape[0])[:, None] ** 2
    )
    lines = ndimage.gaussian_filter1d(rng.normal(size=wanted.shape[0]), _LINES, mode="wrap")
    lines *= faults.charging / max(float(lines.std()), 1e-9)
    signal = signal * (1.0 + faults.shading * across + lines[:, None])
    electrons = max(current_na * dwell_s * ELECTRONS_PER_NC * EFFICIENCY, 1e-9)
    noise = faults.noise * np.sqrt(np.maximum(signal, 1e-6) / electrons)
    grey = signal + noise * rng.normal(size=signal.shape)
    return np.asarray(np.clip(np.round(grey * FULL_SCALE), 0, FULL_SCALE), np.float32)
