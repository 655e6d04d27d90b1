"""Labels that may be wrong: found by hold-out validation, and overruled in the reconstruction."""

import numpy as np
import pytest
from sampling_fixtures import blobs, measure

from slads_bluesky.sampling import LearnedSampler
from slads_bluesky.sampling.learned.label_errors import find_label_errors


@pytest.fixture(scope="module")
def truth():
    return blobs((80, 80), 5.0, n_labels=2, seed=8)


def mapped(truth, n=900):
    sampler = LearnedSampler(truth.shape, labels=2, seed=2)
    measure(sampler, truth, n)
    return sampler


def test_label_errors_of_true_labels_are_none(truth):
    sampler = mapped(truth)
    errors = sampler.label_errors()
    assert errors.share == 0.0
    assert errors.pixels.size == 0
    assert np.array_equal(sampler.reconstruct(), sampler.prediction().labels)


def test_label_errors_of_speckle_are_found_and_overruled(truth):
    rng = np.random.default_rng(3)
    speckle = rng.random(truth.shape) < 0.04
    noisy = np.where(speckle, 3 - truth, truth).astype(np.uint8)
    sampler = mapped(noisy)
    errors = sampler.label_errors()
    wrong = noisy.flat[errors.pixels] != truth.flat[errors.pixels]
    assert 0.01 <= errors.share <= 0.08
    sparse = find_label_errors(sampler.mapper.probabilities, sampler.measured, 0.9, 0)
    assert sparse.share == 0.0  # for a map of so many boundaries
    assert errors.pixels.size >= 5
    assert wrong.mean() >= 0.9
    kept = np.mean(sampler.prediction().labels != truth)
    assert np.mean(sampler.reconstruct() != truth) < kept
