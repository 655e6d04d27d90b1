"""The detector: window and crystal efficiency, Fano-limited resolution, silicon escape, cut-off, pile-up.

Approximations, each named:

- Transmission of thin films by Beer–Lambert at normal incidence with xraylib's coefficients; the window is a
  Moxtek AP3.3 in its published make-up (aluminium on a polymer of about C10H8O4N, silicon grid with 77 % open).
- A Gaussian line of FWHM² = noise² + 2.355² F ε E (Fano 1947; ε = 3.65 eV, F = 0.115 for silicon), the noise
  chosen so that the line is as wide as stated at Mn Kα.
- Charge lost near the entrance counts as a dead layer of 0.1 µm of silicon: set by the oxygen lines of NIST's
  standards (public domain), the one number of this module that comes from spectra. Its tail is left out.
- Escape of Si Kα after Reed & Ware, J. Phys. E 5, 582 (1972), at normal incidence.
- Pile-up of first order, by the spectrum's convolution with itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import xraylib
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.sparse import csr_array
from scipy.special import ndtr

from ...errors import ConfigError
from ..axis import EnergyAxis
from .absorption import mass_attenuation
from .composition import Composition

__all__ = ["Detector", "Film"]

FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))
PAIR_KEV = 3.65e-3
FANO = 0.115
MN_KA_KEV = 5.895
SI_KA_KEV = 1.740
SI_K_EDGE_KEV = 1.839
TRUE_KEV = 0.005
"""Step of the grid of true photon energies on which emission is computed."""


@dataclass(frozen=True)
class Film:
    """A layer that X-rays pass on their way: its material, its mass per area, how much of the way it covers.

    Parameters
    ----------
    formula : str
        Chemical formula.
    density : float
        In g/cm³.
    thickness_um : float
        In µm.
    covers : float
        Fraction of the area that it covers (a support grid covers less than 1).
    """

    formula: str
    density: float
    thickness_um: float
    covers: float = 1.0

    def transmission(self, energies_kev: NDArray[np.float64]) -> NDArray[np.float64]:
        """Fraction of photons (n,) that pass, at energies (n,) in keV."""
        attenuation = mass_attenuation(Composition.parse(self.formula), energies_kev)
        through = np.exp(-attenuation * self.density * self.thickness_um * 1e-4)
        return np.asarray(1.0 - self.covers + self.covers * through)


AP33 = (
    Film("Al", 2.70, 0.040),
    Film("C10H8O4N", 1.39, 0.300),
    Film("Si", 2.33, 380.0, covers=0.23),
)


@dataclass(frozen=True)
class Detector:
    """A silicon drift detector.

    Parameters
    ----------
    resolution_ev : float
        Full width at half maximum at Mn Kα, in eV.
    films : tuple of Film
        Window and, with it, the contact and dead layer of the crystal.
    thickness_um : float
        Active silicon, in µm.
    solid_angle_sr : float
        What it sees of the sample.
    low_cutoff_kev : float
        Channels under this energy stay empty.
    pile_up : float
        Fraction of pulses that are two at once, taken for one of their summed energy.
    """

    resolution_ev: float = 126.0
    films: tuple[Film, ...] = (*AP33, Film("Al", 2.70, 0.010), Film("Si", 2.33, 0.100))
    thickness_um: float = 450.0
    solid_angle_sr: float = 0.01
    low_cutoff_kev: float = 0.07
    pile_up: float = 0.0017

    def __post_init__(self) -> None:
        least = FWHM * math.sqrt(FANO * PAIR_KEV * MN_KA_KEV) * 1e3
        if not least < self.resolution_ev < 1000:
            raise ConfigError(
                f"detector: resolution at Mn Kα must be above the Fano limit of {least:.0f} eV, "
                f"not {self.resolution_ev} eV"
            )
        for name in ("thickness_um", "solid_angle_sr"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"detector: {name} must be positive, not {getattr(self, name)}")
        for name in ("low_cutoff_kev", "pile_up"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"detector: {name} must not be negative, is {getattr(self, name)}")
        if self.pile_up > 0.5:
            raise ConfigError(f"detector: pile_up is a fraction of at most 0.5, not {self.pile_up}")

    def sigma_kev(self, energies_kev: NDArray[np.float64]) -> NDArray[np.float64]:
        """Standard deviation of the line shape at photon energies (n,) in keV."""
        noise = (self.resolution_ev * 1e-3 / FWHM) ** 2 - FANO * PAIR_KEV * MN_KA_KEV
        return np.sqrt(noise + FANO * PAIR_KEV * np.maximum(energies_kev, 0.0))

    def efficiency(self, energies_kev: NDArray[np.float64]) -> NDArray[np.float64]:
        """Fraction of photons (n,) that reach the active silicon and are absorbed in it."""
        total = -np.expm1(-mass_attenuation(_SILICON, energies_kev) * 2.33 * self.thickness_um * 1e-4)
        for film in self.films:
            total = total * film.transmission(energies_kev)
        return np.asarray(total)

    def response(self, axis: EnergyAxis) -> csr_array:
        """Matrix (n_channels, n_true) from photons at true energies ``TRUE_KEV * k`` to counts in channels."""
        return _response(self, axis.offset_kev, axis.width_kev, axis.n_channels)

    def piled_up(self, counts: NDArray[np.float64], axis: EnergyAxis) -> NDArray[np.float64]:
        """Counts (n_channels,) after pulse pile-up: pairs leave their places and appear at their energies' sum."""
        total = counts.sum()
        if self.pile_up == 0.0 or total <= 0.0:
            return counts
        size = next_fast_len(2 * axis.n_channels)
        pairs = irfft(rfft(counts / total, size) ** 2, size)
        shift = round(axis.offset_kev / axis.width_kev)  # energies add; channel numbers add plus the offset's
        source = np.arange(axis.n_channels) - shift
        inside = (source >= 0) & (source < size)
        summed = np.zeros(axis.n_channels)
        summed[inside] = np.maximum(pairs[source[inside]], 0.0)
        return np.asarray((1.0 - 2.0 * self.pile_up) * counts + self.pile_up * total * summed)


