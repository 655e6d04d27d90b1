"""Where the usable channels begin: above strobe peak and low-level discriminator, both found in the counts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..axis import EnergyAxis

__all__ = ["discriminator_end", "strobe_end"]

STROBE_KEV = 0.06
MOST_KEV = 0.6
"""A discriminator lies lower; over it, empty channels say something of the sample."""
EXPECTED = 12.0
"""Counts that a gap must lack, at the level of the first channels above it, to be a discriminator's."""
ABOVE = 8
"""Channels above the gap whose mean count is that level."""


def strobe_end(counts: NDArray[Any], axis: EnergyAxis) -> float:
    """Energy in keV at which the strobe peak about 0 keV has ended; 0 where there is none."""
    energies = axis.energies()
    peak = np.abs(energies) < STROBE_KEV
    valley = (energies >= STROBE_KEV) & (energies < 0.2)
    if not (peak.any() and valley.any()) or counts[peak].max() < 5.0 * max(
        float(np.median(counts[valley])), 1.0
    ):
        return 0.0
    over = energies[valley][counts[valley] > 0.02 * counts[peak].max()]
    return min(float(over.max()) + 2.0 * axis.width_kev, 0.15) if len(over) else STROBE_KEV


def discriminator_end(counts: NDArray[Any], axis: EnergyAxis) -> float:
    """Energy in keV under which a low-level discriminator leaves the channels empty; 0 where none is seen.

    Parameters
    ----------
    counts : (n_channels,) array
        Sum of all spectra that there are.
    axis : EnergyAxis
    """
    energies = axis.energies()
    above_strobe = np.flatnonzero((energies > STROBE_KEV) & (energies < MOST_KEV))
    live = above_strobe[np.asarray(counts)[above_strobe] > 0]
    if not len(live):
        return 0.0
    first = int(live[0])
    level = float(np.mean(counts[first : first + ABOVE]))
    gap = first - int(above_strobe[0])
    if gap * level < EXPECTED:
        return 0.0
    return float(energies[first]) + axis.width_kev  # the first live channel is live in part only
