"""Shapes of what else a spectrum could be: every element on its own, and a flat spectrum.

They stand against the phases in the Bayes comparison of `classifier`, so that a few counts of something foreign are
not taken for the least unlikely phase, and they name the lines of an unknown spectrum.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import xraylib
from numpy.typing import NDArray

from .axis import EnergyAxis
from .composition import Composition
from .detector import Detector
from .lines import element_lines
from .physics import expected_counts

__all__ = ["LIBRARY_Z", "element_shapes", "name_lines"]

LIBRARY_Z = tuple(z for z in range(4, 93) if z not in (10, 18, 36, 43, 54, 61, 84, 85, 86, 87, 88, 89, 91))
"""Elements that a specimen may hold as a solid; no noble gases, none without a long-lived isotope."""


def element_shapes(
    axis: EnergyAxis, starts: NDArray[np.int32], beam_kev: float, takeoff_deg: float, detector: Detector
) -> NDArray[np.float64]:
    """Expected shape of each element of `LIBRARY_Z` in bins, (n_elements, n_bins); rows sum to 1."""
    key = (axis.offset_kev, axis.width_kev, axis.n_channels)
    return _element_shapes(key, starts.tobytes(), beam_kev, takeoff_deg, detector)


@lru_cache(maxsize=4)
def _element_shapes(
    key: tuple[float, float, int], starts: bytes, beam_kev: float, takeoff_deg: float, detector: Detector
) -> NDArray[np.float64]:
    axis = EnergyAxis(*key)
    first = np.frombuffer(starts, dtype=np.int32)[:-1]
    rows = []
    for z in LIBRARY_Z:
        counts = expected_counts(
            Composition((z,), (1.0,)), axis, beam_kev=beam_kev, takeoff_deg=takeoff_deg, detector=detector
        )
        rows.append(np.add.reduceat(counts, first) / counts.sum())
    out = np.array(rows)
    out.flags.writeable = False
    return out


def name_lines(
    shape: NDArray[np.float64],
    energies_kev: NDArray[np.float64],
    beam_kev: float,
    width_kev: float,
    most: int = 3,
) -> list[tuple[str, float]]:
    """Elements whose strongest lines lie at the strongest peaks of a spectrum.

    Parameters
    ----------
    shape : (n,) float64
        Counts, or expected parts, per unit of energy.
    energies_kev : (n,) float64
    beam_kev : float
        Lines that it cannot excite are not named.
    width_kev : float
        How far a peak may lie from its line.
    most : int
        At most so many peaks.

    Returns
    -------
    list of (str, float)
        Line, such as ``"Fe KL3"``, and energy of the peak in keV, the strongest peak first.
    """
    smooth = np.convolve(shape, np.ones(3) / 3.0, mode="same")
    around = np.convolve(shape, np.ones(31) / 31.0, mode="same")
    inner = smooth[1:-1]
    peaks = 1 + np.flatnonzero((inner > smooth[:-2]) & (inner >= smooth[2:]) & (inner > 1.5 * around[1:-1]))
    peaks = peaks[np.argsort(-(smooth - around)[peaks], kind="stable")][:most]
    named = []
    for peak in peaks:
        energy = float(energies_kev[peak])
        best, best_score = "", 0.0
        for z in LIBRARY_Z:
            element = element_lines(z)
            near = np.abs(element.energy_kev - energy) < width_kev
            near &= element.edge_kev[element.shell] < beam_kev
            if not near.any():
                continue
            # Strong lines of a well-excited shell first: main K before main L before M, satellites last.
            excited = beam_kev / element.edge_kev[element.shell] > 1.2
            closeness = 1.0 - np.abs(element.energy_kev - energy) / width_kev
            score = (
                element.rate * closeness * np.choose(np.minimum(element.shell, 4), [3, 1, 2, 2, 1]) * excited
            )
            score = np.where(near, score, 0.0)
            k = int(score.argmax())
            if score[k] > best_score:
                best = f"{xraylib.AtomicNumberToSymbol(z)} {element.names[k]}"
                best_score = float(score[k])
        named.append((best or "no line", energy))
    return named
