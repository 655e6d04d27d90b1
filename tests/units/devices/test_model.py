"""Laws of the simulated column: what both kinds of devices stand on."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slads_bluesky.devices.sim.exposure import PULSE_S, Presets
from slads_bluesky.devices.sim.model import SimulatedSEM
from slads_bluesky.errors import ConfigError, InstrumentError
from slads_bluesky.grid import ScanGrid


@pytest.fixture
def sem(phantom):
    column = SimulatedSEM(phantom, current_na=2.0)
    column.blanked = False
    column.move(x_um=0.5, y_um=0.5)
    return column


def acquire(sem, **presets):
    exposure = sem.start(Presets(**presets))
    exposure.advance(exposure.end_live_s)
    assert exposure.done
    return exposure.finish()


def test_exposure_full_dwell_is_the_record_of_the_object(sem, phantom):
    pixel = sem.grid.pixel(0.5, 0.5)
    for visit in range(3):
        record = acquire(sem, live_s=10.0)
        assert np.array_equal(record.counts, phantom.spectrum(pixel, visit))
        assert record.live_s == 10.0
        assert record.real_s == pytest.approx(10.0 + record.counts.sum() * PULSE_S)
    entry = sem.log[-1]
    assert (entry.pixel, entry.visit, entry.valid) == (pixel, 2, True)
    assert entry.crc32 == zlib.crc32(phantom.spectrum(pixel, 2).astype("<i4").tobytes())


def test_model_dose_is_current_times_unblanked_real_time(sem):
    first = acquire(sem, live_s=1.0)
    assert sem.dose_nc == pytest.approx(2.0 * first.real_s)
    sem.blanked = True
    dark = acquire(sem, live_s=1.0)
    assert dark.counts.sum() == 0
    assert sem.dose_nc == pytest.approx(2.0 * first.real_s)
    assert not sem.log[-1].valid


def test_model_pixel_dose_restarts_after_a_move_only(sem):
    one = acquire(sem, live_s=1.0)
    sem.move(x_um=0.5, y_um=0.5)
    two = acquire(sem, live_s=1.0)
    assert sem.pixel_dose_nc == pytest.approx(2.0 * (one.real_s + two.real_s))
    sem.move(x_um=1.5)
    assert sem.pixel_dose_nc == 0.0


@settings(deadline=None, max_examples=25)
@given(counts=st.integers(1, 5000), low=st.integers(0, 1000), width=st.integers(20, 1039))
def test_exposure_count_preset_ends_at_the_count(phantom, counts, low, width):
    sem = SimulatedSEM(phantom)
    sem.blanked = False
    exposure = sem.start(Presets(live_s=10.0, counts=counts, window=(low, low + width)))
    inside = exposure.advance(exposure.end_live_s).counts[low : low + width + 1].sum()
    if exposure.end_live_s < 10.0:
        assert inside >= counts
        if exposure.end_live_s < 1e-3:
            return
        before = SimulatedSEM(phantom)
        before.blanked = False
        earlier = before.start(Presets(live_s=exposure.end_live_s - 4e-4))
        assert earlier.advance(10.0).counts[low : low + width + 1].sum() < counts
    else:
        assert inside <= counts


def test_exposure_real_time_preset_ends_at_the_time(sem):
    record = acquire(sem, real_s=3.0)
    assert record.real_s == pytest.approx(3.0, abs=2e-3)
    assert record.live_s < 3.0


def test_exposure_two_presets_ends_at_the_first(sem):
    assert acquire(sem, live_s=0.5, real_s=100.0, counts=10**9, window=(0, 2039)).live_s == 0.5


def test_exposure_advance_in_steps_equals_one_step(phantom):
    looked, straight = (SimulatedSEM(phantom) for _ in range(2))
    for column in (looked, straight):
        column.blanked = False
    one, two = looked.start(Presets(live_s=4.0)), straight.start(Presets(live_s=4.0))
    seen = [one.advance(t).counts.sum() for t in (0.1, 0.7, 1.9, 3.0, 4.0)]
    assert seen == sorted(seen)
    two.advance(4.0)
    assert np.array_equal(one.record.counts, two.record.counts)
    assert looked.dose_nc == pytest.approx(straight.dose_nc)


def test_exposure_tripped_beam_is_logged_invalid(sem):
    exposure = sem.start(Presets(live_s=2.0))
    half = exposure.advance(1.0).counts.sum()
    sem.tripped = True
    exposure.advance(2.0)
    assert exposure.record.counts.sum() == half
    assert exposure.record.live_s == 2.0
    exposure.finish()
    assert not sem.log[-1].valid


def test_model_move_outside_the_field_is_refused(sem):
    with pytest.raises(InstrumentError, match=r"x = 16\.6 µm lies outside the field, -16\.0 to 16\.0"):
        sem.move(x_um=16.6)
    with pytest.raises(InstrumentError, match="y = -99"):
        sem.move(y_um=-99.0)
    assert (sem.x_um, sem.y_um) == (0.5, 0.5)


@pytest.mark.parametrize("wrong", [{"live_s": -1.0}, {"real_s": float("nan")}, {"counts": -5}])
def test_presets_negative_are_refused(wrong):
    with pytest.raises(ConfigError, match="presets"):
        Presets(**wrong)


def test_model_other_shape_or_no_current_is_refused(phantom):
    with pytest.raises(ConfigError, match="16, 16"):
        SimulatedSEM(phantom, ScanGrid((16, 16)))
    with pytest.raises(ConfigError, match="current"):
        SimulatedSEM(phantom, current_na=0.0)


def test_exposure_extended_equals_one_without_a_stop(sem, phantom):
    exposure = sem.start(Presets(live_s=10.0, counts=100, window=(0, 2039)))
    exposure.advance(exposure.end_live_s)
    first = exposure.finish()
    assert first.counts.sum() >= 100
    exposure.extend(Presets(live_s=10.0))
    exposure.advance(exposure.end_live_s)
    assert np.array_equal(exposure.finish().counts, phantom.spectrum(sem.grid.pixel(0.5, 0.5)))
    assert sem.dose_nc == pytest.approx(2.0 * exposure.record.real_s)
    assert len(sem.log) == 2
    assert exposure.here
    sem.move(x_um=3.5)
    assert not exposure.here


def test_model_damage_gives_fewer_counts(sem):
    fresh = acquire(sem, live_s=1.0).counts.sum()
    sem.damage_nc = 20.0
    sem.move(x_um=3.5)
    seen = [acquire(sem, live_s=1.0).counts.sum() for _ in range(8)]
    assert seen[0] < fresh
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] < 0.6 * seen[0]


def test_model_fluctuating_current_is_charged_as_it_is(sem):
    sem.noise = 0.05
    before, currents = 0.0, []
    for _ in range(200):
        record = acquire(sem, live_s=0.1)
        currents.append((sem.dose_nc - before) / record.real_s)
        before = sem.dose_nc
    assert np.mean(currents) == pytest.approx(2.0, rel=0.02)
    assert np.std(currents) == pytest.approx(0.1, rel=0.2)
    sem.noise, sem.fade_per_h, sem.clock_s = 0.0, 0.5, 3600.0
    acquire(sem, live_s=0.1)
    assert sem.current_na == pytest.approx(1.0)


def test_model_drift_brings_another_pixel(sem, phantom):
    sem.drift_um_per_s = (0.01, 0.0)
    pixel = sem.grid.pixel(0.5, 0.5)
    acquire(sem, live_s=10.0)
    sem.clock_s = 100.0
    record = acquire(sem, live_s=10.0)
    assert np.array_equal(record.counts, phantom.spectrum(pixel + 1))


def test_exposure_beam_that_comes_late_is_logged_invalid(sem):
    sem.blanked = True
    exposure = sem.start(Presets(live_s=2.0))
    exposure.advance(1.0)
    sem.blanked = False
    exposure.replan()
    exposure.advance(2.0)
    assert exposure.finish().counts.sum() > 0
    assert not exposure.valid
    assert sem.dose_nc == pytest.approx(2.0 * (exposure.record.real_s - 1.0))
