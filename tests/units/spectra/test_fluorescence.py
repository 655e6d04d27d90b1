"""Secondary fluorescence and XPP: against a numerical integral, and against published values."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import exp1

from slads_bluesky.spectra.physics.absorption import PhiRhoZ
from slads_bluesky.spectra.physics.composition import Composition
from slads_bluesky.spectra.physics.fluorescence import PhotonSources, _escaping
from slads_bluesky.spectra.physics.intensities import family_intensities
from slads_bluesky.spectra.physics.spectrum import ionised_shells

K240 = {
    "O": 0.340023, "Mg": 0.030154, "Si": 0.186986, "Ti": 0.059950, "Zn": 0.040168, "Zr": 0.074030, "Ba": 0.268689,
}  # fmt: skip


def test_depth_integral_of_fluorescence_equals_the_numerical_double_integral():
    depth = PhiRhoZ(*(np.array([v]) for v in (1.0, 1.6, 6000.0, 7500.0, 30.0, -40000.0)))
    mu, chi = 120.0, 300.0

    def phi(t):
        return 30.0 * np.exp(-6000.0 * t) + (-40000.0 * t + 1.6 - 30.0) * np.exp(-7500.0 * t)

    def absorbed(u):
        total, _ = quad(
            lambda t: phi(t) * 0.5 * exp1(mu * abs(u - t) + 1e-12), 0, 3e-3, points=[u], limit=300
        )
        return total

    depths = np.geomspace(1e-7, 0.1, 400)
    values = np.array([absorbed(u) if u < 3e-3 else absorbed(min(u, 3e-3)) * 0 for u in depths])
    far = depths >= 3e-3
    whole, _ = quad(phi, 0, 3e-3)
    mean, _ = quad(lambda t: t * phi(t), 0, 3e-3)
    values[far] = whole * 0.5 * exp1(mu * (depths[far] - mean / whole))
    numerical = np.trapezoid(values * np.exp(-chi * depths), depths)
    closed = _escaping(
        PhotonSources(np.array([5.0]), np.array([1.0]), depth), np.array([mu]), np.array([chi])
    )
    assert closed[0, 0] == pytest.approx(numerical, rel=0.01)


@pytest.mark.parametrize(
    ("z", "a", "b", "phi0", "area"),
    [(8, 6754, 7786, 1.63011, 0.0016754), (12, 6681, 7973, 1.620603, 0.001468275)],
)
def test_xpp_of_glass_k240_at_20_kv_equals_dtsa(z, a, b, phi0, area):
    """Values of NIST's DTSA-II as the tests of NeXLMatrixCorrection.jl (public domain) state them."""
    _, depth, _ = ionised_shells(Composition.parse(K240), z, 1.0, 20.0)
    assert depth.a[0] == pytest.approx(a, rel=3e-4)
    assert depth.b[0] == pytest.approx(b, rel=3e-4)
    assert depth.surface[0] == pytest.approx(phi0, rel=1e-4)
    assert depth.area[0] == pytest.approx(area, rel=5e-4)


@pytest.mark.parametrize(
    ("z", "standard", "za"),
    [
        (14, "SiO2", 1.1345 * 0.7652),
        (12, "MgO", 1.1280 * 0.5996),
        (22, "Ti", 0.9446 * 0.9607),
        (30, "Zn", 0.8973 * 0.9842),
    ],
)
def test_za_correction_of_glass_k240_at_17_kv_is_within_one_percent_of_dtsa(z, standard, za):
    def per_mass(material):
        found = family_intensities(material, 17.0, 40.0, secondary=False)
        return found[z, "K"].photons.sum() / dict(zip(material.z, material.mass_fraction, strict=True))[z]

    ratio = per_mass(Composition.parse(K240)) / per_mass(Composition.parse(standard))
    assert ratio == pytest.approx(za, rel=0.01)


def test_fluorescence_needs_a_line_above_the_edge():
    alloy = family_intensities(Composition.parse({"Fe": 0.5, "Co": 0.5}), 20.0, 40.0)
    nickel = family_intensities(Composition.parse({"Fe": 0.5, "Ni": 0.5}), 20.0, 40.0)
    # Co Kα lies under the K edge of iron, Ni Kα above it
    assert nickel[26, "K"].secondary > 2 * alloy[26, "K"].secondary
