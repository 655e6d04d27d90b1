"""Depth of X-ray production and what of it leaves the sample: mass attenuation and XPP φ(ρz).

Source: J.-L. Pouchou, F. Pichoir, "Quantitative analysis of homogeneous or stratified microvolumes applying the
model PAP", in Heinrich & Newbury (eds.), Electron Probe Quantitation, Plenum 1991, 31–75 ("PAP91" below): the
stopping power of Eqs. 5–8, the backscattering of Appendix 1, φ(ρz) in its simplified, exponential form XPP of
Appendix 4. Mass attenuation coefficients are those of xraylib.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import xraylib
import xraylib_np
from numpy.typing import NDArray

from .composition import Composition

__all__ = ["PhiRhoZ", "element_attenuation", "mass_attenuation"]

GRID_KEV = 0.0025
_MIN_KEV = 0.1
_MAX_KEV = 60.0


@lru_cache(maxsize=128)
def element_attenuation(z: int) -> NDArray[np.float64]:
    """Mass attenuation of element `z` in cm²/g on a grid of 2.5 eV from 0 to 60 keV, read-only.

    Under 0.1 keV, where xraylib ends, the value at 0.1 keV stands in: no line of ours lies there.
    """
    energies = np.maximum(np.arange(0.0, _MAX_KEV + GRID_KEV, GRID_KEV), _MIN_KEV)
    table = np.asarray(xraylib_np.CS_Total(np.array([z]), energies)[0], dtype=np.float64)
    table.flags.writeable = False
    return table


def mass_attenuation(composition: Composition, energies_kev: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mass attenuation of a material at some energies (n,) in keV, by mass: (n,) in cm²/g."""
    position = np.clip(np.asarray(energies_kev) / GRID_KEV, 0, _MAX_KEV / GRID_KEV - 1)
    index = position.astype(np.intp)
    part = position - index
    total = np.zeros(position.shape)
    for z, fraction in zip(composition.z, composition.mass_fraction, strict=True):
        table = element_attenuation(z)
        total += fraction * (table[index] * (1 - part) + table[index + 1] * part)
    return total


@dataclass(frozen=True)
class PhiRhoZ:
    """φ(ρz) of some shells (or photon energies) in one material at one beam energy.

    Parameters
    ----------
    area : (n,) float64
        Integral of φ(ρz), in g/cm²: ionisations = area × N_A/A × cross-section at the beam energy.
    surface, a, b, amplitude, slope : (n,) float64
        φ(0), the two decay constants in cm²/g, and the amplitudes A and B of Appendix 4.
    """

    area: NDArray[np.float64]
    surface: NDArray[np.float64]
    a: NDArray[np.float64]
    b: NDArray[np.float64]
    amplitude: NDArray[np.float64]
    slope: NDArray[np.float64]

    @classmethod
    def xpp(
        cls,
        composition: Composition,
        beam_energy_kev: float,
        edge_kev: NDArray[np.float64],
        exponent: NDArray[np.float64],
    ) -> PhiRhoZ:
        """Parameters for ionisation energies (n,) in keV under the beam energy, with cross-section exponents m.

        The exponent is that of ln U / Uᵐ (PAP91 Eq. 10).
        """
        mass = np.array(composition.mass_fraction)
        z = np.array(composition.z, dtype=np.float64)
        weights = mass * z / np.array([xraylib.AtomicWeight(int(n)) for n in composition.z])
        m_sum = weights.sum()
        potential = z * (10.04 + 8.25 * np.exp(-z / 11.22)) * 1e-3  # keV; Zeller, PAP91 Eq. 7
        j = float(np.exp((weights * np.log(potential)).sum() / m_sum))  # Eq. 6
        u = np.maximum(beam_energy_kev / edge_kev, 1.01)
        v = beam_energy_kev / j
        d = (6.6e-6, 1.12e-5 * (1.35 - 0.45 * j * j), 2.2e-6 / j)  # Eq. 8
        p = (0.78, 0.1, -0.5 + 0.25 * j)
        inverse_stopping = np.zeros_like(u)
        log_u = np.log(u)
        for dk, pk in zip(d, p, strict=True):  # Eq. 11
            t = 1.0 + pk - exponent
            ut = np.exp(t * log_u)
            inverse_stopping += dk * np.exp(pk * (np.log(v) - log_u)) * (t * ut * log_u - ut + 1.0) / t**2
        inverse_stopping *= u / (v * m_sum)
        zb = float((mass * np.sqrt(z)).sum()) ** 2  # Appendix 1
        eta = 1.75e-3 * zb + 0.37 * (1.0 - np.exp(-0.015 * zb**1.3))
        w = 0.595 + eta / 3.7 + eta**4.55
        q = (2.0 * w - 1.0) / (1.0 - w)
        ju = 1.0 + u * (log_u - 1.0)
        g = (u - 1.0 - (1.0 - np.exp(-(1.0 + q) * log_u)) / (1.0 + q)) / ((2.0 + q) * ju)
        backscatter = 1.0 - eta * w * (1.0 - g)
        surface = 1.0 + 3.3 * (1.0 - np.exp(-(2.0 - 2.3 * eta) * log_u)) * eta**1.2
        cross = log_u * np.exp(-exponent * log_u)  # ln U / U^m; E² cancels against that of the cross-section
        area = backscatter * inverse_stopping / cross * edge_kev**2  # Eq. 13
        x, y = 1.0 + 1.3 * np.log(zb), 0.2 + zb / 200.0
        ratio = 1.0 + x * np.log(1.0 + y * (1.0 - np.exp(-0.42 * log_u))) / np.log(1.0 + y)
        depth = area / np.maximum(ratio, surface)  # mean depth of ionisation, Eq. 28
        gg = 0.22 * np.log(4.0 * zb) * (1.0 - 2.0 * np.exp(-zb * (u - 1.0) / 15.0))
        hh = 1.0 - 10.0 * (1.0 - 1.0 / (1.0 + u / 10.0)) / zb**2
        b = np.sqrt(2.0) * (1.0 + np.sqrt(np.maximum(1.0 - depth * surface / area, 0.0))) / depth
        limit = 0.9 * b * depth**2 * (b - 2.0 * surface / area)
        slope0 = np.minimum(gg * hh**4, limit) * area / depth**2  # Eq. 29
        epsilon = (slope0 + b * (2.0 * surface - b * area)) / (
            b * area * (2.0 - b * depth) - surface
        ) / b - 1.0
        epsilon = np.where(np.abs(epsilon) > 1e-6, epsilon, 1e-6)
        slope = (b * b * area * (1.0 + epsilon) - slope0 - surface * b * (2.0 + epsilon)) / epsilon
        amplitude = (slope / b + surface - b * area) * (1.0 + epsilon) / epsilon
        return cls(area, surface, b * (1.0 + epsilon), b, amplitude, slope)

    def emitted(
        self, chi: NDArray[np.float64], index: NDArray[np.intp] | slice = slice(None)
    ) -> NDArray[np.float64]:
        """Integral of φ(ρz) exp(-χ ρz) in g/cm² for χ = μ / sin(take-off) in cm²/g, for the shells in `index`."""
        a, b = self.a[index], self.b[index]
        surface, amplitude, slope = self.surface[index], self.amplitude[index], self.slope[index]
        reach = (surface - amplitude) / (b + chi) + slope / (b + chi) ** 2 + amplitude / (a + chi)
        return np.maximum(reach, 0.0)