_SILICON = Composition.parse("Si")


def _escape_fraction(energies_kev: NDArray[np.float64]) -> NDArray[np.float64]:
    """Si Kα photons that leave the crystal through its front, per photon absorbed (Reed & Ware 1972)."""
    above = energies_kev > SI_K_EDGE_KEV
    ratio = mass_attenuation(_SILICON, np.array([SI_KA_KEV])) / mass_attenuation(_SILICON, energies_kev)
    jump = xraylib.JumpFactor(14, xraylib.K_SHELL)
    yield_k = xraylib.FluorYield(14, xraylib.K_SHELL)
    share = 0.5 * yield_k * (1.0 - 1.0 / jump) * (1.0 - ratio * np.log1p(1.0 / ratio))
    return np.where(above, share, 0.0)


@lru_cache(maxsize=16)
def _response(detector: Detector, offset_kev: float, width_kev: float, n_channels: int) -> csr_array:
    axis = EnergyAxis(offset_kev, width_kev, n_channels)
    edges = axis.edges()
    true = np.arange(0.0, max(edges[-1] + 0.5, 1.0), TRUE_KEV)
    efficiency = detector.efficiency(true)
    escape = _escape_fraction(true)
    first_live = int(np.searchsorted(axis.energies(), detector.low_cutoff_kev - 1e-9))
    rows, columns, values = [], [], []
    for centre, weight in ((true, efficiency * (1.0 - escape)), (true - SI_KA_KEV, efficiency * escape)):
        sigma = detector.sigma_kev(centre)
        keep = np.flatnonzero((weight > 1e-12) & (true >= 0.05))
        low = np.floor((centre - 4.5 * sigma - edges[0]) / width_kev).astype(int)
        reach = int(np.ceil(9.0 * sigma.max() / width_kev)) + 2
        channel = low[keep, None] + np.arange(reach)[None, :]
        lower = edges[0] + channel * width_kev
        share = ndtr((lower + width_kev - centre[keep, None]) / sigma[keep, None]) - ndtr(
            (lower - centre[keep, None]) / sigma[keep, None]
        )
        inside = (channel >= first_live) & (channel < n_channels) & (share > 1e-9)
        rows.append(channel[inside])
        columns.append(np.broadcast_to(keep[:, None], channel.shape)[inside])
        values.append((share * weight[keep, None])[inside])
    shape = (n_channels, len(true))
    return csr_array((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape)
