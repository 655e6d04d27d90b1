"""SLADS on grids of a few pixels against the oracle, without training: fast enough to run as plain Python.

`bench mutants` tries its changes of the sampler against this file.
"""

import numpy as np
import pytest
from sampling_fixtures import run_beside

from slads_bluesky.errors import DataError
from slads_bluesky.sampling import SladsModel, SladsSampler, knn_reconstruct
from slads_bluesky.sampling.slads.features import feature_table
from slads_bluesky.sampling.slads.model import TERMS
from slads_bluesky.sampling.slads.pixel_error import (
    N_TERMS,
    fit_pixel_error,
    map_pixel_error,
    pixel_error_at,
    pixel_error_terms,
)
from slads_bluesky.sampling.slads.reduction import HALF_WINDOW, gaussian_reduction

# as plain Python, lanes that hold no pixel warn of their roots and overflows
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

THETA = np.random.default_rng(7).standard_normal(len(TERMS)).astype(np.float32)


def small_model(labels, k=4, radius=3):
    return SladsModel(THETA, labels, k=k, radius=radius)


@pytest.fixture
def begun(make_blobs):
    """A sampler that has measured a quarter of a grid, some of it without a label, and the samples."""
    truth = make_blobs((9, 11), 1.5, 3, seed=2)
    truth[np.random.default_rng(3).random(truth.shape) < 0.1] = 0
    sampler = SladsSampler(truth.shape, small_model((1, 2, 3)), labels=3, seed=1, initial=0.1)
    samples = {}
    for _ in range(25):
        pixel = sampler.suggest()[0].pixel
        label = int(truth.flat[pixel])
        sampler.ingest(pixel, label)
        if label:
            samples[divmod(pixel, 11)] = label
    return sampler, samples


@pytest.mark.parametrize(("shape", "n_labels"), [((7, 9), 2), ((1, 19), 2), ((6, 18), 3), ((17, 2), 4)])
def test_small_grid_every_decision_is_the_oracles(oracle, make_blobs, shape, n_labels):
    truth = make_blobs(shape, 1.2, n_labels, seed=5)
    truth[np.random.default_rng(1).random(shape) < 0.08] = 0
    sampler = SladsSampler(
        shape, small_model(tuple(range(1, n_labels + 1))), labels=n_labels, seed=3, initial=0.06
    )
    everywhere = np.ones(shape, bool)
    compared = run_beside(oracle, sampler, truth, sampler.model, everywhere, everywhere, truth.size + 1)
    assert compared > truth.size // 2
    assert sampler.should_stop()


def test_small_grid_with_masks_and_labels_that_change_decides_as_the_oracle(oracle, make_blobs):
    shape = (8, 10)
    truth = make_blobs(shape, 1.5, 3, seed=7)
    generator = np.random.default_rng(2)
    inside, forbidden = generator.random(shape) < 0.85, generator.random(shape) < 0.1
    sampler = SladsSampler(
        shape, small_model((1, 2, 3), k=5), labels=3, seed=1, initial=0.1, roi=inside, forbidden=forbidden
    )
    relabel = {12: (3, 2), 16: (5, 0), 20: (5, 3), 24: (0, 1)}
    compared = run_beside(
        oracle, sampler, truth, sampler.model, inside, inside & ~forbidden, truth.size, relabel
    )
    assert compared > 25


def test_small_grid_batch_is_that_of_single_decisions_without_new_labels(begun):
    sampler, _ = begun
    batch = [s.pixel for s in sampler.suggest(5)]
    assert len(set(batch)) == 5
    assert batch[0] == sampler.suggest()[0].pixel
    assert not {int(p) for p in np.flatnonzero(sampler.measured.ravel() >= 0)} & set(batch)


