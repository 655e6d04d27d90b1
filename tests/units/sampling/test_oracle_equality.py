"""The incremental sampler against the slow, literal oracle: the same decision and ERD at every step."""

import numpy as np
import pytest
from sampling_fixtures import run_beside

from slads_bluesky.sampling import SladsModel, SladsSampler, sampling_order


@pytest.mark.parametrize(("shape", "n_labels"), [((9, 14), 2), ((17, 5), 3), ((1, 23), 2), ((9, 13), 4)])
def test_every_decision_down_to_the_last_pixel(oracle, make_blobs, model, shape, n_labels):
    truth = make_blobs(shape, 1.5, n_labels, seed=3)
    truth[np.random.default_rng(1).random(shape) < 0.05] = 0
    sampler = SladsSampler(shape, model, labels=n_labels, seed=5, initial=0.03)
    everywhere = np.ones(shape, bool)
    steps = truth.size + 1
    assert run_beside(oracle, sampler, truth, model, everywhere, everywhere, steps) > truth.size // 2
    assert sampler.should_stop()
    assert sampler.n_measured == truth.size


def test_masks_ill_and_relabelled_pixels(oracle, make_blobs, model_four):
    shape = (12, 15)
    truth = make_blobs(shape, 2.0, 4, seed=7)
    generator = np.random.default_rng(2)
    truth[generator.random(shape) < 0.1] = 0
    y, x = np.mgrid[: shape[0], : shape[1]]
    inside = ((y - 6) / 7) ** 2 + ((x - 7) / 8) ** 2 < 1
    forbidden = generator.random(shape) < 0.1
    sampler = SladsSampler(shape, model_four, labels=4, seed=1, initial=0.1, roi=inside, forbidden=forbidden)
    relabel = {25: (3, 2), 30: (10, 0), 35: (10, 4), 40: (0, 1), 44: (7, 3), 50: (20, 0)}
    compared = run_beside(
        oracle, sampler, truth, model_four, inside, inside & ~forbidden, truth.size, relabel
    )
    assert compared > 60


def test_ties_of_a_symmetric_object(oracle, model):
    """A symmetric start and a symmetric object make many pixels equal: the first in C order is chosen."""
    shape = (16, 16)
    truth = np.ones(shape, np.uint8)
    truth[4:12, 4:12] = 2
    flat = SladsModel(model.theta, (1, 2), k=4, radius=3)
    sampler = SladsSampler(shape, flat, labels=2, seed=0, initial=1 / 256)
    everywhere = np.ones(shape, bool)
    samples, free = {}, everywhere.copy()
    for row in range(0, 16, 5):
        for column in range(0, 16, 5):
            sampler.ingest(row * 16 + column, int(truth[row, column]))
            samples[row, column] = int(truth[row, column])
            free[row, column] = False
    for pixel in [s.pixel for s in sampler.suggest(4) if np.isnan(s.erd)]:
        sampler.ingest(pixel, int(truth.ravel()[pixel]))
        samples[divmod(pixel, 16)] = int(truth.ravel()[pixel])
        free.ravel()[pixel] = False
    for _ in range(60):
        suggestion = sampler.suggest()[0]
        wanted = oracle.decide(shape, samples, flat.theta, (1, 2), 4, 3, everywhere, free)
        assert (suggestion.pixel, np.float32(suggestion.erd)) == wanted
        label = int(truth.ravel()[suggestion.pixel])
        sampler.ingest(suggestion.pixel, label)
        samples[divmod(suggestion.pixel, 16)] = label
        free.ravel()[suggestion.pixel] = False


@pytest.mark.parametrize("shape", [(40, 33), (25, 61)])
def test_the_compiled_loop_makes_the_same_decisions(make_blobs, model, shape):
    truth = make_blobs(shape, 3.0, seed=11)
    truth[np.random.default_rng(4).random(shape) < 0.05] = 0
    order = sampling_order(truth, model, truth.size, seed=9)
    assert sorted(order.tolist()) == list(range(truth.size))
    sampler = SladsSampler(shape, model, labels=2, seed=9)
    for pixel in order:
        assert sampler.suggest()[0].pixel == pixel
        sampler.ingest(int(pixel), int(truth.ravel()[pixel]))
