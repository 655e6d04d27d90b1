"""Intensities of all lines of a composition, with secondary fluorescence: what quantification rests on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .absorption import PhiRhoZ
from .composition import Composition
from .fluorescence import PhotonSources, continuum_sources, excites, fluoresced, joined
from .lines import SHELLS, element_lines
from .spectrum import ionised_shells, line_attenuation, line_strengths, place_lines

__all__ = ["FamilyIntensity", "family_intensities", "line_sources"]

LEAST_SOURCE = 1e-3
"""Part of an element's photons from which on a line is taken to excite others."""


@dataclass(frozen=True, eq=False)
class FamilyIntensity:
    """Lines of one shell (K, L or M) of one element.

    Parameters
    ----------
    z : int
    shell : str
        ``"K"``, ``"L"`` or ``"M"``.
    edge_kev : float
        Lowest ionisation energy of the shell's subshells.
    energy_kev, photons : (n,) float64
        Of each line: its energy, and the photons per electron that leave the sample towards the detector, as if
        into 4π.
    secondary : float
        Part of the photons that the sample's own photons excited.
    """

    z: int
    shell: str
    edge_kev: float
    energy_kev: NDArray[np.float64]
    photons: NDArray[np.float64]
    secondary: float

    @property
    def main_kev(self) -> float:
        """Energy of the strongest line."""
        return float(self.energy_kev[int(np.argmax(self.photons))])

    def on_grid(self, n_true: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Photons of the strongest peak, and of the weaker lines, on the grid of true energies: both (n_true,).

        To the peak belong the lines within 40 eV of the strongest one: no detector resolves Kα₁ and Kα₂.
        """
        main = np.abs(self.energy_kev - self.main_kev) < 0.04
        out = np.zeros((2, n_true))
        for row, which in zip(out, (main, ~main), strict=True):
            place_lines(row, self.energy_kev, np.where(which, self.photons, 0.0))
        return out[0], out[1]


def line_sources(material: Composition, beam_energy_kev: float) -> list[PhotonSources]:
    """Characteristic photons made inside a material, one set an element that emits any."""
    out = []
    for z, fraction in zip(material.z, material.mass_fraction, strict=True):
        element = element_lines(z)
        excited, depth, ionised = ionised_shells(material, z, fraction, beam_energy_kev)
        if not (len(excited) and len(element.energy_kev)):
            continue
        vacancies = (ionised * depth.area)[:, None] * element.transfer[excited][:, element.shell]
        photons = vacancies.sum(axis=0) * element.yields[element.shell] * element.rate
        origin = np.argmax(vacancies, axis=0)
        use = photons > LEAST_SOURCE * photons.max()
        fields = [getattr(depth, name)[origin[use]] for name in vars(depth)]
        out.append(PhotonSources(element.energy_kev[use], photons[use], PhiRhoZ(*fields)))
    return out


def family_intensities(
    material: Composition,
    beam_energy_kev: float,
    takeoff_deg: float,
    *,
    secondary: bool = True,
    attenuation: Mapping[int, float] | None = None,
) -> dict[tuple[int, str], FamilyIntensity]:
    """Intensities of each line family of a material.

    Parameters
    ----------
    material : Composition
    beam_energy_kev, takeoff_deg : float
    secondary : bool
        Whether fluorescence by the sample's lines and continuum is added.
    attenuation : mapping, optional
        By atomic number, a factor on the mass attenuation of that element's lines: for uncertainties.

    Returns
    -------
    dict
        By atomic number and shell; only families that the beam excites.

    Examples
    --------
    Zinc in brass is excited by copper's lines only above its edge, so not at all; iron in nickel–iron is:

    >>> steel = family_intensities(Composition.parse({"Fe": 0.2, "Ni": 0.8}), 20.0, 40.0)
    >>> bool(steel[26, "K"].secondary > 0.2), bool(steel[28, "K"].secondary < 0.05)
    (True, True)
    """
    sine = math.sin(math.radians(takeoff_deg))
    sources: PhotonSources | None = None
    if secondary:
        lowest = max(min(excites(z) for z in material.z), 1.0)
        parts = line_sources(material, beam_energy_kev)
        if lowest < 0.9 * beam_energy_kev:
            parts.append(continuum_sources(material, beam_energy_kev, lowest))
        sources = joined(parts) if parts else None
    out: dict[tuple[int, str], FamilyIntensity] = {}
    for z, fraction in zip(material.z, material.mass_fraction, strict=True):
        factor = attenuation.get(z, 1.0) if attenuation is not None else 1.0
        direct = line_strengths(material, z, fraction, beam_energy_kev, sine / factor)
        if not len(direct):
            continue
        element = element_lines(z)
        extra = np.zeros(len(direct))
        if sources is not None:
            chi = line_attenuation(material, element.energy_kev) * (factor / sine)
            extra = fluoresced(material, z, fraction, sources, chi)
        principal = np.array([SHELLS[shell][0] for shell in element.shell])
        for name in np.unique(principal):
            use = (principal == name) & (direct > 0)
            if use.any():
                edges = [e for s, e in zip(SHELLS, element.edge_kev, strict=True) if s[0] == name]
                photons = direct[use] + extra[use]
                out[z, str(name)] = FamilyIntensity(
                    z,
                    str(name),
                    float(np.nanmin(edges)),
                    element.energy_kev[use],
                    photons,
                    float(extra[use].sum() / photons.sum()),
                )
    return out
