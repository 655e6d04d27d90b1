"""Specimens with an interaction volume and what else is not ideal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from slads_bluesky.devices.sim.soft import soft_microscope
from slads_bluesky.errors import ConfigError
from slads_bluesky.phantom import Imperfections, make_object
from slads_bluesky.phantom.imperfections import ALL
from slads_bluesky.phantom.interaction import lateral_sigma_um, mixed_abundances, xray_range_um
from slads_bluesky.simulated import simulated_object, simulation_metadata


def _made(**options: float):
    return make_object("pbsn-32", 1, Imperfections(**options))


def test_xray_range_of_copper_follows_anderson_and_hasler():
    assert xray_range_um(20.0, 8.98, 8.96) == pytest.approx(0.064 * (20**1.68 - 8.98**1.68) / 8.96)
    assert xray_range_um(5.0, 8.98, 8.96) == 0.0
    rng = np.random.default_rng(0)
    inside = rng.uniform(-1, 1, (20_000, 3))
    inside = inside[(inside**2).sum(axis=1) < 1]  # a sphere of diameter 2
    assert lateral_sigma_um(2.0) == pytest.approx(inside[:, 0].std(), rel=0.03)


def test_abundances_sum_to_one_and_keep_the_area_of_each_phase():
    labels = np.ones((64, 64), np.uint8)
    labels[20:40, 16:44] = 2
    parts = mixed_abundances(labels, 2.0, 2)
    assert np.allclose(parts.sum(axis=0), 1.0, atol=1e-6)
    assert parts[1].mean() == pytest.approx((labels == 2).mean(), rel=1e-4)


def test_no_imperfections_is_the_same_specimen_bit_by_bit():
    plain, same = make_object("pbsn-32", 1), _made()
    assert type(same) is type(plain)
    assert np.array_equal(plain.spectrum(40), same.spectrum(40))
    assert np.array_equal(plain.majority, plain.truth)


def test_blur_mixes_phases_only_near_boundaries():
    specimen = _made(blur_px=1.0)
    top = specimen.abundances.max(axis=0)
    assert 0.3 < (top < 0.98).mean() < 0.95
    pixel = int(np.abs(specimen.abundances[0] - 0.5).argmin())
    half = specimen.expected_at(pixel)
    ends = specimen.expected[0, :, specimen.choice.flat[pixel]]
    part = specimen.abundances[:, pixel // 32, pixel % 32]
    assert np.allclose(half, part @ ends + specimen.recipe.noise_rate, rtol=1e-5)
    assert (specimen.majority != specimen.truth).mean() < 0.02


@pytest.mark.parametrize("option", ["topography", "contamination", "scatter", "gradient"])
def test_each_option_changes_what_it_says_alone(option):
    specimen = _made(blur_px=0.0, **{option: getattr(ALL, option)})
    plain = _made(blur_px=1e-3)
    if option == "topography":
        assert specimen.rate.min() == pytest.approx(0.7, abs=0.01)
        assert specimen.rate.max() == pytest.approx(1.3, abs=0.01)
        return
    if option == "contamination":
        carbon = np.abs(specimen.axis.energies() - 0.277) < 0.1
        growing = specimen.acquisition_at(40, 0, 0.0)
        early, late = growing.counts_at(5.0)[carbon].sum(), growing.counts_at(10.0)[carbon].sum()
        assert late - early > 1.5 * early  # grows with the square of the dose
        return
    spread = specimen.expected[0, 0] / specimen.expected[0, 0].sum(axis=1, keepdims=True)
    usual = plain.expected[0, 0] / plain.expected[0, 0].sum(axis=1, keepdims=True)
    if option == "scatter":
        assert spread.std(axis=0).sum() > 1.5 * usual.std(axis=0).sum()
    else:
        left, right = specimen.expected[:, 0, 0]
        assert np.abs(left - right).sum() > 0.02 * left.sum()
        assert np.array_equal(*specimen.expected[:, 1, 0])  # one graded phase only


def test_energy_scale_drifts_with_the_time_spent_acquiring():
    specimen = _made(gain_per_h=1e-3, offset_ev_per_h=5.0)
    energies = specimen.axis.energies()
    line = np.abs(energies - 3.44) < 0.15  # tin Lα
    middle = [
        float(np.average(energies[line], weights=specimen.expected_at(40, clock)[line]))
        for clock in (0.0, 3600.0)
    ]
    assert middle[1] - middle[0] == pytest.approx(3.44e-3 + 5e-3, rel=0.25)


def test_beam_drift_of_the_specimen_moves_the_simulated_beam():
    beam, _, _ = soft_microscope(_made(beam_drift_px_per_h=720.0))
    beam.set(beam.sem.grid.position(40))
    beam.sem.blanked = False
    assert beam.sem.pixel_here() == 40
    beam.sem.clock_s = 10.0  # so long was acquired
    assert beam.sem.pixel_here() == 42


def test_start_document_holds_the_imperfections_and_makes_the_specimen_again():
    specimen = make_object("pbsn-32", 1, replace(ALL, blur_px=1.0))
    about = simulation_metadata("pbsn-32", 1, specimen.imperfections.to_json())
    again = make_object(*simulated_object(about))
    assert np.array_equal(again.spectrum(50, 0, 100.0), specimen.spectrum(50, 0, 100.0))
    assert np.array_equal(again.majority, specimen.majority)


def test_unknown_or_impossible_option_is_refused_by_name():
    with pytest.raises(ConfigError, match="'fog'"):
        make_object("pbsn-32", 0, {"fog": 1.0})
    with pytest.raises(ConfigError, match="topography"):
        Imperfections(topography=2.0)
