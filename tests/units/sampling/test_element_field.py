"""The field on nodes against the same arithmetic on every pixel."""

import numpy as np
import pytest

from slads_bluesky.randomfield import Variation
from slads_bluesky.sampling.elements.field import Field, NodeGrid

SHAPE = (12, 14)
NUGGET, NOISE = 0.2, 0.5


@pytest.fixture
def exact():
    """A field whose nodes are the pixels, so that nothing is interpolated; its pixels, and the prior covariance."""
    grid = NodeGrid(SHAPE, SHAPE[0] * SHAPE[1])
    variation = Variation(2.0, 0.1, sill=1.0, length=4.0, nugget=NUGGET, kernel="matern32")
    rng = np.random.default_rng(0)
    pixels = rng.choice(SHAPE[0] * SHAPE[1], 20, replace=False)
    values = rng.normal(2.0, 1.0, 20)
    everything = grid.corners(np.arange(SHAPE[0] * SHAPE[1]))
    field = Field(grid, variation, everything.take(pixels), values, np.full(20, NOISE), everything, NOISE)
    covariance = variation.correlation(grid.distance / variation.length) + 100.0 * (1.0 + NUGGET)
    return field, everything, pixels, values, covariance


def posterior(covariance, pixels):
    known = covariance[np.ix_(pixels, pixels)] + (NUGGET + NOISE) * np.eye(len(pixels))
    cross = covariance[:, pixels]
    return covariance - cross @ np.linalg.solve(known, cross.T), cross, known


def fall(before, after, pixel):
    own = NUGGET**2 / (before[pixel, pixel] + NUGGET + NOISE)
    return np.trace(before) - np.trace(after) + own


def test_nodes_of_a_fine_grid_are_the_pixels():
    grid = NodeGrid(SHAPE, 10_000)
    at = grid.corners(np.array([0, 13, 5 * 14 + 3, 167]))
    assert np.sort(at.weights, axis=1)[:, -1] == pytest.approx(1.0)
    assert at.times(np.arange(168.0)) == pytest.approx([0, 13, 73, 167])


def test_expected_value_is_that_of_kriging(exact):
    field, everything, pixels, values, covariance = exact
    _, cross, known = posterior(covariance, pixels)
    krige = 2.0 + cross @ np.linalg.solve(known, values - 2.0)
    assert field.expected(everything) == pytest.approx(krige, abs=1e-6)


def test_fall_is_what_the_summed_variance_falls_by(exact):
    field, everything, pixels, _, covariance = exact
    before, _, _ = posterior(covariance, pixels)
    falls = field.fall(everything)
    for pixel in (0, 40, 100):
        after, _, _ = posterior(covariance, np.append(pixels, pixel))
        assert falls[pixel] == pytest.approx(fall(before, after, pixel), rel=1e-5)


def test_pixel_that_will_be_measured_lowers_the_falls_around_it(exact):
    field, everything, pixels, _, covariance = exact
    first = field.fall(everything)
    field.measure(everything.take(np.array([77])))
    now = field.fall(everything)
    assert now.sum() < first.sum()
    assert now[77] < 0.7 * first[77]
    before, _, _ = posterior(covariance, np.append(pixels, 77))
    after, _, _ = posterior(covariance, np.append(pixels, [77, 20]))
    assert now[20] == pytest.approx(fall(before, after, 20), rel=1e-5)
