"""The expected spectrum of a composition: from electrons on a flat sample to counts in channels.

Characteristic lines (`lines`), their depth distribution and absorption (`absorption`), the continuum (`continuum`)
and the detector (`detector`) are put together here. Approximations beyond those named there:

- Ionisation by electrons: Casnati, Tartari & Baraldi, J. Phys. B 15, 155 (1982), made for K shells, taken for all
  subshells. XPP's depth integral is exact for ln U / Uᵐ with the exponents m of PAP91 Eq. 10; the two differ little
  in shape.
- The lines of valence electrons are some eV wide, so where an absorption edge is near (Fe Lα), their absorption is
  averaged over a band of σ = 3 eV: 3.5 × 10³ cm²/g for Fe Lα in Fe.
- The continuum is absorbed as if it were made at the depths of ionisations of its own energy.
- No secondary fluorescence (a few per cent at most for the pairs that matter), no tilt, no topography.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import xraylib
from numpy.typing import NDArray

from ...errors import ConfigError
from ..axis import EnergyAxis
from .absorption import PhiRhoZ, mass_attenuation
from .composition import Composition
from .continuum import continuum
from .detector import TRUE_KEV, Detector, Film
from .lines import PRINCIPAL, SHELLS, element_lines

__all__ = ["emitted_photons", "expected_counts", "family_photons"]

AVOGADRO = 6.02214076e23
ELECTRONS_PER_NC = 6.241509074e9
BOHR_CM = 5.29177e-9
RYDBERG_KEV = 13.6057e-3
ELECTRON_KEV = 510.999
BAND_SIGMA_KEV = 0.003
BAND_NODES_KEV = BAND_SIGMA_KEV * np.linspace(-2.5, 2.5, 11)
BAND_WEIGHTS = np.exp(-0.5 * np.linspace(-2.5, 2.5, 11) ** 2)
BAND_WEIGHTS /= BAND_WEIGHTS.sum()
MIN_OVERVOLTAGE = 1.02


def expected_counts(
    composition: str | Mapping[str, float] | Composition,
    axis: EnergyAxis,
    *,
    beam_energy_kev: float = 15.0,
    takeoff_deg: float = 28.5,
    detector: Detector | None = None,
    dose_nc: float = 1.0,
    total_counts: float | None = None,
    coating: Film | None = None,
) -> NDArray[np.float64]:
    """Expected counts in each channel.

    Parameters
    ----------
    composition : str, mapping or Composition
        A formula (``"CaO"``) or mass fractions (``{"Pb": 0.38, "Sn": 0.62}``).
    axis : EnergyAxis
        The channels.
    beam_energy_kev : float
        Beam energy, 1 to 50 keV.
    takeoff_deg : float
        Angle between the sample's surface and the way to the detector, over 0 to 90°.
    detector : Detector, optional
        Default: that of a Phenom ProX.
    dose_nc : float
        Charge that fell while the detector was live: beam current × live time, in nC.
    total_counts : float, optional
        Scale the whole spectrum to this many counts instead.
    coating : Film, optional
        A conducting film on the sample; it absorbs X-rays, and its own are left out.

    Returns
    -------
    (n_channels,) float64
        Counts; dead time costs real time, not counts per live time.

    Raises
    ------
    ConfigError
        Naming the parameter or the element that cannot be.
    """
    if not 1.0 <= beam_energy_kev <= 50.0:
        raise ConfigError(f"beam energy must be 1 to 50 keV, not {beam_energy_kev}")
    if not 0.0 < takeoff_deg <= 90.0:
        raise ConfigError(f"take-off angle must be over 0 and at most 90°, not {takeoff_deg}")
    scale_is_counts = total_counts is not None
    amount = float(total_counts) if total_counts is not None else float(dose_nc)
    if not (math.isfinite(amount) and amount >= 0):
        name = "total counts" if scale_is_counts else "dose"
        raise ConfigError(f"{name} must be a finite number of 0 or more, not {amount}")
    detector = detector if detector is not None else Detector()
    material = Composition.parse(composition)
    response = detector.response(axis)
    photons = emitted_photons(material, response.shape[1], beam_energy_kev, takeoff_deg, coating)
    counts = detector.piled_up(response @ photons, axis)
    if scale_is_counts:
        return np.asarray(counts * (amount / counts.sum()))
    return np.asarray(counts * (amount * ELECTRONS_PER_NC * detector.solid_angle_sr / (4.0 * math.pi)))


def emitted_photons(
    material: Composition,
    n_true: int,
    beam_energy_kev: float,
    takeoff_deg: float,
    coating: Film | None = None,
) -> NDArray[np.float64]:
    """Photons per electron that leave the sample, as if into 4π, on the grid ``TRUE_KEV * k``: (n_true,)."""
    sine = math.sin(math.radians(takeoff_deg))
    photons = continuum_photons(material, n_true, beam_energy_kev, takeoff_deg)
    for z, fraction in zip(material.z, material.mass_fraction, strict=True):
        strength = line_strengths(material, z, fraction, beam_energy_kev, sine)
        if len(strength):
            place_lines(photons, element_lines(z).energy_kev, strength)
    if coating is not None:
        film = Film(coating.formula, coating.density, coating.thickness_um / sine)
        photons *= film.transmission(np.arange(n_true, dtype=np.float64) * TRUE_KEV)
    return photons


def continuum_photons(
    material: Composition, n_true: int, beam_energy_kev: float, takeoff_deg: float
) -> NDArray[np.float64]:
    """Photons of the continuum alone, as `emitted_photons` counts them: (n_true,)."""
    sine = math.sin(math.radians(takeoff_deg))
    photons = np.zeros(n_true)
    last = min(n_true - 1, math.floor(beam_energy_kev / TRUE_KEV))
    # The continuum is smooth but for absorption edges: XPP on every fourth energy, absorption on all.
    grid = np.arange(20, last, dtype=np.float64) * TRUE_KEV
    generated = continuum(material, grid, beam_energy_kev) * TRUE_KEV
    coarse = PhiRhoZ.xpp(material, beam_energy_kev, grid[::4], np.full(len(grid[::4]), 0.86))
    nearest = np.minimum(np.arange(len(grid)) // 4, len(coarse.area) - 1)
    escaping = coarse.emitted(mass_attenuation(material, grid) / sine, nearest)
    photons[20:last] = generated * escaping / coarse.area[nearest]
    return photons


def _exponents(z: int) -> NDArray[np.float64]:
    """Exponents m of the ionisation cross-section, (9,) by shell (PAP91 Eq. 10)."""
    k = 0.86 + 0.12 * math.exp(-((z / 5.0) ** 2))
    return np.choose(PRINCIPAL - 1, [k, 0.82, 0.78])


def cross_section(beam_energy_kev: float, edge_kev: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ionisations per electron of a shell of binding energy (n,) in keV, in cm²: Casnati et al. 1982, Eqs. 3–8."""
    u = beam_energy_kev / edge_kev
    i, t = edge_kev / ELECTRON_KEV, beam_energy_kev / ELECTRON_KEV
    inner = (i + t) * (2 + t) * (1 + i) ** 2 / (t * (2 + t) * (1 + i) ** 2 + i * (2 + i))
    relativistic = (2 + i) / (2 + t) * ((1 + t) / (1 + i)) ** 2 * inner**1.5
    psi = (edge_kev / RYDBERG_KEV) ** (-0.0318 + 0.3160 / u - 0.1135 / u**2)
    phi = 10.57 * np.exp(-1.736 / u + 0.317 / u**2)
    reduced = BOHR_CM**2 * (RYDBERG_KEV / edge_kev) ** 2
    return np.asarray(reduced * psi * phi * relativistic * np.log(u) / u)


