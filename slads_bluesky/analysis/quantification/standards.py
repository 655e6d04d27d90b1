"""Spectra of materials of known composition, as the sensitivity that they show for each line family."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError
from ...spectra.axis import EnergyAxis
from ...spectra.physics.composition import Composition, atomic_number
from .columns import model_columns
from .geometry import Conditions
from .spectral_fit import SpectralFit, fit_spectrum

__all__ = ["Standard"]

BETWEEN = (0.25, 0.85)
"""Where the continuum is looked at, in parts of the beam energy."""
LINES_THERE = 0.1
"""Most that lines may add there, in parts of the continuum."""


@dataclass(frozen=True, eq=False)
class Standard:
    """A standard: what it is, and its fitted spectrum.

    Parameters
    ----------
    name : str
    composition : Composition
    elements : tuple of int
        Those that it is the standard of.
    conditions : Conditions
    fit : SpectralFit
    continuum : float
        Fitted continuum over the model's where no lines are; NaN if there is no such place.
    """

    name: str
    composition: Composition
    elements: tuple[int, ...]
    conditions: Conditions
    fit: SpectralFit
    continuum: float = math.nan

    @property
    def mean_z(self) -> float:
        """Mean atomic number, by mass."""
        return float(np.dot(self.composition.z, self.composition.mass_fraction))

    @classmethod
    def measure(
        cls,
        counts: NDArray[np.floating] | NDArray[np.integer],
        axis: EnergyAxis,
        composition: str | Mapping[str, float] | Composition,
        conditions: Conditions,
        *,
        elements: Sequence[str] | None = None,
        name: str = "",
    ) -> Standard:
        """Fit the spectrum of a standard.

        Parameters
        ----------
        counts : (n_channels,) array
        axis : EnergyAxis
        composition : str, mapping or Composition
            What it is made of.
        conditions : Conditions
            With its dose.
        elements : sequence of str, optional
            Elements that it is the standard of; default: all of its composition.
        name : str

        Raises
        ------
        ConfigError
            If an element is not in the composition, or the dose is not known.
        """
        material = Composition.parse(composition)
        wanted = tuple(map(atomic_number, elements)) if elements is not None else material.z
        for z, symbol in zip(wanted, elements or material.symbols, strict=True):
            if z not in material.z:
                raise ConfigError(f"standard {name or composition}: holds no {symbol}")
        if conditions.dose_nc is None:
            raise ConfigError(f"standard {name or composition}: beam current and live time are needed")
        fit = fit_spectrum(counts, axis, material, conditions)
        level = _continuum_level(fit, material, conditions)
        return cls(name or str(composition), material, wanted, conditions, fit, level)

    def sensitivity(self, family: tuple[int, str]) -> tuple[float, float] | None:
        """Amplitude per nC of a family, and its relative standard deviation; None if it is no standard of it."""
        if family[0] not in self.elements or family not in self.fit.families:
            return None
        i = self.fit.families.index(family)
        amplitude = float(self.fit.amplitude[i])
        if amplitude <= 0.0 or self.conditions.dose_nc is None:
            return None
        relative = float(np.sqrt(self.fit.covariance[i, i])) / amplitude
        return (amplitude / self.conditions.dose_nc, relative) if relative < 0.2 else None


def _continuum_level(fit: SpectralFit, material: Composition, conditions: Conditions) -> float:
    """Fitted continuum over the model's where no lines are; NaN if there is no such place."""
    columns = model_columns(material, fit.axis, fit.resolution_ev, conditions)
    low, high = (part * conditions.beam_energy_kev for part in BETWEEN)
    alone = fit.model - fit.continuum < LINES_THERE * fit.continuum
    where = fit.used & alone & (columns.energies_kev > low) & (columns.energies_kev < high)
    expected = float(columns.continuum[where].sum())
    level = float(fit.continuum[where].sum()) / expected if expected > 0 else math.nan
    return level if level > 0 else math.nan
