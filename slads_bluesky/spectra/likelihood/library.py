"""Shapes of what else a spectrum could be: every element on its own, and a flat spectrum.

They stand against the phases in the Bayes comparison of `classifier`, so that a few counts of something foreign are
not taken for the least unlikely phase, and they name the lines of an unknown spectrum.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import xraylib
from numpy.typing import NDArray

from ..axis import EnergyAxis
from ..physics.composition import Composition
from ..physics.detector import Detector
from ..physics.lines import element_lines
from ..physics.spectrum import expected_counts
from .verdicts import abundances

__all__ = ["LIBRARY_Z", "element_shapes", "name_lines"]

LIBRARY_Z = tuple(z for z in range(4, 93) if z not in (10, 18, 36, 43, 54, 61, 84, 85, 86, 87, 88, 89, 91))
"""Elements that a specimen may hold as a solid; no noble gases, none without a long-lived isotope."""


def element_shapes(
    axis: EnergyAxis,
    starts: NDArray[np.int32],
    beam_energy_kev: float,
    takeoff_deg: float,
    detector: Detector,
) -> NDArray[np.float64]:
    """Expected shape of each element of `LIBRARY_Z` in bins, (n_elements, n_bins); rows sum to 1."""
    key = (axis.offset_kev, axis.width_kev, axis.n_channels)
    return _element_shapes(key, starts.tobytes(), beam_energy_kev, takeoff_deg, detector)


@lru_cache(maxsize=4)
def _element_shapes(
    key: tuple[float, float, int],
    starts: bytes,
    beam_energy_kev: float,
    takeoff_deg: float,
    detector: Detector,
) -> NDArray[np.float64]:
    axis = EnergyAxis(*key)
    edges = np.frombuffer(starts, dtype=np.int32)
    rows = []
    for z in LIBRARY_Z:
        counts = expected_counts(
            Composition((z,), (1.0,)),
            axis,
            beam_energy_kev=beam_energy_kev,
            takeoff_deg=takeoff_deg,
            detector=detector,
        )
        live = counts[edges[0] : edges[-1]]
        rows.append(np.add.reduceat(live, edges[:-1] - edges[0]) / live.sum())
    out = np.array(rows)
    out.flags.writeable = False
    return out


def name_lines(
    bins: NDArray[np.float64],
    energies_kev: NDArray[np.float64],
    widths: NDArray[np.float64],
    elements: NDArray[np.float64],
    beam_energy_kev: float,
    width_kev: float,
    most: int = 3,
) -> list[tuple[str, float]]:
    """Name the strongest peaks of a spectrum by lines of the elements that, together, explain it.

    First the elements' parts by maximum likelihood over the whole spectrum (their single lines overlap, their
    spectra do not), then, for each peak, the strongest line near it of an element with a part of 3 % or more.

    Parameters
    ----------
    bins : (n_bins,) float64
        Counts.
    energies_kev, widths : (n_bins,) float64
        Middle of each bin in keV, and its width in channels.
    elements : (n_elements, n_bins) float64
        From `element_shapes`.
    beam_energy_kev : float
    width_kev : float
        How far a peak may lie from its line.
    most : int
        At most so many peaks.

    Returns
    -------
    list of (str, float)
        Line, such as ``"Fe KL3"``, or ``"no line"``, and energy of the peak in keV; the strongest peak first.
    """
    shapes = 0.999 * elements + 0.001 * widths / widths.sum()
    part = abundances(bins, np.ascontiguousarray(shapes), 300)
    density = bins / widths
    smooth = np.convolve(density, np.ones(3) / 3.0, mode="same")
    around = np.convolve(density, np.ones(31) / 31.0, mode="same")
    inner = smooth[1:-1]
    peaks = 1 + np.flatnonzero((inner > smooth[:-2]) & (inner >= smooth[2:]) & (inner > 1.5 * around[1:-1]))
    peaks = peaks[np.argsort(-((smooth - around) * widths)[peaks], kind="stable")][:most]
    named = []
    for peak in peaks:
        energy = float(energies_kev[peak])
        best, strength = "no line", 0.0
        for index in np.flatnonzero(part >= 0.03):
            element = element_lines(LIBRARY_Z[index])
            near = np.abs(element.energy_kev - energy) < width_kev
            near &= element.edge_kev[element.shell] < beam_energy_kev
            if not near.any():
                continue
            there = float(part[index] * shapes[index, peak])
            if there > strength:
                strength = there
                line = int(np.where(near, element.rate * element.yields[element.shell], 0.0).argmax())
                best = f"{xraylib.AtomicNumberToSymbol(element.z)} {element.names[line]}"
        named.append((best, energy))
    return named
