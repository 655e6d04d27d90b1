"""Elements whose lines a spectrum holds, for when the user names none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from ...errors import DataError
from ...spectra.axis import EnergyAxis
from ...spectra.physics.composition import Composition, symbol_of
from ...spectra.physics.intensities import family_intensities
from ...spectra.physics.spectrum import continuum_photons
from .columns import hat_functions
from .geometry import Conditions
from .spectral_fit import fit_spectrum

__all__ = ["identify_elements"]

CANDIDATES = tuple(z for z in range(5, 93) if z not in (10, 18, 36, 43, 54, 61, 84, 85, 86, 87, 88, 89, 91))
"""Elements that a specimen may hold as a solid."""
SIGNIFICANT = 4.0
"""Standard deviations by which a line family must stand out, the shapes' uncertainty among them."""
LEAST_SHARE = 2e-3
"""Part of all counts in lines that an element's lines must hold."""
MOST = 24
HARDER = {"K": 1.0, "L": 4.0, "M": 6.0}
"""Times the significance and the share that an element needs that shows L or M lines only: those lie among pile-up,
tails and the K lines of lighter elements, and are known less well."""


def identify_elements(
    counts: NDArray[np.floating] | NDArray[np.integer], axis: EnergyAxis, conditions: Conditions
) -> list[str]:
    """Symbols of the elements whose lines a spectrum shows, by rising atomic number.

    Non-negative least squares over the lines of every solid element proposes; a fit with the proposed ones keeps
    what stands out by four standard deviations, and an element stays only if its hardest family that the beam
    excites well is among what stands out.

    Parameters
    ----------
    counts : (n_channels,) array
    axis : EnergyAxis
    conditions : Conditions

    Raises
    ------
    DataError
        If nothing is found, or there are too few counts.
    """
    data = np.asarray(counts, dtype=np.float64)
    last = int(np.searchsorted(axis.energies(), 1.02 * conditions.beam_energy_kev))
    near = EnergyAxis(axis.offset_kev, axis.width_kev, max(min(last, axis.n_channels), 8))
    data = data[: near.n_channels]
    low = conditions.lowest_kev((6,))
    used = near.energies() >= low
    proposed = _proposed(data, near, conditions, used)
    while proposed:
        material = Composition(proposed, tuple(1.0 / len(proposed) for _ in proposed))
        fit = fit_spectrum(counts, axis, material, conditions, rounds=3, limits=False)
        sd = np.sqrt(np.diag(fit.covariance))
        strength = fit.amplitude / sd
        lines = np.maximum(fit.counts, 0.0)
        best: dict[int, float] = {}
        for z in proposed:
            mine = [i for i, family in enumerate(fit.families) if family[0] == z]
            hard = [
                i for i in mine
                if conditions.beam_energy_kev > 1.8 * fit.edge_kev[i] and fit.main_kev[i] > low
            ]  # fmt: skip
            judged = [max(hard, key=lambda i: fit.main_kev[i])] if hard else mine
            best[z] = max(
                (
                    float(strength[i]) / HARDER[fit.families[i][1]]
                    if lines[i] > LEAST_SHARE * HARDER[fit.families[i][1]] * lines.sum()
                    else 0.0
                    for i in judged
                ),
                default=0.0,
            )
        worst = min(best, key=lambda z: best[z])
        if best[worst] >= SIGNIFICANT:
            return [symbol_of(z) for z in proposed]
        weak = {z for z in proposed if best[z] < 0.5 * SIGNIFICANT} or {worst}
        proposed = tuple(z for z in proposed if z not in weak)
    raise DataError("spectrum: no line of any element stands out; name the elements")


def _proposed(
    data: NDArray[np.float64], axis: EnergyAxis, conditions: Conditions, used: NDArray[np.bool_]
) -> tuple[int, ...]:
    detector = replace(conditions.detector, low_cutoff_kev=0.0, pile_up=0.0)
    response = detector.response(axis)
    rows, owner = [], []
    for z in CANDIDATES:
        pure = Composition((z,), (1.0,))
        found = family_intensities(pure, conditions.beam_energy_kev, conditions.takeoff_deg, secondary=False)
        for family in found.values():
            line = response @ sum(family.on_grid(response.shape[1]))
            if line[used].sum() > 0.2 * line.sum() > 0.0:
                rows.append(line[used] / line.sum())
                owner.append(z)
    energies = axis.energies()[used]
    glass = Composition.parse("SiO2")
    smooth = continuum_photons(glass, response.shape[1], conditions.beam_energy_kev, conditions.takeoff_deg)
    background = (response @ smooth)[used] * hat_functions(
        energies, float(energies[0]), min(float(energies[-1]), conditions.beam_energy_kev)
    )
    table = np.vstack([np.array(rows), background / background.sum(axis=1, keepdims=True)])
    y = data[used]
    weight = 1.0 / np.sqrt(y + (0.02 * y) ** 2 + 3.0)
    amplitude, _ = nnls((table * weight).T, y * weight, maxiter=20 * len(table))
    held = dict.fromkeys(owner, 0.0)
    for z, a in zip(owner, amplitude, strict=False):
        held[z] += float(a)
    total = sum(held.values())
    ranked = sorted((z for z in held if held[z] > LEAST_SHARE * total), key=lambda z: -held[z])[:MOST]
    return tuple(sorted(ranked))
