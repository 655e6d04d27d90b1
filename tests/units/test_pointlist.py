"""Lists of points: order, settle times, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slads_bluesky.errors import ConfigError
from slads_bluesky.pointlist import PointList, Settling, settle_times, short_way


def make(x, y, dwell=1e-3):
    n = len(x)
    zeros = np.zeros(n, np.int64)
    return PointList(
        np.asarray(x, float), np.asarray(y, float), np.full(n, dwell), np.arange(n), zeros, zeros,
        np.zeros(n), zeros,
    )  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=60), st.booleans())
def test_short_way_visits_every_point_once(points, from_somewhere):
    x, y = (np.array([p[i] for p in points], float) for i in (0, 1))
    order = short_way(x, y, (3.0, 4.0) if from_somewhere else None)
    assert sorted(order.tolist()) == list(range(len(points)))


@pytest.mark.parametrize("n", [30, 164, 3000])
def test_short_way_is_near_the_best_length(n):
    rng = np.random.default_rng(n)
    x, y = rng.random(n) * 100.0, rng.random(n) * 100.0
    order = short_way(x, y)
    length = np.hypot(np.diff(x[order]), np.diff(y[order])).sum()
    assert length < 1.2 * np.sqrt(n * 100.0**2)
    assert length < 0.5 * np.hypot(np.diff(x), np.diff(y)).sum()


def test_short_way_begins_at_the_end_nearer_to_the_beam():
    x, y = np.array([0.0, 1.0, 2.0, 3.0]), np.zeros(4)
    assert short_way(x, y, (3.5, 0.0)).tolist() == [3, 2, 1, 0]
    assert short_way(x, y, (-0.5, 0.0)).tolist() == [0, 1, 2, 3]


def test_settle_times_grow_with_distance_up_to_the_longest():
    settling = Settling(50e-6, 1e-6, 200e-6)
    times = settle_times(np.array([0.0, 100.0, 1100.0]), np.zeros(3), settling, (0.0, 0.0))
    assert times == pytest.approx([50e-6, 150e-6, 200e-6])


def test_hardware_time_is_the_sum_of_dwells_and_settle_times():
    points = make([0.0, 1.0, 2.0], [0.0, 0.0, 0.0])
    assert points.hardware_s(Settling(50e-6)) == pytest.approx(3 * 1.05e-3)


def test_a_list_of_unequal_arrays_is_refused():
    with pytest.raises(ConfigError, match="different lengths"):
        make([0.0, 1.0], [0.0])


def test_a_dwell_of_zero_is_refused():
    with pytest.raises(ConfigError, match="dwells positive"):
        make([0.0], [0.0], dwell=0.0)
