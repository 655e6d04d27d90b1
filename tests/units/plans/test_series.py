"""Points in a given order (a raster, spectra to train on) keep the limits that an adaptive map keeps."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from bluesky.utils import RunEngineInterrupted

from slads_bluesky.errors import ConfigError, InstrumentError
from slads_bluesky.grid import ScanGrid
from slads_bluesky.plans.budget import DoseBudget
from slads_bluesky.plans.collect import collect_phase
from slads_bluesky.plans.raster import raster_map
from slads_bluesky.plans.suspend import beam_suspenders

N = 12


def raster(instrument, **limits):
    roi = np.zeros(instrument.grid.shape, bool)
    roi[3:6, 10:14] = True
    return raster_map(instrument.beam, instrument.eds, ScanGrid(roi.shape, roi=roi), **limits)


def collection(instrument, **limits):
    return collect_phase(instrument.beam, instrument.eds, "Sn", [(0.0, 0.0)], n=N, spread_um=5.0, **limits)


@pytest.fixture(params=[raster, collection])
def series(request):
    return request.param


def test_series_stops_before_its_budget_is_exceeded(series, instrument, RE, documents):
    RE(series(instrument, budget=DoseBudget(run_nc=90.0)), documents)
    events = documents.events()
    first, last = events[0]["data"], events[-1]["data"]
    assert 1 < len(events) < N
    assert last["beam_dose"] - (first["beam_dose"] - first["beam_pixel_dose"]) <= 90.0
    assert documents.stop["exit_status"] == "success"
    assert "dose budget of the run, 90 nC" in documents.stop["reason"]
    assert documents.start["plan_args"]["budget_nc"] == {"run": 90.0, "pixel": None}


def test_pixel_gets_no_more_than_its_budget(series, instrument, RE, documents):
    RE(series(instrument, budget=DoseBudget(pixel_nc=5.0)), documents)
    assert len(documents.events()) == N
    assert all(event["data"]["beam_pixel_dose"] <= 5.001 for event in documents.events())


@pytest.mark.parametrize("fault", ["Short", "Hang"])
def test_point_fault_once_is_measured_again(series, over_ca, sim, RE, documents, fault):
    sim(fault, 1)
    RE(series(over_ca, timeout_s=2.0), documents)
    assert len(documents.events()) == N
    assert "failed" not in documents.stop["num_events"]


def test_point_failing_twice_is_recorded_and_passed_over(series, over_ca, sim, RE, documents):
    sim("Short", 2)
    RE(series(over_ca), documents)
    (failed,) = documents.events("failed")
    assert "1020 channels instead of 2040" in failed["data"]["failed_reason"]
    assert len(documents.events()) == N - 1
    assert documents.stop["exit_status"] == "success"
    assert documents.stop["reason"].endswith(", but for 1 that failed")


def test_run_too_many_failed_points_end_it(series, over_ca, sim, RE, documents):
    sim("Short", 100)
    with pytest.raises(InstrumentError, match=r"2 points failed, the last one because: .*1020 channels"):
        RE(series(over_ca, max_failed_points=1), documents)
    assert documents.stop["exit_status"] == "fail"
    assert over_ca.beam.blanker.get()


def test_series_suspended_by_a_trip_is_completed(series, over_ca, sim, RE, documents):
    sim("Trip", 1)
    lit = threading.Timer(0.5, lambda: sim("Trip", 0))
    lit.start()
    RE(series(over_ca, suspenders=beam_suspenders(over_ca.beam, minimum_na=0.5)), documents)
    lit.join()
    assert len(documents.events()) == N
    assert "failed" not in documents.stop["num_events"]
    assert not RE.suspenders


@pytest.mark.parametrize("limit", [{"dwell_s": 0.0}, {"max_failed_points": -1}])
def test_series_bad_limits_are_refused(series, soft, RE, documents, limit):
    with pytest.raises(ConfigError, match=r"not (0|-1)"):
        RE(series(soft, **limit), documents)
    assert not documents


def test_collect_phase_with_a_stop_rule_puts_it_back_however_it_ends(instrument, RE, documents):
    rule = SimpleNamespace(cap_s=10.0)  # without `reset`: it would fail if it were asked
    instrument.eds.configure({"stop_rule": rule})
    try:
        RE(collection(instrument), documents)
        assert instrument.eds.stop_rule is rule
        assert len(documents.events()) == N
        RE.msg_hook = lambda msg: msg.command == "trigger" and threading.Thread(target=RE.abort).start()
        with pytest.raises(RunEngineInterrupted):
            RE(collection(instrument))
        assert instrument.eds.stop_rule is rule
    finally:
        instrument.eds.configure({"stop_rule": None})
