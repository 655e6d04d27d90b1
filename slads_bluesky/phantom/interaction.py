"""How wide the volume is that X-rays come from, and what it makes of a sharp phase map: abundances.

The range within which a line of critical energy E_c is excited by a beam of energy E_0 in a solid of density ρ is
(Anderson and Hasler, 4th International Congress on X-ray Optics and Microanalysis, 1966, 310-327)

    R = 0.064 (E_0^1.68 − E_c^1.68) / ρ,   R in µm, energies in keV, ρ in g/cm³.

The volume is taken as an evenly filled sphere of that diameter. Its position along one axis has the standard
deviation R / (2 √5), and a Gaussian of it stands for the volume: 90 % of it lie within a circle of diameter 0.96 R.
One width stands for a whole specimen, at boundaries the mean of its phases.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ..errors import ConfigError
from ..spectra.physics.composition import Composition
from ..spectra.physics.lines import element_lines

__all__ = ["lateral_sigma_um", "mixed_abundances", "specimen_sigma_um", "xray_range_um"]

LEAST_OVERVOLTAGE = 1.5
"""Beam energy over a shell's critical energy from which on its lines are used to analyse a specimen."""
LEAST_LINE_KEV = 1.0
"""Softer lines come from the whole volume that electrons reach, and stand for an element only if it has no other."""


def xray_range_um(beam_energy_kev: float, critical_energy_kev: float, density_g_cm3: float) -> float:
    """X-ray generation range by Anderson and Hasler's equation, µm; 0 where the line is not excited.

    Parameters
    ----------
    beam_energy_kev, critical_energy_kev : float
        Of the beam, and of the shell whose vacancy the line fills, keV.
    density_g_cm3 : float
        Of the specimen, g/cm³.

    Raises
    ------
    ConfigError
        If an energy is negative or the density not positive.

    Examples
    --------
    Tin's Lα, excited by 15 keV in tin:

    >>> round(xray_range_um(15.0, 3.93, 7.29), 2)
    0.74
    """
    if not (beam_energy_kev >= 0 and critical_energy_kev >= 0 and density_g_cm3 > 0):
        raise ConfigError(
            f"X-ray range: {beam_energy_kev} and {critical_energy_kev} keV in {density_g_cm3} g/cm³ cannot be"
        )
    return float(0.064 * max(beam_energy_kev**1.68 - critical_energy_kev**1.68, 0.0) / density_g_cm3)


def lateral_sigma_um(range_um: float) -> float:
    """Standard deviation, along one axis, of a sphere of diameter `range_um` that is filled evenly, µm."""
    return range_um / (2.0 * math.sqrt(5.0))


def specimen_sigma_um(
    compositions: Mapping[str, str | Mapping[str, float] | Composition],
    densities_g_cm3: Mapping[str, float],
    beam_energy_kev: float,
) -> float:
    """Lateral standard deviation of the interaction volume, µm: the mean over the phases.

    Parameters
    ----------
    compositions : phase name to composition
    densities_g_cm3 : phase name to density
    beam_energy_kev : float

    Raises
    ------
    ConfigError
        If a phase has no density.
    """
    found = []
    for phase, value in compositions.items():
        if phase not in densities_g_cm3:
            raise ConfigError(f"interaction volume: no density of phase '{phase}'")
        ranges, weights = [], []
        composition = Composition.parse(value)
        for symbol, part in zip(composition.symbols, composition.mass_fraction, strict=True):
            critical = _critical_energy(symbol, beam_energy_kev)
            ranges.append(xray_range_um(beam_energy_kev, critical, densities_g_cm3[phase]))
            weights.append(part)
        found.append(lateral_sigma_um(float(np.average(ranges, weights=weights))))
    return float(np.mean(found))


def _critical_energy(symbol: str, beam_energy_kev: float) -> float:
    """Critical energy of the hardest shell of an element that the beam excites well, keV."""
    import xraylib

    edges = element_lines(int(xraylib.SymbolToAtomicNumber(symbol))).edge_kev
    inner = edges[[0, 3, 8]]  # K, L3, M5: of Kα, Lα, Mα
    well = inner[np.isfinite(inner) & (inner * LEAST_OVERVOLTAGE <= beam_energy_kev)]
    hard = well[well >= LEAST_LINE_KEV]
    if hard.size:
        return float(hard.max())
    return float(well.max()) if well.size else 0.0


def mixed_abundances(labels: NDArray[np.uint8], sigma_px: float, n_labels: int) -> NDArray[np.float32]:
    """Abundances that an interaction volume finds at each pixel of a sharp phase map.

    Parameters
    ----------
    labels : (rows, columns) uint8
        Sharp phase map, 1 … L. Beyond its edge it continues as at the edge.
    sigma_px : float
        Standard deviation of the Gaussian, pixels; 0: each pixel is of its own phase only.
    n_labels : int
        L.

    Returns
    -------
    (L, rows, columns) float32
        Part of each phase in the volume; sums to 1 over the phases.

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.repeat(np.array([[1, 1, 1, 1, 2, 2, 2, 2]], np.uint8), 8, axis=0)
    >>> [round(float(part), 2) for part in mixed_abundances(labels, 1.0, 2)[0, 4]]
    [1.0, 1.0, 0.94, 0.7, 0.3, 0.06, 0.0, 0.0]
    """
    if not (math.isfinite(sigma_px) and sigma_px >= 0):
        raise ConfigError(f"interaction volume: sigma must be 0 or more pixels, not {sigma_px}")
    out = np.empty((n_labels, *labels.shape), np.float32)
    for label in range(1, n_labels + 1):
        own = (labels == label).astype(np.float32)
        out[label - 1] = gaussian_filter(own, sigma_px, mode="nearest") if sigma_px > 0 else own
    return np.asarray(out / out.sum(axis=0), np.float32)
