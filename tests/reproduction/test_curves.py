"""Curves of distortion against samples, and the sampler that knows the truth."""

import numpy as np
import pytest

from slads_bluesky.phantom import make_labels
from slads_bluesky.reproduction.curves import checkpoints, distortions, knn, oracle_order, reached_at
from slads_bluesky.sampling import initial_pixels

TRUTH = make_labels("pbsn", 64, 2)


@pytest.fixture(scope="module")
def order():
    return initial_pixels(TRUTH.shape, 0.4, seed=1)


def test_checkpoints_run_from_one_per_cent_to_the_end():
    numbers = checkpoints(4096, 800)
    assert numbers[0] == 40
    assert numbers[-1] == 800
    assert (np.diff(numbers) > 0).all()
    assert checkpoints(4096, 10).tolist() == [10]


def test_the_last_distortion_is_that_of_the_whole_run(order):
    labels = TRUTH.ravel()[order]
    measured = np.full(TRUTH.shape, -1, np.int16)
    measured.ravel()[order] = labels
    curve = distortions(TRUTH, order, labels, [200, order.size])
    assert curve[1] == (knn(measured) != TRUTH).mean()
    assert curve[0] > curve[1]


def test_nothing_but_ill_pixels_gives_no_distortion(order):
    curve = distortions(TRUTH, order, np.zeros(order.size, int), [10])
    assert np.isnan(curve[0])


def test_reached_at_finds_the_first_number_that_does(order):
    labels = TRUTH.ravel()[order]
    numbers = checkpoints(TRUTH.size, order.size, 8)
    curve = distortions(TRUTH, order, labels, numbers)
    target = float(np.sqrt(curve[3] * curve[4]))
    n = reached_at(TRUTH, order, labels, target, numbers=numbers, curve=curve)
    assert numbers[3] < n <= numbers[4]
    assert distortions(TRUTH, order, labels, [n])[0] <= target
    assert reached_at(TRUTH, order, labels, -1.0, numbers=numbers, curve=curve) is None


def test_the_oracle_needs_far_fewer_than_a_static_mask(order):
    start = initial_pixels(TRUTH.shape, 0.01, seed=1)
    best = oracle_order(TRUTH, start, 400)
    assert len(set(best.tolist())) == best.size
    np.testing.assert_array_equal(best[: start.size], start)
    static, oracle = (distortions(TRUTH, o, TRUTH.ravel()[o], [400])[0] for o in (order, best))
    assert oracle < 0.6 * static


def test_the_oracle_ends_when_the_map_is_right():
    best = oracle_order(TRUTH, initial_pixels(TRUTH.shape, 0.01, seed=1), TRUTH.size)
    assert best.size < 0.3 * TRUTH.size
    assert distortions(TRUTH, best, TRUTH.ravel()[best], [best.size])[0] == 0
