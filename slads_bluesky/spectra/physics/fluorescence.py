"""Secondary fluorescence: X-rays of the sample that its own lines and continuum excite.

A photon made at depth t goes into all directions, and is absorbed at depth u with the density
½ E₁(μ|u − t|) of a laterally homogeneous half-space (E₁: exponential integral). With sources of the form e^{-at}
and an escape e^{-χu}, both integrals have the closed form of S. J. B. Reed, Br. J. Appl. Phys. 16, 913 (1965):

    J(a) = [ln(1 + χ/μ)/χ + ln(1 + a/μ)/a] / (2 (a + χ)),

and XPP's φ(ρz) is a sum of such exponentials and of t e^{-bt}, whose integral is -dJ/db. Nothing else is
approximated in depth. Photoelectric cross-sections of the shells are xraylib's. Fluorescence by fluorescence is left
out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import xraylib
import xraylib_np
from numpy.typing import NDArray

from .absorption import PhiRhoZ, mass_attenuation
from .composition import Composition
from .continuum import continuum
from .lines import SHELLS, element_lines

__all__ = ["PhotonSources", "continuum_sources", "fluoresced", "joined"]

GRID_KEV = 0.01
MAX_KEV = 60.0
N_CONTINUUM = 40


@dataclass(frozen=True, eq=False)
class PhotonSources:
    """Photons made inside the sample: their energies, how many, and at which depths.

    Parameters
    ----------
    energy_kev : (n,) float64
    photons : (n,) float64
        Made per electron, into all directions.
    depth : PhiRhoZ
        Depth distribution of each.
    """

    energy_kev: NDArray[np.float64]
    photons: NDArray[np.float64]
    depth: PhiRhoZ


@lru_cache(maxsize=256)
def _shell_table(z: int, shell: int) -> NDArray[np.float64]:
    """Photoelectric cross-section of a shell in cm²/g every 10 eV up to 60 keV; 0 under its edge."""
    energies = np.arange(0.0, MAX_KEV + GRID_KEV, GRID_KEV)
    table = np.zeros(len(energies))
    edge = element_lines(z).edge_kev[shell]
    above = np.flatnonzero(energies > max(float(edge), 0.1))
    if len(above):
        table[above] = xraylib_np.CS_Photo_Partial(np.array([z]), np.array([shell]), energies[above])[0, 0]
    table.flags.writeable = False
    return table


def _photoelectric(z: int, shell: int, energies_kev: NDArray[np.float64]) -> NDArray[np.float64]:
    edge = float(element_lines(z).edge_kev[shell])
    table = _shell_table(z, shell)
    index = np.minimum(np.ceil(energies_kev / GRID_KEV).astype(np.intp), len(table) - 1)
    return np.where(energies_kev > edge, table[index], 0.0)


def joined(parts: list[PhotonSources]) -> PhotonSources:
    """Put several sets of sources into one."""
    fields = [np.concatenate([getattr(p.depth, name) for p in parts]) for name in vars(parts[0].depth)]
    return PhotonSources(
        np.concatenate([p.energy_kev for p in parts]),
        np.concatenate([p.photons for p in parts]),
        PhiRhoZ(*fields),
    )


def continuum_sources(material: Composition, beam_energy_kev: float, lowest_kev: float) -> PhotonSources:
    """The continuum above `lowest_kev` as `N_CONTINUUM` lines, at the depths of ionisations of their energy."""
    edges = np.geomspace(lowest_kev, 0.995 * beam_energy_kev, N_CONTINUUM + 1)
    energies = np.sqrt(edges[1:] * edges[:-1])
    photons = continuum(material, energies, beam_energy_kev) * np.diff(edges)
    depth = PhiRhoZ.xpp(material, beam_energy_kev, energies, np.full(len(energies), 0.86))
    return PhotonSources(energies, photons, depth)


def _escaping(
    sources: PhotonSources, mu: NDArray[np.float64], chi: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Depth integral for each line of the sample (rows, by χ) and each source (columns), per source photon."""
    depth = sources.depth
    chi = chi[:, None]

    def j(a: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        a = np.maximum(a, 1e-6 * np.abs(depth.b))
        out = np.log1p(chi / mu) / chi
        back = np.log1p(a / mu) / a
        slope = 1.0 / (a * (mu + a)) - back / a
        both = out + back
        return both / (2.0 * (a + chi)), slope / (2.0 * (a + chi)) - both / (2.0 * (a + chi) ** 2)

    at_a, _ = j(depth.a)
    at_b, change = j(depth.b)
    total = depth.amplitude * at_a + (depth.surface - depth.amplitude) * at_b - depth.slope * change
    return np.asarray(np.maximum(total / depth.area, 0.0) * sources.photons)


def fluoresced(
    material: Composition, z: int, fraction: float, sources: PhotonSources, chi: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Photons of each line of element `z` per electron that leave the sample, made by the sample's own photons.

    Parameters
    ----------
    material : Composition
    z : int
    fraction : float
        Its mass fraction.
    sources : PhotonSources
    chi : (n_lines,) float64
        μ / sin(take-off) of the lines of `element_lines(z)`, in cm²/g.

    Returns
    -------
    (n_lines,) float64
    """
    element = element_lines(z)
    if not len(element.energy_kev):
        return np.zeros(0)
    deep = _escaping(sources, mass_attenuation(material, sources.energy_kev), chi)
    vacancies = np.zeros(len(element.energy_kev))
    for shell in range(len(SHELLS)):
        edge = element.edge_kev[shell]
        if not (np.isfinite(edge) and (sources.energy_kev > edge).any()):
            continue
        moved = element.transfer[shell, element.shell]
        if moved.any():
            vacancies += moved * (deep @ _photoelectric(z, shell, sources.energy_kev))
    return np.asarray(fraction * vacancies * element.yields[element.shell] * element.rate)


def excites(z: int) -> float:
    """Lowest edge in keV above which photons of other elements make lines of element `z` that matter here."""
    edges = [e for e in element_lines(z).edge_kev[:4] if np.isfinite(e) and e > 0.5]
    return float(min(edges)) if edges else float(xraylib.EdgeEnergy(z, 0))
