"""SLADS on grids of a few pixels against the oracle, without training: fast enough to run as plain Python.

`bench mutants` tries its changes of the sampler against this file.
"""

import numpy as np
import pytest
from sampling_fixtures import measure, run_beside

from slads_bluesky.errors import DataError
from slads_bluesky.sampling import SladsModel, SladsSampler, knn_reconstruct
from slads_bluesky.sampling.slads.engine import run_order, run_recorded
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
from slads_bluesky.sampling.slads.simulate import start_field
from slads_bluesky.sampling.slads.state import N_VOTES

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


@pytest.mark.parametrize(
    ("shape", "n_labels", "k"),
    [
        ((7, 9), 2, 4),
        ((1, 19), 2, 4),
        ((6, 18), 3, 4),
        ((17, 2), 4, 4),
        ((5, 8), 2, 4),
        ((6, 9), 3, 1),
        ((3, 40), 2, 4),
    ],
)
def test_small_grid_every_decision_is_the_oracles(oracle, make_blobs, shape, n_labels, k):
    truth = make_blobs(shape, 1.2, n_labels, seed=5)
    truth[np.random.default_rng(1).random(shape) < 0.08] = 0
    sampler = SladsSampler(
        shape, small_model(tuple(range(1, n_labels + 1)), k), labels=n_labels, seed=3, initial=0.06
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


@pytest.mark.parametrize("shape", [(7, 9), (5, 16)])
def test_small_grid_batch_pretends_that_each_pick_was_measured_as_reconstructed(make_blobs, shape):
    truth = make_blobs(shape, 1.2, 3, seed=6)
    sampler = SladsSampler(shape, small_model((1, 2, 3)), labels=3, seed=2, initial=0.1)
    measure(sampler, truth, 20)
    batch = sampler.suggest(6)
    for wanted in batch:
        (found,) = sampler.suggest()
        assert found == wanted
        sampler.ingest(found.pixel, int(sampler.reconstruct().flat[found.pixel]))


def test_small_grid_without_a_phase_in_the_initial_mask_measures_until_there_is_one(oracle, make_blobs):
    shape = (5, 9)
    truth = make_blobs(shape, 1.2, 2, seed=5)
    sampler = SladsSampler(shape, small_model((1, 2)), labels=2, seed=3, initial=0.1)
    late = [s.pixel for s in SladsSampler(shape, sampler.model, labels=2, seed=3, initial=0.3).suggest(14)]
    truth.flat[late[:9]] = 0
    everywhere = np.ones(shape, bool)
    compared = run_beside(oracle, sampler, truth, sampler.model, everywhere, everywhere, truth.size + 1)
    assert compared == truth.size - 10  # nine without a phase, and the one with which decisions begin
    assert sampler.should_stop()


@pytest.mark.parametrize("shape", [(7, 9), (6, 8)])
def test_record_holds_how_the_map_stood_at_each_chosen_pixel(make_blobs, shape):
    """Not of the initial mask, of unclassified pixels, or of one that is measured again."""
    truth = make_blobs(shape, 1.2, 3, seed=8)
    truth[np.random.default_rng(5).random(shape) < 0.15] = 0
    b = 0.3 * np.random.default_rng(4).standard_normal(N_TERMS)
    model = SladsModel(THETA, (1, 2, 3), k=4, radius=3, pixel_error=b)
    sampler = SladsSampler(shape, model, labels=3, seed=2, initial=0.1)
    rows, unclassified = [], 0
    for step in range(40):
        (suggested,) = sampler.suggest()
        label = int(truth.flat[suggested.pixel])
        if not np.isnan(suggested.erd) and label:
            table = feature_table(sampler._built(), np.array([suggested.pixel]))
            error = 1.0 / (1.0 + np.exp(-(pixel_error_terms(table) @ b)[0]))
            rows.append((error, table[0, 1] == 0, sampler.reconstruct().flat[suggested.pixel] != label))
        unclassified += not label
        sampler.ingest(suggested.pixel, label)
        if step == 30:
            sampler.ingest(suggested.pixel, label % 3 + 1)
    assert unclassified > 2
    for found, wanted in zip(sampler.record, np.array(rows).T, strict=True):
        assert found == pytest.approx(wanted, rel=1e-5)


def test_run_on_a_known_image_measures_what_the_sampler_does_and_records_its_picks(make_blobs):
    """The last pick of a run too: nothing after it would show that it was not taken."""
    shape = (7, 17)
    truth = make_blobs(shape, 1.2, 3, seed=9)
    truth[np.random.default_rng(6).random(shape) < 0.1] = 0
    sampler = SladsSampler(shape, small_model((1, 2, 3)), labels=3, seed=4, initial=0.1)
    initial = np.array(measure(sampler, truth, sampler.n_initial), np.int32)
    field, known, _, n_labels = start_field(truth, sampler.model, initial)
    order, n = np.zeros(truth.size, np.int32), len(initial) + 30
    features, missed = np.zeros((truth.size, 6)), np.zeros(truth.size, bool)
    assert run_recorded(field, known, order, features, missed, len(initial), n, n_labels) == n
    for i in range(len(initial), n):
        pixel = sampler.suggest()[0].pixel
        assert pixel == order[i]
        assert feature_table(sampler._built(), np.array([pixel]))[0] == pytest.approx(features[i], rel=1e-6)
        assert missed[i] == (truth.flat[pixel] > 0 and truth.flat[pixel] != sampler.reconstruct().flat[pixel])
        sampler.ingest(pixel, int(truth.flat[pixel]))
    assert field.counts[N_VOTES] == (sampler.measured > 0).sum()
    again, others = start_field(truth, sampler.model, initial)[0], np.zeros(truth.size, np.int32)
    assert run_order(again, known, others, len(initial), n, n_labels) == n
    assert list(others[:n]) == list(order[:n])


def test_distortion_estimate_after_each_label_is_that_of_a_sampler_without_a_past(make_blobs):
    shape = (7, 9)
    truth = make_blobs(shape, 1.2, 2, seed=3)
    rng = np.random.default_rng(2)
    runs = np.column_stack([rng.normal(size=(200, 5)), 0.3 * rng.normal(size=200), np.arange(200) // 4])
    model = SladsModel(
        THETA, (1, 2), k=4, radius=3, pixel_error=np.full(N_TERMS, -0.1), calibration_runs=runs
    )
    sampler, taken, found = (SladsSampler(shape, model, labels=2, seed=1, initial=0.1), [], [])
    for _ in range(12):
        taken += measure(sampler, truth, 1)
        found.append(sampler.distortion_interval())
    for n in (8, 12):
        fresh = SladsSampler(shape, model, labels=2, seed=1, initial=0.1)
        for pixel in taken[:n]:
            fresh.ingest(pixel, int(truth.flat[pixel]))
        assert fresh.distortion_interval() == found[n - 1]
    assert len(set(found)) > 6
    assert sampler.distortion_bound() == sampler.distortion_bound(0.95) > sampler.distortion_bound(0.5)
    assert isinstance(sampler.stop_function, float)


def test_sampler_without_a_seed_takes_that_of_zero(make_blobs):
    truth = make_blobs((7, 9), 1.2, 2, seed=3)
    model = SladsModel(THETA, (1, 2), k=4, radius=3)
    taken = [
        measure(SladsSampler(truth.shape, model, labels=2, initial=0.3, **seed), truth, 12)
        for seed in ({}, {"seed": 0}, {"seed": 1})
    ]
    assert taken[0] == taken[1] != taken[2]


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


@pytest.mark.parametrize("ridge", [1e-3, 10.0])
def test_fit_of_the_pixel_error_is_the_largest_penalised_likelihood_also_where_classes_part(ridge):
    """Beyond the steps of Newton's method alone, which overshoot where features tell right from wrong."""
    rng = np.random.default_rng(1)
    n = 300
    table = np.column_stack([rng.random((n, 2)), 1 + 9 * rng.random((n, 2)), *rng.integers(0, 2, (2, n))])
    wrong = table[:, 0] + 0.02 * rng.normal(size=n) > 0.9
    terms = pixel_error_terms(table)
    weight, z = 1000.0 / wrong.sum(), terms[:, 1:]
    mean, scale = z.mean(axis=0), z.std(axis=0)

    def loss(raw):
        value, scaled = terms @ raw, raw[1:] * scale
        return weight * (np.logaddexp(0.0, value) - wrong * value).sum() + 0.5 * ridge * (scaled**2).sum()

    found = fit_pixel_error(table, wrong, np.ones(n), ridge=ridge)
    least = loss(found)
    for i, step in enumerate([0.05, *(0.05 / scale)]):
        for sign in (-1.0, 1.0):
            other = found.copy()
            other[i] += sign * step
            if i:  # as the standardised coefficient does, the mean left alone
                other[0] -= sign * step * mean[i - 1]
            assert loss(other) > least - 1e-3 * abs(least)


def test_gaussian_reduction_counts_wrong_pixels_within_its_window():
    wrong = np.zeros((20, 30), bool)
    wrong[4, 5] = wrong[4, 5 + HALF_WINDOW] = wrong[4 + HALF_WINDOW + 1, 5] = wrong[0, 0] = True
    found = gaussian_reduction(wrong, np.array([4 * 30 + 5]), np.array([4.0]), np.array([2.0, 8.0]))
    distances = np.array([0, HALF_WINDOW**2, 4**2 + 5**2])
    wanted = [np.exp(-0.5 * distances * c * c / 4.0).sum() for c in (2.0, 8.0)]
    assert found[0] == pytest.approx(wanted)