def line_attenuation(material: Composition, energies_kev: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mass attenuation averaged over the width of a line that valence electrons make, in cm²/g."""
    spread = mass_attenuation(material, energies_kev[:, None] + BAND_NODES_KEV)
    return np.asarray(spread @ BAND_WEIGHTS)


def ionised_shells(
    material: Composition, z: int, fraction: float, beam_energy_kev: float
) -> tuple[NDArray[np.intp], PhiRhoZ, NDArray[np.float64]]:
    """Shells of element `z` that the beam ionises, their φ(ρz), and ionisations per electron, g/cm² and unit of φ."""
    element = element_lines(z)
    excited = np.flatnonzero(beam_energy_kev > MIN_OVERVOLTAGE * np.nan_to_num(element.edge_kev, nan=np.inf))
    edge, exponent = element.edge_kev[excited], _exponents(z)[excited]
    depth = PhiRhoZ.xpp(material, beam_energy_kev, edge, exponent)
    cross = element.electrons[excited] * cross_section(beam_energy_kev, edge)
    return excited, depth, fraction * AVOGADRO / xraylib.AtomicWeight(z) * cross


def line_strengths(
    material: Composition, z: int, fraction: float, beam_energy_kev: float, sine: float
) -> NDArray[np.float64]:
    """Photons per electron of each line of element `z`, in the order of `element_lines`; empty if none is excited."""
    element = element_lines(z)
    excited, depth, ionised = ionised_shells(material, z, fraction, beam_energy_kev)
    if not (len(excited) and len(element.energy_kev)):
        return np.zeros(0)
    # Coster–Kronig: a vacancy made in shell i ends in shell j at the same depth, so depth integrals are i's.
    target = element.shell
    chi = line_attenuation(material, element.energy_kev) / sine
    reach = np.zeros(len(target))
    for position, source in enumerate(excited):
        moved = element.transfer[source, target]
        use = np.flatnonzero(moved)
        index = np.full(len(use), position, dtype=np.intp)
        reach[use] += moved[use] * ionised[position] * depth.emitted(chi[use], index)
    return np.asarray(reach * element.yields[target] * element.rate)


def place_lines(
    photons: NDArray[np.float64], energies_kev: NDArray[np.float64], strength: NDArray[np.float64]
) -> None:
    """Add lines to `photons`, each split between the two grid energies around it."""
    place = energies_kev / TRUE_KEV
    low = place.astype(np.intp)
    inside = (low + 1 < len(photons)) & (strength > 0)
    part = (place - low)[inside]
    np.add.at(photons, low[inside], strength[inside] * (1.0 - part))
    np.add.at(photons, low[inside] + 1, strength[inside] * part)


def family_photons(
    material: Composition, n_true: int, beam_energy_kev: float, takeoff_deg: float
) -> dict[tuple[int, str], NDArray[np.float64]]:
    """Photons of each line family of a material, as `emitted_photons` counts them.

    Parameters
    ----------
    material : Composition
    n_true : int
        Length of the grid ``TRUE_KEV * k``.
    beam_energy_kev, takeoff_deg : float

    Returns
    -------
    dict
        Atomic number and ``"K"``, ``"L"`` or ``"M"`` to photons per electron, (n_true,); only excited families.
    """
    sine = math.sin(math.radians(takeoff_deg))
    out: dict[tuple[int, str], NDArray[np.float64]] = {}
    for z, fraction in zip(material.z, material.mass_fraction, strict=True):
        strength = line_strengths(material, z, fraction, beam_energy_kev, sine)
        if not len(strength):
            continue
        element = element_lines(z)
        family = np.array([SHELLS[shell][0] for shell in element.shell])
        for name in np.unique(family):
            photons = np.zeros(n_true)
            place_lines(photons, element.energy_kev, np.where(family == name, strength, 0.0))
            if photons.any():
                out[z, str(name)] = photons
    return out
