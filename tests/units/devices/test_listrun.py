"""A point list as pure state: what a beam that changes in its middle does to which pixel."""

from __future__ import annotations

import numpy as np
import pytest

from slads_bluesky.devices.sim.listrun import ListRun
from slads_bluesky.devices.sim.model import SimulatedSEM
from slads_bluesky.errors import InstrumentError
from slads_bluesky.pointlist import Settling


@pytest.fixture
def sem(phantom):
    return SimulatedSEM(phantom)


def start(sem, n=10, settle=0.5e-3):
    x = np.arange(n) - 15.5
    return ListRun(sem, x, np.full(n, -15.5), np.full(n, 1e-3), Settling(settle))


def test_whole_points_are_over_when_their_dwell_is(sem):
    run = start(sem)
    run.advance(3.2e-3)
    assert (run.reached, run.waiting, run.over) == (2, 2, False)
    run.advance(1.0)
    assert run.over
    buffer = run.hand_over(100)
    assert buffer.first == 0
    assert buffer.spectra.shape == (10, 2040)
    assert buffer.real_s == pytest.approx(np.full(10, 1e-3))
    assert buffer.live_s == pytest.approx(1e-3 - buffer.spectra.sum(1) * 36e-6)
    assert buffer.charge_nc == pytest.approx(np.full(10, 1e-3))
    assert sem.dose_nc == pytest.approx(10e-3)
    assert sem.blanked


def test_a_trip_takes_the_charge_of_exactly_the_points_that_it_hit(sem):
    run = start(sem)
    run.advance(5.5e-3, partly=True)  # half of the fourth point's dwell
    sem.tripped = True
    run.advance(8.2e-3, partly=True)  # a fifth of the sixth point's dwell
    sem.tripped = False
    run.advance(1.0)
    charge = run.hand_over(100).charge_nc * 1e3
    assert charge == pytest.approx([1, 1, 1, 0.5, 0, 0.8, 1, 1, 1, 1], abs=1e-6)


def test_a_beam_that_another_client_moves_during_a_list_is_where_the_generator_has_it(sem):
    run = start(sem)
    run.advance(5.5e-3, partly=True)  # half of the fourth point's dwell
    sem.move(x_um=12.0, y_um=12.0)
    run.advance(1.0)
    visited = [entry.pixel for entry in sem.log]
    assert visited == [0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9]
    assert run.hand_over(100).charge_nc == pytest.approx(np.full(10, 1e-3))


def test_points_are_handed_over_in_order_and_once(sem):
    run = start(sem)
    run.advance(1.0)
    firsts = [run.hand_over(4).first for _ in range(3)]
    assert firsts == [0, 4, 8]
    assert run.waiting == 0


def test_a_point_outside_the_field_is_refused_before_any_is_visited(sem):
    with pytest.raises(InstrumentError, match="outside the field"):
        ListRun(sem, np.array([0.0, 99.0]), np.zeros(2), np.full(2, 1e-3), Settling())
    assert sem.dose_nc == 0.0


def test_each_visit_of_a_pixel_is_another_spectrum(sem):
    spectra = []
    for _ in range(2):
        run = start(sem, n=1)
        run.advance(1.0)
        spectra.append(run.hand_over(1).spectra[0])
    assert not np.array_equal(*spectra)
