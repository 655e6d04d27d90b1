"""The linear model of a spectrum at one composition: line families, continuum and nuisance terms in channels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from ...spectra.axis import EnergyAxis
from ...spectra.physics.composition import Composition
from ...spectra.physics.intensities import FamilyIntensity, family_intensities
from ...spectra.physics.spectrum import continuum_photons
from .geometry import Conditions

__all__ = ["Columns", "model_columns"]

KNOTS_PER_FACTOR = 2.2
"""Knots of the continuum's correction per factor e in energy."""
CONTINUUM_SD = 0.3
MINOR_SD = {"K": 0.03, "L": 0.15, "M": 0.2}
"""Relative standard deviation of a family's weaker lines against its strongest."""
COMMON_TAIL, COMMON_TAIL_SD = 0.03, 0.01
TAIL_SD = 0.003
TAIL_KEV = 0.06
"""Part of each line in its tail of incomplete charge collection (of all lines alike, and on its own), its length."""
NOISE_KEV = 0.12
LEAST_COUNTS = 1e-7
"""Counts per electron into 4π, of the pure element, under which a family in the fit's channels is left out."""


@dataclass(frozen=True, eq=False)
class Columns:
    """Columns of the fit, each of `n_channels`.

    Parameters
    ----------
    families : tuple of FamilyIntensity
    lines : (F, n_channels) float64
        Counts of each family per electron into 4π at the composition of the model.
    counts : (F,) float64
        Sum of each of the model's lines.
    minor : (F, n_channels) float64
        The weaker lines among them.
    tails : (F, n_channels) float64
        The same counts as an exponential tail under the peak.
    continuum : (n_channels,) float64
    hats : (H, n_channels) float64
        Hat functions in the logarithm of the energy.
    noise : (n_channels,) float64
        Exponential noise at low energy, of sum 1.
    energies_kev : (n_channels,) float64
    """

    families: tuple[FamilyIntensity, ...]
    lines: NDArray[np.float64]
    counts: NDArray[np.float64]
    minor: NDArray[np.float64]
    tails: NDArray[np.float64]
    continuum: NDArray[np.float64]
    hats: NDArray[np.float64]
    noise: NDArray[np.float64]
    energies_kev: NDArray[np.float64]


def _tail(peak: NDArray[np.float64], width_kev: float) -> NDArray[np.float64]:
    """Exponential tail towards lower energies, of the peak's counts."""
    length = int(np.ceil(8 * TAIL_KEV / width_kev))
    kernel = np.exp(-np.arange(length) * width_kev / TAIL_KEV)
    kernel /= kernel.sum()
    return np.asarray(np.convolve(peak[::-1], kernel)[: len(peak)][::-1])


def hat_functions(energies_kev: NDArray[np.float64], low_kev: float, high_kev: float) -> NDArray[np.float64]:
    """Hat functions in the logarithm of the energy that sum to 1, (H, n)."""
    x = np.log(np.clip(energies_kev, low_kev, high_kev))
    n = max(3, round(KNOTS_PER_FACTOR * (np.log(high_kev) - np.log(low_kev))) + 1)
    knots = np.linspace(np.log(low_kev), np.log(high_kev), n)
    step = knots[1] - knots[0]
    return np.asarray(np.maximum(0.0, 1.0 - np.abs(x[None, :] - knots[:, None]) / step))


def model_columns(
    composition: Composition,
    axis: EnergyAxis,
    resolution_ev: float,
    conditions: Conditions,
) -> Columns:
    """Columns of a composition on an energy axis, at a resolution in eV at Mn Kα."""
    detector = replace(conditions.detector, resolution_ev=resolution_ev, low_cutoff_kev=0.0, pile_up=0.0)
    response = detector.response(axis)
    n_true = response.shape[1]
    found = family_intensities(composition, conditions.beam_energy_kev, conditions.takeoff_deg)
    families, lines, minor, tails = [], [], [], []
    energies = axis.energies()
    low = conditions.lowest_kev(composition.z)
    fractions = dict(zip(composition.z, composition.mass_fraction, strict=True))
    for family in found.values():
        main, weaker = (response @ photons for photons in family.on_grid(n_true))
        if (main + weaker)[energies >= low].sum() < LEAST_COUNTS * fractions[family.z]:
            continue
        families.append(family)
        lines.append(main + weaker)
        minor.append(weaker)
        tails.append(_tail(main + weaker, axis.width_kev))
    smooth = response @ continuum_photons(
        composition, n_true, conditions.beam_energy_kev, conditions.takeoff_deg
    )
    high = min(float(energies[-1]), conditions.beam_energy_kev)
    noise = np.where(energies > 0, np.exp(-np.maximum(energies, 0.0) / NOISE_KEV), 0.0)
    return Columns(
        tuple(families),
        np.array(lines).reshape(-1, axis.n_channels),
        np.array([line.sum() for line in lines]),
        np.array(minor).reshape(-1, axis.n_channels),
        np.array(tails).reshape(-1, axis.n_channels),
        np.asarray(smooth),
        hat_functions(energies, low, high),
        noise / noise.sum(),
        energies,
    )


def shifted(model: NDArray[np.float64], axis: EnergyAxis) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Change of a model (n_channels,) per keV of shift, and per keV² of added variance of its lines."""
    smooth = gaussian_filter1d(model, 0.8)
    slope = np.gradient(smooth) / axis.width_kev
    return -slope, 0.5 * np.gradient(slope) / axis.width_kev
