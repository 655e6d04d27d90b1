"""Initial mask, k-NN reconstruction and static samplers."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from slads_bluesky.errors import ConfigError, DataError
from slads_bluesky.images import total_distortion
from slads_bluesky.sampling import (
    initial_pixels,
    knn_reconstruct,
)
from slads_bluesky.sampling.static import StaticSampler


@pytest.mark.parametrize("shape", [(128, 128), (37, 512), (400, 11), (1, 200)])
def test_the_initial_mask_is_spread_more_evenly_than_chance(shape):
    pixels = initial_pixels(shape, 0.05, seed=4)
    size = shape[0] * shape[1]
    assert pixels.dtype == np.int32
    assert pixels.size == round(0.05 * size)
    assert np.unique(pixels).size == pixels.size
    assert np.array_equal(pixels, initial_pixels(shape, 0.05, seed=4))
    assert not np.array_equal(pixels, initial_pixels(shape, 0.05, seed=5))
    everywhere = np.column_stack(np.divmod(np.arange(size), shape[1]))

    def gap(chosen):
        return cKDTree(everywhere[chosen]).query(everywhere)[0].mean()

    chance = np.random.default_rng(0).permutation(size)[: pixels.size]
    assert gap(pixels) < 0.97 * gap(chance)


def test_the_initial_mask_honours_a_mask_and_reaches_every_pixel():
    allowed = np.random.default_rng(1).random((30, 40)) < 0.02
    allowed[3, 3] = True
    pixels = initial_pixels((30, 40), 1.0, allowed=allowed)
    assert sorted(pixels.tolist()) == np.flatnonzero(allowed).tolist()
    assert initial_pixels((1000, 1000), 1e-9).size == 1
    with pytest.raises(ConfigError, match="not 0"):
        initial_pixels((3, 3), 0.0)
    with pytest.raises(DataError, match="empty"):
        initial_pixels((3, 3), 0.5, allowed=np.zeros((3, 3), bool))


def test_reconstruction_votes_without_ill_pixels_and_keeps_measured_ones(oracle, make_blobs):
    truth = make_blobs((14, 19), 2.0, 3, seed=2)
    generator = np.random.default_rng(0)
    measured = np.where(generator.random(truth.shape) < 0.2, truth.astype(np.int16), np.int16(-1))
    measured[generator.random(truth.shape) < 0.05] = 0
    samples = {(int(r), int(c)): int(measured[r, c]) for r, c in np.argwhere(measured > 0)}
    inside = np.ones(truth.shape, bool)
    wanted = oracle.reconstruct(truth.shape, samples, (1, 2, 3), 10, inside)
    found = knn_reconstruct(measured)
    assert all(found[at] == label for at, label in wanted.items())
    with pytest.raises(DataError, match="nothing to reconstruct"):
        knn_reconstruct(np.zeros((3, 3), np.int16))


def test_the_static_estimate_is_about_right(make_blobs):
    truth = make_blobs((96, 96), 5.0, seed=3)
    for order in ("random", "low-discrepancy"):
        sampler = StaticSampler(truth.shape, order, labels=2, seed=1)
        for suggestion in sampler.suggest(900):
            sampler.ingest(suggestion.pixel, int(truth.ravel()[suggestion.pixel]))
        td = total_distortion(truth, sampler.reconstruct())
        assert 0.6 * td < sampler.distortion_estimate() < 1.6 * td
    with pytest.raises(ConfigError, match="'spiral'"):
        StaticSampler((3, 3), "spiral", labels=2)
