"""Distortion curves, and the sampler that knows the truth."""

import numpy as np
import pytest

from slads_bluesky.evaluation.paper.curves import DistortionCurve, checkpoints, knn, map_of, oracle_order
from slads_bluesky.phantom import make_labels
from slads_bluesky.sampling import initial_pixels
from slads_bluesky.sampling.slads.reconstruct import knn_reconstruct

TRUTH = make_labels("pbsn", 64, 2)


@pytest.fixture(scope="module")
def order():
    return initial_pixels(TRUTH.shape, 0.4, seed=1)


def curve_of(order, labels=None, **how):
    return DistortionCurve(TRUTH, order, TRUTH.ravel()[order] if labels is None else labels, **how)


def test_checkpoints_of_a_run_span_one_per_cent_to_its_end():
    numbers = checkpoints(4096, 800)
    assert numbers[0] == 40
    assert numbers[-1] == 800
    assert (np.diff(numbers) > 0).all()
    assert checkpoints(4096, 10).tolist() == [10]


def test_distortion_curve_at_the_end_equals_that_of_the_whole_run(order):
    curve = curve_of(order).curve([200, order.size])
    measured = map_of(TRUTH.shape, order, TRUTH.ravel()[order])
    assert curve[1] == (knn_reconstruct(measured) != TRUTH).mean()
    assert curve[0] > curve[1]


def test_distortion_curve_without_a_classified_pixel_is_nan(order):
    assert np.isnan(curve_of(order, np.zeros(order.size, int)).at(10))


def test_distortion_curve_counting_invalid_pixels_follows_the_paper_s_definition(order):
    labelled, labels = TRUTH.copy(), TRUTH.ravel()[order]
    met, missed = int(order[3]), int(np.setdiff1d(np.arange(TRUTH.size), order)[0])
    labelled.ravel()[[met, missed]] = 0
    labels[3] = 0
    found = curve_of(order, labels, labelled=labelled)
    reconstruction = knn(TRUTH.shape, order, labels)
    clean = reconstruction != TRUTH
    wanted = clean.sum() - int(clean.ravel()[met]) - int(clean.ravel()[missed]) + 1
    assert found.at(order.size, count_invalid=True) * TRUTH.size == pytest.approx(wanted)
    assert found.at(order.size) == clean.mean()


def test_distortion_curve_of_counted_pixels_ignores_the_others(order):
    whole = curve_of(order, TRUTH.ravel()[order])
    n = len(order) // 3
    wrong = knn(TRUTH.shape, order[:n], TRUTH.ravel()[order[:n]]) != TRUTH
    assert wrong.any()
    assert whole.at(n) == wrong.mean()
    half = np.zeros(TRUTH.shape, bool)
    half[:, : TRUTH.shape[1] // 2] = True
    assert curve_of(order, TRUTH.ravel()[order], counted=half).at(n) == wrong[half].mean()
    assert curve_of(order, TRUTH.ravel()[order], counted=~wrong).at(n) == 0


def test_distortion_curve_asked_twice_reconstructs_once(order):
    asked = []

    def counting(shape, pixels, labels):
        asked.append(len(pixels))
        return knn(shape, pixels, labels)

    found = curve_of(order, reconstruct=counting)
    numbers = checkpoints(TRUTH.size, order.size, 8)
    found.curve(numbers)
    found.first_at(0.05, numbers)
    found.first_at(0.05, numbers, count_invalid=True)
    assert len(asked) == len(set(asked))


def test_first_at_a_target_returns_the_fewest_measurements(order):
    found = curve_of(order)
    numbers = checkpoints(TRUTH.size, order.size, 8)
    curve = found.curve(numbers)
    target = float(np.sqrt(curve[3] * curve[4]))
    n = found.first_at(target, numbers)
    assert numbers[3] < n <= numbers[4]
    assert found.at(n) <= target
    assert found.first_at(-1.0, numbers) is None


def test_oracle_order_against_a_static_mask_needs_fewer_pixels(order):
    start = initial_pixels(TRUTH.shape, 0.01, seed=1)
    best = oracle_order(TRUTH, start, 400)
    assert len(set(best.tolist())) == best.size
    np.testing.assert_array_equal(best[: start.size], start)
    static, oracle = (curve_of(o).at(400) for o in (order, best))
    assert oracle < 0.6 * static


def test_oracle_order_of_a_right_map_ends():
    best = oracle_order(TRUTH, initial_pixels(TRUTH.shape, 0.01, seed=1), TRUTH.size)
    assert best.size < 0.3 * TRUTH.size
    assert curve_of(best).at(best.size) == 0
