"""The sampler for element maps: what it measures, and the laws of every sampler."""

import numpy as np
import pytest

from slads_bluesky.protocols import Sampler
from slads_bluesky.sampling.elements.sampler import ElementSampler
from slads_bluesky.sampling.learned.sampler import LearnedSampler

SIDE = 32


def make():
    return ElementSampler(LearnedSampler((SIDE, SIDE), labels=2, initial=0.03, seed=1), 1)


def measure(sampler, n, *, contour=False):
    """Two flat halves, one above the other; with `contour` one slope that the labels cut in its middle."""
    rng = np.random.default_rng(5)
    while sampler.n_measured < n:
        for at in sampler.suggest(10):
            row, column = divmod(at.pixel, SIDE)
            if contour:
                label, level = 1 + (column >= SIDE // 2), 50.0 + 10.0 * column
            else:
                label, level = (1, 300.0) if row < SIDE // 2 else (2, 50.0)
            counts = np.array([float(rng.poisson(level))])
            sampler.ingest_intensities(at.pixel, label, counts, np.array([level]))
    return sampler


@pytest.fixture(scope="module")
def halves():
    return measure(make(), 80)


def test_sampler_is_one_by_its_protocol():
    assert isinstance(make(), Sampler)


def test_suggest_changes_nothing_and_repeats_itself(halves):
    first = halves.suggest(10)
    assert halves.suggest(10) == first
    assert halves.suggest(3) == first[:3]
    assert len({s.pixel for s in first}) == 10
    assert (halves.measured.flat[[s.pixel for s in first]] == -1).all()
    assert all(np.isfinite(s.erd) and s.erd > 0 for s in first)


def test_same_measurements_give_the_same_suggestions_whenever_asked(halves):
    other = make()
    for row in zip(halves._pixels, halves._votes, halves._values, halves._noise, strict=True):
        other.ingest_intensities(*row)
        other.ingest_intensities(*row)
    assert other.suggest(12) == halves.suggest(12)


def test_pending_pixels_are_left_out(halves):
    pending = [s.pixel for s in halves.suggest(8)]
    found = [s.pixel for s in halves.suggest_besides(8, pending)]
    assert len(set(found)) == 8
    assert not set(found) & set(pending)


def test_contour_inside_a_slope_attracts_fewer_pixels_than_it_does_by_labels():
    half = SIDE // 2
    by_labels = LearnedSampler((SIDE, SIDE), labels=2, initial=0.03, seed=1)
    while by_labels.n_measured < 120:
        for at in by_labels.suggest(15):
            by_labels.ingest(at.pixel, 1 + (at.pixel % SIDE >= half))
    by_elements = measure(make(), 120, contour=True)
    near = [(one.measured[:, half - 2 : half + 2] >= 0).sum() for one in (by_elements, by_labels)]
    assert near[0] < 0.7 * near[1]


def test_last_pixels_are_suggested_each_once():
    sampler, n = make(), SIDE * SIDE
    for pixel in range(n - 3):
        sampler.ingest_intensities(pixel, 1 + pixel % 2, np.array([10.0]), np.array([10.0]))
    assert sorted(s.pixel for s in sampler.suggest(10)) == [n - 3, n - 2, n - 1]
