"""Variation inside a phase: found where it is, not where it is not, and interpolated as a Gaussian process would."""

import numpy as np
import pytest

from slads_bluesky.randomfield import NEIGHBOURS, Variation, VariationFinder, interpolate


def field(points, sill, length, seed):
    distance = np.sqrt(((points[:, None, :2] - points[None, :, :2]) ** 2).sum(axis=-1)) / length
    covariance = sill * np.exp(-distance) + 1e-9 * np.eye(len(points))
    return np.linalg.cholesky(covariance) @ np.random.default_rng(seed).standard_normal(len(points))


def scattered(n, size=40, seed=0):
    rng = np.random.default_rng(seed)
    flat = rng.choice(size * size, n, replace=False)
    return np.stack(np.divmod(flat, size), axis=1).astype(float)


def test_interpolate_with_all_neighbours_equals_the_dense_gaussian_process():
    points, at = scattered(NEIGHBOURS, seed=1), scattered(50, seed=2)
    values = 3.0 + field(points, 2.0, 6.0, 3)
    noise = np.random.default_rng(4).uniform(0.1, 0.5, len(points))
    variation = Variation(3.0, 0.0, 2.0, 6.0, 0.3)

    def covariance(a, b):
        return 2.0 * np.exp(-np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=-1)) / 6.0)

    inverse = np.linalg.inv(covariance(points, points) + np.diag(noise + 0.3))
    cross = covariance(at, points) + 0.3 * (at[:, None] == points[None]).all(axis=-1)
    mean, variance = interpolate(points, values, noise, variation, at)
    assert mean == pytest.approx(3.0 + cross @ inverse @ (values - 3.0), rel=1e-9)
    assert variance == pytest.approx(2.3 - np.einsum("ij,jk,ik->i", cross, inverse, cross), rel=1e-7)


def test_finder_of_noise_alone_finds_no_variation():
    points = scattered(200, seed=5)
    noise = np.full(200, 4.0)
    found = [
        VariationFinder(points).find(10.0 + 2.0 * np.random.default_rng(seed).standard_normal(200), noise)
        for seed in range(10)
    ]
    assert sum(v.sill > 0 for v in found) <= 1
    assert found[0].mean == pytest.approx(10.0, abs=0.6)


def test_finder_of_a_field_finds_its_length_and_intervals_hold():
    points = scattered(900, seed=6)
    truth = 20.0 + field(points, 4.0, 8.0, 7)
    noise = np.full(900, 1.0)
    values = truth + np.random.default_rng(8).standard_normal(900)
    measured, rest = np.arange(250), np.arange(250, 900)
    found = VariationFinder(points[measured]).find(values[measured], noise[measured])
    assert 3.0 <= found.length <= 24.0
    mean, variance = interpolate(points[measured], values[measured], noise[measured], found, points[rest])
    error = mean - truth[rest]
    assert np.sqrt((error**2).mean()) < 0.8 * truth[rest].std()
    assert 0.8 <= (np.abs(error) <= 1.645 * np.sqrt(variance)).mean() <= 0.98


def test_a_guide_image_that_says_all_is_followed():
    points = scattered(300, seed=9)
    image = np.random.default_rng(10).standard_normal(300)
    values = 5.0 + 2.0 * image + 0.3 * np.random.default_rng(11).standard_normal(300)
    guided = np.column_stack([points, image])
    found = VariationFinder(guided[:200]).find(values[:200], np.full(200, 0.09))
    assert np.isfinite(found.image_length)
    mean, _ = interpolate(guided[:200], values[:200], np.full(200, 0.09), found, guided[200:])
    assert np.corrcoef(mean, values[200:])[0, 1] > 0.9


@pytest.mark.parametrize("n", [0, 1, 5])
def test_interpolate_of_few_points_stays_finite(n):
    points, at = scattered(max(n, 1))[:n], scattered(30, seed=3)
    values, noise = np.arange(n, dtype=float), np.ones(n)
    variation = VariationFinder(points).find(values, noise) if n else Variation(1.0, 1.0, 1.0, 3.0)
    mean, variance = interpolate(points, values, noise, variation, at)
    assert np.isfinite(mean).all()
    assert (variance >= 0).all()
