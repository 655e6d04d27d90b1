"""What the simulated objects are made of: compositions, counts, noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..spectra.axis import EnergyAxis
from ..spectra.physics.composition import Composition
from ..spectra.physics.spectrum import expected_counts

__all__ = ["FULL_DWELL_S", "RECIPES", "Recipe", "dose_nc", "phase_spectra"]

FULL_DWELL_S = 10.0
"""The paper's acquisition time in spot mode, s of live time."""


@dataclass(frozen=True)
class Recipe:
    """Spectra of a kind of object."""

    compositions: Mapping[str, str | Mapping[str, float]]
    """Phase name to formula or mass fractions, in the order of the labels."""
    densities_g_cm3: Mapping[str, float] = field(default_factory=dict)
    """Phase name to density, for the interaction volume."""
    axis: EnergyAxis = field(default_factory=EnergyAxis.phenom)
    beam_kev: float = 15.0
    mean_counts: float = 1.2e5
    """Counts of a full dwell, mean over the phases (a Phenom at 15 kV and 10 s)."""
    spectra_per_phase: int = 12
    """The paper's M."""
    noise_rate: float = 2.0
    """λ of the Poisson noise that is added in every channel (the paper's 3.2.1)."""
    ill_rate: float = 20.0
    """λ of an ill spectrum, in every channel (the paper's 3.2.1)."""
    ill_fraction: float = 0.0005
    """Part of the pixels that is ill. The paper does not state its own, but its distortion counts ill pixels that
    were not measured as wrong (label 0 is a class of its truth), so it lies well under 0.0013 / 0.95."""
    dose_spread: float = 0.02
    """Relative standard deviation of the dose from spectrum to spectrum."""
    composition_spread: float = 0.01
    """Relative standard deviation of each element's mass fraction from spectrum to spectrum."""


RECIPES: dict[str, Recipe] = {
    "pbsn": Recipe({"Pb-Sn": {"Pb": 0.38, "Sn": 0.62}, "Sn": {"Sn": 1.0}}, {"Pb-Sn": 8.4, "Sn": 7.3}),
    "powder": Recipe(
        {"CaO": "CaO", "LaO": "LaO", "Si": "Si", "C": "C"}, {"CaO": 3.3, "LaO": 6.5, "Si": 2.3, "C": 2.2}
    ),
    "rock": Recipe(
        {
            "quartz": "SiO2",
            "albite": "NaAlSi3O8",
            "zircon": "ZrSiO4",
            "rutile": "TiO2",
            "calcite": "CaCO3",
            "olivine": {"O": 0.4165, "Mg": 0.2888, "Si": 0.1829, "Fe": 0.1118},
            "augite": {"O": 0.4376, "Mg": 0.1011, "Si": 0.2561, "Ca": 0.1827, "Fe": 0.0225},
            "ferroaugite": {"O": 0.4284, "Mg": 0.0828, "Si": 0.2508, "Ca": 0.1788, "Fe": 0.0592},
        },
        {
            "quartz": 2.65, "albite": 2.62, "zircon": 4.6, "rutile": 4.2, "calcite": 2.7, "olivine": 3.4,
            "augite": 3.3, "ferroaugite": 3.4,
        },
    ),
}  # fmt: skip
"""A rock has two rare phases, zircon and rutile, and two that are nearly alike: the augites differ so
little that the Chernoff information of 500 counts between them is 1."""


@cache
def dose_nc(kind: str) -> float:
    """Beam charge at which the phases of a kind give `Recipe.mean_counts` on average."""
    recipe = RECIPES[kind]
    per_nc = [
        expected_counts(composition, recipe.axis, beam_energy_kev=recipe.beam_kev).sum()
        for composition in recipe.compositions.values()
    ]
    return recipe.mean_counts / float(np.mean(per_nc))


def phase_spectra(kind: str, n: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Record spectra of each phase as a detector would at slightly different spots.

    Parameters
    ----------
    kind : str
        A key of `RECIPES`.
    n : int
        Spectra a phase.
    rng : numpy.random.Generator

    Returns
    -------
    (L, n, channels) int32 array
        Counts at the full dwell: Poisson around the physics model of a composition and a dose that vary a little.
    """
    recipe = RECIPES[kind]
    spectra = np.empty((len(recipe.compositions), n, recipe.axis.n_channels), np.int32)
    for phase, value in enumerate(recipe.compositions.values()):
        composition = Composition.parse(value)
        for i in range(n):
            spread = rng.normal(1.0, recipe.composition_spread, len(composition.symbols))
            fractions = np.asarray(composition.mass_fraction) * spread
            spot = dict(zip(composition.symbols, fractions / fractions.sum(), strict=True))
            dose = dose_nc(kind) * rng.normal(1.0, recipe.dose_spread)
            spectra[phase, i] = rng.poisson(
                expected_counts(spot, recipe.axis, beam_energy_kev=recipe.beam_kev, dose_nc=dose)
            )
    return spectra
