"""Short spectra pulse by pulse: rate, dead time, shape."""

from __future__ import annotations

import numpy as np
import pytest

from slads_bluesky.phantom import make_object
from slads_bluesky.phantom.brief import pulses


@pytest.fixture(scope="module")
def phantom():
    return make_object("pbsn-32")


def test_brief_spectrum_has_the_rate_and_shape_of_the_record(phantom):
    pixel = int(np.flatnonzero(phantom.labels.ravel() == 1)[0])
    sums = sum(phantom.brief(pixel, visit, 5e-3).counts.astype(float) for visit in range(400))
    record = phantom.spectrum(pixel).astype(float)
    expected = record.sum() * 400 * 5e-3 / phantom.full_dwell_s
    assert sums.sum() == pytest.approx(expected, abs=5 * np.sqrt(expected))
    assert np.corrcoef(sums, record)[0, 1] > 0.95


def test_live_time_is_real_time_less_what_the_pulses_took(phantom):
    counts, live = phantom.brief(5, 0, 2e-3, 36e-6)
    assert counts.sum() > 0
    assert live == pytest.approx(2e-3 - counts.sum() * 36e-6)


def test_dead_time_lowers_the_counts_as_a_detector_that_is_not_paralysable():
    rng = np.random.default_rng(0)
    stored = np.mean([pulses(12_000.0, 10e-3, 36e-6, rng) for _ in range(400)])
    assert stored == pytest.approx(12_000 * 10e-3 / (1 + 12_000 * 36e-6), rel=0.03)


def test_each_visit_has_noise_of_its_own_and_the_same_again(phantom):
    first, again, second = (phantom.brief(7, visit, 5e-3).counts for visit in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)


def test_no_beam_gives_no_pulses(phantom):
    assert phantom.brief(7, 0, 5e-3, rate=0.0).counts.sum() == 0
