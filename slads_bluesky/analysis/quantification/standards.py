"""Spectra of materials of known composition, as the sensitivity that they show for each line family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError
from ...spectra.axis import EnergyAxis
from ...spectra.physics.composition import Composition, atomic_number
from .geometry import Conditions
from .spectral_fit import SpectralFit, fit_spectrum

__all__ = ["Standard"]


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
    """

    name: str
    composition: Composition
    elements: tuple[int, ...]
    conditions: Conditions
    fit: SpectralFit

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
        return cls(
            name or str(composition),
            material,
            wanted,
            conditions,
            fit_spectrum(counts, axis, material, conditions),
        )

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
