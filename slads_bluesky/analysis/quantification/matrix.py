"""Model intensities of chosen line families as a function of the composition, and how sure they are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ...spectra.physics.composition import Composition
from ...spectra.physics.intensities import FamilyIntensity, family_intensities
from .geometry import Conditions

__all__ = ["detected", "model_systematics", "relative_generation", "systematic_of"]

Family = tuple[int, str]
ATTENUATION_SD = ((0.35, 0.25), (0.9, 0.15), (2.0, 0.04), (np.inf, 0.02))
"""Relative standard deviation of mass attenuation for lines up to so many keV."""
SECONDARY_SD = 0.15
"""Relative standard deviation of secondary fluorescence."""
DEPTH_SD = 0.006
"""Of the ratio of two materials' backscattering and stopping power (XPP), for a standard that is another material."""
GENERATION_SD = {"K": 0.03, "L": 0.06, "M": 0.15}
"""Of ionisation cross-section × fluorescence yield, without a standard."""
SOFT_GENERATION_SD = 0.05
"""The same for K lines under 1 keV (C, N, O, F), whose yields are known less well."""
WINDOW_SD = 0.1
"""Relative standard deviation of the thickness of window, contact and dead layer."""


_MEASURED_K = (
    (6, 0.75), (8, 0.78), (9, 0.84), (12, 0.98), (14, 1.0), (20, 0.885), (22, 0.86), (26, 0.825), (30, 0.875),
    (32, 0.88),
)  # fmt: skip
_MEASURED_L = ((26, 1.03), (32, 1.08), (56, 1.17))


def relative_generation(family: Family) -> float:
    """Measured over computed intensity of a family, relative to Si K.

    Cross-sections (Casnati) and yields (xraylib) leave an error of 10–15 % that is smooth in Z. The factors were set
    by the standards of pure elements and simple compounds of three detectors (NIST's, two of Bruker; 15 and 20 kV),
    not by the glasses; between the tabulated elements they are interpolated, beyond them constant. They concern what
    has no standard.
    """
    table = {"K": _MEASURED_K, "L": _MEASURED_L}.get(family[1])
    if table is None:
        return 1.0
    z, factor = zip(*table, strict=True)
    return float(np.interp(family[0], z, factor))


def detected(family: FamilyIntensity, conditions: Conditions) -> float:
    """Counts of a family per electron into 4π: photons × the detector's efficiency."""
    return float(family.photons @ conditions.detector.efficiency(family.energy_kev))


def attenuation_sd(energy_kev: float) -> float:
    """Relative standard deviation of the mass attenuation of a line."""
    return next(sd for limit, sd in ATTENUATION_SD if energy_kev < limit)


def model_systematics(
    material: Composition, conditions: Conditions, families: tuple[Family, ...]
) -> dict[Family, tuple[float, float]]:
    """Slope d ln I / d ln μ and secondary part of each family in a material."""
    step = 0.05
    at = family_intensities(material, conditions.beam_energy_kev, conditions.takeoff_deg)
    factors = dict.fromkeys(material.z, 1.0 + step)
    more = family_intensities(
        material, conditions.beam_energy_kev, conditions.takeoff_deg, attenuation=factors
    )
    out = {}
    for family in families:
        if family in at and family in more:
            change = np.log(more[family].photons.sum() / at[family].photons.sum()) / np.log(1.0 + step)
            out[family] = (float(change), at[family].secondary)
    return out


def systematic_of(
    family: Family,
    energy_kev: float,
    sample: Mapping[Family, tuple[float, float]],
    standard: Mapping[Family, tuple[float, float]] | None,
    conditions: Conditions,
) -> float:
    """Relative standard deviation of a family's model intensity; with a standard, of the ratio to the standard's."""
    slope, secondary = sample.get(family, (0.0, 0.0))
    if standard is not None:
        slope -= standard.get(family, (0.0, 0.0))[0]
        secondary -= standard.get(family, (0.0, 0.0))[1]
        parts = [DEPTH_SD]
    else:
        energies = np.array([energy_kev])
        through = float(conditions.detector.efficiency(energies)[0])
        hard = float(conditions.detector.efficiency(np.array([max(energy_kev, 4.0)]))[0])
        parts = [
            SOFT_GENERATION_SD if family[1] == "K" and energy_kev < 1.0 else GENERATION_SD[family[1]],
            WINDOW_SD * abs(np.log(max(through, 1e-6) / hard)),
        ]
    parts += [slope * attenuation_sd(energy_kev), secondary * SECONDARY_SD]
    return float(np.sqrt(np.square(parts).sum()))


def intensities_at(
    fractions: NDArray[np.float64],
    elements: tuple[int, ...],
    conditions: Conditions,
    families: tuple[Family, ...],
) -> NDArray[np.float64]:
    """Counts of each family per electron into 4π and unit of mass fraction of its element: (F,)."""
    total = float(fractions.sum())
    material = Composition(elements, tuple(float(f / total) for f in fractions))
    found = family_intensities(material, conditions.beam_energy_kev, conditions.takeoff_deg)
    at = dict(zip(elements, material.mass_fraction, strict=True))
    return np.array([
        detected(found[family], conditions) / at[family[0]] if family in found else np.nan
        for family in families
    ])  # fmt: skip
