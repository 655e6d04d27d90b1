"""Rebinning to another energy scale: counts conserved, statistics honest."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slads_bluesky.errors import DataError
from slads_bluesky.spectra import EnergyAxis
from slads_bluesky.spectra.rebin import rebinned, same_detector

axes = st.builds(EnergyAxis, st.floats(-0.5, 0.1), st.floats(2e-3, 0.03), st.integers(64, 512))


@given(axes, axes, st.integers(0, 2**31))
@settings(deadline=None, max_examples=60)
def test_rebinned_counts_inside_the_range_are_conserved(source, target, seed):
    rng = np.random.default_rng(seed)
    inside = (source.edges()[:-1] > target.edges()[0]) & (source.edges()[1:] < target.edges()[-1])
    counts = rng.integers(0, 50, source.n_channels) * inside
    assert rebinned(counts, source, target).sum() == pytest.approx(counts.sum())
    drawn = rebinned(counts, source, target, rng)
    assert drawn.sum() == counts.sum()
    assert (drawn == np.round(drawn)).all()


@given(axes)
@settings(deadline=None, max_examples=20)
def test_rebinned_to_its_own_scale_is_unchanged(axis):
    counts = np.arange(axis.n_channels, dtype=float)
    np.testing.assert_allclose(rebinned(counts, axis, axis), counts, atol=1e-6)


def test_rebinned_at_random_poisson_counts_stay_poisson():
    source, target = EnergyAxis(0.0, 0.00995, 200), EnergyAxis(0.004, 0.01, 190)
    rng = np.random.default_rng(0)
    drawn = rebinned(rng.poisson(20.0, (400, 200)), source, target, rng)[:, 5:180]
    assert drawn.var(axis=0).mean() / drawn.mean() == pytest.approx(1.0, abs=0.05)
    neighbours = [np.corrcoef(drawn[:, i], drawn[:, i + 1])[0, 1] for i in range(170)]
    assert abs(np.mean(neighbours)) < 0.02
    expected = rebinned(rng.poisson(20.0, (400, 200)), source, target)[:, 5:180]
    assert expected.var(axis=0).mean() / expected.mean() < 0.9  # shares are smoother than counts


def test_rebinned_energies_stay_where_they_were():
    source, target = EnergyAxis(-0.48, 0.005, 4096), EnergyAxis(-0.05, 0.01, 2040)
    counts = np.zeros(4096)
    counts[np.argmin(np.abs(source.energies() - 6.4))] = 1000.0
    moved = rebinned(counts, source, target)
    assert (moved @ target.energies()) / 1000.0 == pytest.approx(6.4, abs=0.004)


def test_rebinned_other_lengths_and_fractions_are_refused():
    axis = EnergyAxis(0.0, 0.01, 64)
    with pytest.raises(DataError, match="shape"):
        rebinned(np.ones(63), axis, axis)
    with pytest.raises(DataError, match="whole"):
        rebinned(np.full(64, 0.5), axis, axis, np.random.default_rng(0))


def test_same_detector_takes_small_differences_only():
    phenom = EnergyAxis(-0.050, 0.009939, 2048)
    assert same_detector(phenom, EnergyAxis(-0.042, 0.009951, 2048))
    assert same_detector(phenom, EnergyAxis(-0.050, 0.009939, 2040))
    assert same_detector(EnergyAxis(-0.48, 0.004999, 4096), EnergyAxis(-0.48, 0.005, 4096))
    assert not same_detector(phenom, EnergyAxis(-0.050, 0.005, 4096))
    assert not same_detector(phenom, EnergyAxis(0.05, 0.009939, 2048))