def test_reconstruction_of_measured_labels_is_the_oracles(oracle, begun):
    sampler, samples = begun
    inside = np.ones((9, 11), bool)
    inside[:, 9:] = False
    samples = {at: label for at, label in samples.items() if inside[at]}
    found = knn_reconstruct(sampler.measured, k=4, roi=inside)
    wanted = oracle.reconstruct((9, 11), samples, (1, 2, 3), 4, inside)
    assert all(found[at] == label for at, label in wanted.items())
    with pytest.raises(DataError, match="no pixel with a phase"):
        knn_reconstruct(np.where(sampler.measured > 0, -1, sampler.measured))
    many = np.arange(1, 65, dtype=np.int16).reshape(8, 8)
    with pytest.raises(DataError, match="64 different labels"):
        knn_reconstruct(many)


def test_features_of_unmeasured_pixels_are_the_oracles(oracle, begun):
    sampler, samples = begun
    recon = oracle.reconstruct((9, 11), samples, sampler.labels, 4, np.ones((9, 11), bool))
    assert all(sampler.reconstruct()[at] == label for at, label in recon.items())
    free = np.array([p for p in range(99) if divmod(p, 11) not in samples])
    wanted = [oracle.features(divmod(p, 11), samples, recon, sampler.labels, 4, 3) for p in free]
    assert feature_table(sampler._built(), free) == pytest.approx(np.array(wanted), rel=1e-6)


def test_pixel_error_of_a_map_is_the_sum_of_its_logistic_function(begun):
    sampler, samples = begun
    field = sampler._built()
    b = 0.3 * np.random.default_rng(4).standard_normal(N_TERMS)
    free = np.array([p for p in range(99) if divmod(p, 11) not in samples])
    table = feature_table(field, free)
    error = 1.0 / (1.0 + np.exp(-(pixel_error_terms(table) @ b)))
    total, agreed, n_total, n_agreed = map_pixel_error(field, b)
    calm = table[:, 1] == 0
    assert (n_total, n_agreed) == (free.size, int(calm.sum()))
    assert (total, agreed) == pytest.approx((error.sum(), error[calm].sum()))
    for pixel, value in zip(free[:8], error, strict=False):
        row, column = divmod(int(pixel), 11)
        assert pixel_error_at(field, row * 2 + column // 8, column % 8, b) == pytest.approx(value)


def test_fit_of_the_pixel_error_gives_back_the_coefficients_that_made_it():
    rng = np.random.default_rng(0)
    n = 40_000
    table = np.column_stack(
        [
            rng.random(n),
            rng.random(n),
            1 + 9 * rng.random(n),
            1 + 20 * rng.random(n),
            *rng.integers(0, 2, (2, n)),
        ]
    ).astype(float)
    b = np.array([-1.5, 1.0, 0.8, 0.5, 0.4, -0.3, 0.3, -0.2, 0.2, 0.1, 0.3, -0.4, 0.2, -0.1])
    p = 1.0 / (1.0 + np.exp(-(pixel_error_terms(table) @ b)))
    found = fit_pixel_error(table, rng.random(n) < p, np.ones(n))
    fitted = 1.0 / (1.0 + np.exp(-(pixel_error_terms(table) @ found)))
    assert np.abs(fitted - p).mean() < 0.01
    assert abs(fitted.mean() - p.mean()) < 0.005
    weighted = fit_pixel_error(table, rng.random(n) < p, np.where(table[:, 4] > 0, 3.0, 1.0))
    assert np.isfinite(weighted).all()


def test_gaussian_reduction_counts_wrong_pixels_within_its_window():
    wrong = np.zeros((20, 30), bool)
    wrong[4, 5] = wrong[4, 5 + HALF_WINDOW] = wrong[4 + HALF_WINDOW + 1, 5] = wrong[0, 0] = True
    found = gaussian_reduction(wrong, np.array([4 * 30 + 5]), np.array([4.0]), np.array([2.0, 8.0]))
    distances = np.array([0, HALF_WINDOW**2, 4**2 + 5**2])
    wanted = [np.exp(-0.5 * distances * c * c / 4.0).sum() for c in (2.0, 8.0)]
    assert found[0] == pytest.approx(wanted)
