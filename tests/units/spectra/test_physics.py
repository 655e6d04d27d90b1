"""The physics model: invariants, and NIST's standards where they are at hand."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slads_bluesky.errors import ConfigError
from slads_bluesky.evaluation.spectra.measured import nist_fit, read_nist
from slads_bluesky.spectra import Detector, EnergyAxis, expected_counts
from slads_bluesky.spectra.physics.absorption import PhiRhoZ, mass_attenuation
from slads_bluesky.spectra.physics.composition import Composition
from slads_bluesky.spectra.physics.detector import TRUE_KEV
from slads_bluesky.spectra.physics.lines import SHELLS, element_lines
from slads_bluesky.spectra.physics.spectrum import cross_section, emitted_photons

AXIS = EnergyAxis.phenom()


def area(spectrum, low, high):
    energies = AXIS.energies()
    return spectrum[(energies > low) & (energies < high)].sum()


@pytest.mark.parametrize(
    ("composition", "energy"),
    [
        ("Si", 1.74),
        ("C", 0.277),
        ("CaO", 3.69),
        ("Fe", 6.40),
        ("LaO", 4.65),
        ("Sn", 3.44),
        ("Pb", 2.35),
        ("Cu", 0.93),
    ],
)
def test_the_strongest_line_is_where_the_element_has_it(composition, energy):
    spectrum = expected_counts(composition, AXIS, dose_nc=1.0)
    if composition in ("Fe", "Cu"):  # K and L lines are of like strength: look at one of them
        spectrum = np.where(np.abs(AXIS.energies() - energy) < 0.3, spectrum, 0.0)
    if composition == "LaO":
        spectrum = np.where(AXIS.energies() > 3.0, spectrum, 0.0)
    assert abs(AXIS.energies()[spectrum.argmax()] - energy) < 0.02


def test_counts_are_finite_not_negative_and_end_at_the_beam_energy():
    for composition in ("CaO", "C", {"Pb": 0.38, "Sn": 0.62}, "U"):
        spectrum = expected_counts(composition, AXIS, beam_energy_kev=12.0, detector=Detector(pile_up=0.0))
        assert np.isfinite(spectrum).all()
        assert spectrum.min() >= 0.0
        assert area(spectrum, 12.5, 20.0) < 1e-6 * spectrum.sum()
        assert area(spectrum, 9.0, 11.0) > 0.0


@given(st.floats(0.01, 100.0))
@settings(max_examples=10, deadline=None)
def test_counts_are_proportional_to_the_dose(dose):
    one = expected_counts("CaO", AXIS, dose_nc=1.0)
    np.testing.assert_allclose(expected_counts("CaO", AXIS, dose_nc=dose), dose * one, rtol=1e-9)


def test_total_counts_scale_and_shape_stay_apart():
    spectrum = expected_counts("Si", AXIS, total_counts=1.2e5)
    assert spectrum.sum() == pytest.approx(1.2e5)
    other = expected_counts("Si", AXIS, dose_nc=3.0)
    np.testing.assert_allclose(spectrum / spectrum.sum(), other / other.sum(), rtol=1e-9)


def test_a_formula_is_its_mass_fractions():
    fractions = dict(
        zip(*(getattr(Composition.parse("CaO"), f) for f in ("symbols", "mass_fraction")), strict=True)
    )
    assert fractions["Ca"] == pytest.approx(0.7147, abs=1e-3)
    np.testing.assert_allclose(expected_counts(fractions, AXIS), expected_counts("CaO", AXIS), rtol=1e-9)


def test_more_of_an_element_gives_more_of_its_line():
    lead = [area(expected_counts({"Pb": c, "Sn": 1 - c}, AXIS), 2.25, 2.45) for c in (0.2, 0.4, 0.6, 0.8)]
    assert all(a < b for a, b in pairwise(lead))


def test_a_flatter_way_out_absorbs_soft_lines_more_than_hard_ones():
    steep = expected_counts("CaO", AXIS, takeoff_deg=60.0)
    flat = expected_counts("CaO", AXIS, takeoff_deg=15.0)
    assert area(flat, 0.45, 0.6) / area(steep, 0.45, 0.6) < 0.75 * area(flat, 3.5, 3.9) / area(
        steep, 3.5, 3.9
    )


def test_the_line_is_as_wide_as_the_detector_says():
    for resolution in (126.0, 150.0):
        detector = Detector(resolution_ev=resolution)
        line = detector.response(EnergyAxis(0.0, 0.001, 8000))[:, [round(5.895 / TRUE_KEV)]].toarray()[:, 0]
        above = np.flatnonzero(line > 0.5 * line.max())
        assert above[-1] - above[0] == pytest.approx(resolution, abs=3)


def test_escape_peak_and_pile_up_are_where_they_must_be():
    detector = Detector(pile_up=0.01)
    spectrum = expected_counts("Ca", AXIS, detector=detector)
    bare = expected_counts("Ca", AXIS, detector=Detector(pile_up=0.0))
    energies = AXIS.energies()
    summed = np.where(np.abs(energies - 7.38) < 0.3, spectrum - bare, 0.0)
    assert abs(energies[summed.argmax()] - 7.38) < 0.03
    escape = np.where(np.abs(energies - 1.95) < 0.15, bare, 0.0)
    assert abs(energies[escape.argmax()] - 1.95) < 0.03
    assert spectrum.sum() == pytest.approx(bare.sum() * 0.99, rel=1e-3)


def test_detector_channels_under_the_cut_off_are_empty():
    spectrum = expected_counts("C", AXIS, detector=Detector(low_cutoff_kev=0.2, pile_up=0.0))
    assert spectrum[AXIS.energies() < 0.195].sum() == 0.0


def test_phi_rho_z_integrates_to_its_area():
    material = Composition.parse("SiO2")
    edge = np.array([0.532, 1.839])
    phi = PhiRhoZ.xpp(material, 15.0, edge, np.array([0.86, 0.86]))
    np.testing.assert_allclose(phi.emitted(np.zeros(2)), phi.area, rtol=1e-6)
    through = phi.emitted(np.array([1e3, 1e4]), np.array([1, 1]))
    assert 0.0 < through[1] < through[0] < phi.area[1]
    depth = np.linspace(0, 2e-3, 20_001)
    k = 1
    curve = phi.amplitude[k] * np.exp(-phi.a[k] * depth)
    curve += (phi.slope[k] * depth + phi.surface[k] - phi.amplitude[k]) * np.exp(-phi.b[k] * depth)
    assert curve.min() > -0.02 * curve.max()
    assert np.trapezoid(curve, depth) == pytest.approx(phi.area[k], rel=1e-3)


def test_cross_section_of_the_silicon_k_shell_is_of_the_size_measured():
    # about 7e-21 cm² near 15 keV (Llovet et al., J. Phys. Chem. Ref. Data 43, 013102 (2014), Fig. 27)
    assert 2 * cross_section(15.0, np.array([1.839]))[0] == pytest.approx(7e-21, rel=0.2)


def test_vacancies_are_moved_never_made():
    for z in (26, 50, 57, 82):
        element = element_lines(z)
        for i in range(len(SHELLS)):
            assert element.transfer[i, i] == 1.0
            assert (element.transfer[i] >= 0).all()
        assert element.transfer[1:4, 1:4].sum(axis=1).max() < 3.0
        assert (np.diff(element.energy_kev[element.shell == 0]) != 0).any()


def test_absorption_jumps_at_the_edge():
    iron = Composition.parse("Fe")
    below, above = mass_attenuation(iron, np.array([7.0, 7.2]))
    assert above > 5 * below


def test_photons_are_fewer_than_electrons():
    assert emitted_photons(Composition.parse("Cu"), 4100, 15.0, 35.0).sum() < 0.01


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        ({"composition": "Xx"}, "Xx"),
        ({"composition": {"Fe": 0.5, "Qq": 0.5}}, "Qq"),
        ({"composition": {"Fe": 0.5}}, "0.5"),
        ({"composition": {"Fe": -1.0, "Ni": 2.0}}, "Fe"),
        ({"composition": {}}, "no element"),
        ({"composition": "Si", "beam_energy_kev": 0.1}, "beam energy"),
        ({"composition": "Si", "takeoff_deg": 0.0}, "take-off"),
        ({"composition": "Si", "dose_nc": -1.0}, "dose"),
        ({"composition": "Si", "total_counts": float("nan")}, "total counts"),
    ],
)
def test_what_cannot_be_is_refused_by_name(arguments, culprit):
    with pytest.raises(ConfigError, match=culprit):
        expected_counts(axis=AXIS, **arguments)


@pytest.mark.parametrize("field", ["resolution_ev", "thickness_um", "solid_angle_sr", "pile_up"])
def test_an_impossible_detector_is_refused(field):
    with pytest.raises(ConfigError, match="detector"):
        Detector(**{field: -1.0})


def test_real_standards_are_met_without_a_fit(real_data):
    found = nist_fit(read_nist(real_data / "nist_msa"))
    for name in ("Al2O3", "CaF2", "MgO", "SiO2", "K412", "MgO 15 kV"):
        assert found[name]["cosine"] >= 0.99
    for name in ("Fe", "Fe 15 kV"):
        assert found[name]["cosine"] >= 0.98
    ratios = [row["measured_over_model"] for row in found.values()]
    assert max(ratios) / min(ratios) < 1.25  # one solid angle for all of them
