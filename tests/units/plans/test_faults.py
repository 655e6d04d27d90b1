"""Scenes of things that go wrong at the microscope while a map is made."""

from __future__ import annotations

import itertools
import json
import threading

import numpy as np
import pytest

from slads_bluesky.errors import ConfigError, InstrumentError
from slads_bluesky.plans import away
from slads_bluesky.plans.adaptive import adaptive_map
from slads_bluesky.plans.budget import DoseBudget
from slads_bluesky.plans.suspend import beam_suspenders


def after_triggers(n, action):
    """A message hook that acts, off the loop, at the n-th trigger."""
    seen = itertools.count(1)

    def hook(msg):
        if msg.command == "trigger" and next(seen) == n:
            threading.Thread(target=action).start()

    return hook


@pytest.mark.parametrize("fault", ["Short", "TripNext", "Hang"])
def test_point_fault_once_is_measured_again(over_ca, phantom, sim, make_agent, RE, documents, fault):
    sim(fault, 1)
    agent = make_agent(8)
    seen = []
    if fault == "TripNext":  # the beam comes back before the second try
        RE.msg_hook = lambda msg: (seen.append(msg), msg.command == "sleep" and sim("Trip", 0, wait=False))
    RE(adaptive_map(over_ca.beam, over_ca.eds, agent, timeout_s=2.0), documents)
    events = documents.events()
    assert len(events) == 8
    assert documents.stop["num_events"].get("failed", 0) == 0
    first = events[0]["data"]
    assert np.array_equal(first["eds_spectrum"], phantom.spectrum(first["scan_pixel"], visit=1))
    assert first["beam_pixel_dose"] >= first["eds_real_time"]  # the first try's charge is not forgotten
    assert first["eds_verdict"] != "ill" or agent.labels[first["scan_pixel"]] == 0


def test_point_failing_twice_is_recorded_and_passed_over(over_ca, sim, make_agent, RE, documents):
    sim("Short", 2)
    agent = make_agent(8)
    RE(adaptive_map(over_ca.beam, over_ca.eds, agent), documents)
    failed = documents.events("failed")
    assert len(failed) == 1
    data = failed[0]["data"]
    assert "1020 channels instead of 2040" in data["failed_reason"]
    assert agent.labels[data["scan_pixel"]] == 0
    assert data["eds_verdict"] == "ill"
    assert data["scan_pixel"] not in [event["data"]["scan_pixel"] for event in documents.events()]
    assert len(documents.events()) == 7
    assert documents.stop["exit_status"] == "success"


def test_run_too_many_failed_points_end_it(over_ca, sim, make_agent, RE, documents):
    sim("Short", 100)
    with pytest.raises(InstrumentError, match=r"3 points failed, the last one because: .*1020 channels"):
        RE(adaptive_map(over_ca.beam, over_ca.eds, make_agent(50), max_failed_points=2), documents)
    assert documents.stop["exit_status"] == "fail"
    assert "3 points failed" in documents.stop["reason"]
    assert len(documents.events("failed")) == 3
    assert over_ca.beam.blanker.get()


def test_point_empty_spectrum_has_no_vote(over_ca, sim, make_agent, RE, documents):
    sim("Empty", 1)
    agent = make_agent(4)
    RE(adaptive_map(over_ca.beam, over_ca.eds, agent), documents)
    first = documents.events()[0]["data"]
    assert first["eds_counts"] == 0
    assert first["eds_verdict"] == "ill"
    assert agent.labels[first["scan_pixel"]] == 0


def test_point_late_answer_is_waited_for(over_ca, sim, make_agent, RE, documents):
    sim("Late", 0.3)
    RE(adaptive_map(over_ca.beam, over_ca.eds, make_agent(2), timeout_s=30.0), documents)
    assert len(documents.events()) == 2
    assert documents.stop["num_events"].get("failed", 0) == 0


def test_run_survives_a_lost_connection(over_ca, sim, make_agent, RE, documents, monkeypatch):
    monkeypatch.setattr("slads_bluesky.plans.stubs.MOVE_TIMEOUT_S", 2.0)
    RE.msg_hook = after_triggers(5, lambda: sim("Disconnect", 1, wait=False))
    RE(adaptive_map(over_ca.beam, over_ca.eds, make_agent(20), timeout_s=5.0), documents)
    recorded = len(documents.events()) + documents.stop["num_events"].get("failed", 0)
    assert recorded == 20
    assert documents.stop["exit_status"] == "success"
    assert over_ca.beam.blanker.get()


def test_run_suspended_by_a_trip_measures_again(over_ca, phantom, ioc_log, sim, make_agent, RE, documents,
                                                            belong_together, classifier):  # fmt: skip
    already = len(ioc_log.read_text().splitlines()) if ioc_log.exists() else 0
    agent, resumed = make_agent(60), threading.Event()
    paused_for = []

    def trip_and_return():
        sim("Trip", 1)
        while RE._task is not None and not documents_blanked():
            pass
        sim("Trip", 0)
        resumed.set()

    def documents_blanked():
        paused_for.append(1)
        return over_ca.beam.blanker.get()

    RE.msg_hook = after_triggers(20, trip_and_return)
    watching = beam_suspenders(over_ca.beam, minimum_na=0.5)
    RE(adaptive_map(over_ca.beam, over_ca.eds, agent, suspenders=watching), documents)
    assert resumed.is_set()
    events = documents.events()
    assert len(events) == 60
    assert len({event["data"]["scan_pixel"] for event in events}) == 60
    belong_together(events, over_ca, phantom, classifier)
    log = [json.loads(line) for line in ioc_log.read_text().splitlines()[already:]]
    valid = {(entry["pixel"], entry["total"]) for entry in log if entry["valid"]}
    for event in events:  # what was acquired during a trip is nowhere in the map
        assert (event["data"]["scan_pixel"], event["data"]["eds_counts"]) in valid
    assert not RE.suspenders


def test_run_suspended_while_dose_is_not_ok(over_ca, make_agent, RE, documents):
    beam, raised = over_ca.beam, threading.Event()
    beam.dose_budget.set(100.0).wait(10)

    def allow_more():
        while beam.dose_ok.get() or not beam.blanker.get():
            pass
        beam.dose_budget.set(1e6).wait(10)
        raised.set()

    RE.msg_hook = after_triggers(5, allow_more)
    watching = beam_suspenders(beam, minimum_na=0.5)
    RE(adaptive_map(beam, over_ca.eds, make_agent(15), suspenders=watching), documents)
    assert raised.wait(10)
    assert len(documents.events()) == 15
    assert documents.stop["exit_status"] == "success"


@pytest.mark.parametrize("moment", ["remove_suspender", "save", "close_run", "unstage"])
def test_run_trip_at_the_very_end_is_a_success(soft, make_agent, RE, documents, moment):
    from bluesky.suspenders import SuspendFloor
    from ophyd import Signal

    current, tripped, back = Signal(name="current", value=1.0), [], []

    def fall_off(msg):  # in the loop's own thread, so that the moment is this one and no other
        last = msg.command == moment and (moment != "save" or len(documents.events()) == 6)
        last = last and (moment != "unstage" or msg.obj is soft.beam)
        if last and not tripped:
            tripped.append(current.put(0.0))
            back.append(threading.Timer(0.2, lambda: current.put(1.0)))
            back[0].start()

    RE.msg_hook = fall_off
    RE(adaptive_map(soft.beam, soft.eds, make_agent(6), suspenders=[SuspendFloor(current, 0.5)]), documents)
    assert tripped
    back[0].join()
    assert RE.state == "idle"
    assert documents.stop["exit_status"] == "success"
    assert len(documents.events()) == 6
    assert not RE.suspenders


def test_run_stops_before_its_dose_budget_is_exceeded(instrument, make_agent, RE, documents):
    budget = DoseBudget(run_nc=150.0)
    reason = RE(adaptive_map(instrument.beam, instrument.eds, make_agent(60), budget=budget), documents)
    del reason
    events = documents.events()
    spent = events[-1]["data"]["beam_dose"] - (
        events[0]["data"]["beam_dose"] - events[0]["data"]["beam_pixel_dose"]
    )
    assert 1 < len(events) < 60
    assert spent <= 150.0
    assert spent + 1.06 * max(event["data"]["beam_pixel_dose"] for event in events) > 150.0
    assert documents.stop["exit_status"] == "success"
    assert "dose budget of the run, 150 nC" in documents.stop["reason"]


def test_pixel_gets_no_more_than_its_budget(instrument, make_agent, RE, documents):
    RE(
        adaptive_map(instrument.beam, instrument.eds, make_agent(10), budget=DoseBudget(pixel_nc=5.0)),
        documents,
    )
    for event in documents.events():
        data = event["data"]
        assert data["beam_pixel_dose"] <= 5.001
        assert data["eds_real_time"] == pytest.approx(5.0, abs=2e-3)
        assert data["eds_live_time"] < 5.0


@pytest.mark.parametrize("wrong", [{"run_nc": 0.0}, {"pixel_nc": -1.0}])
def test_dose_budget_not_positive_is_refused(wrong):
    with pytest.raises(ConfigError, match="a dose budget is positive"):
        DoseBudget(**wrong)


def test_run_microscope_gone_ends_with_its_name(classifier, make_agent, RE, documents, monkeypatch):
    for name in ("AWAY_S", "LEAVE_S"):  # it never comes back
        monkeypatch.setattr(away, name, 2.0)
    from ophyd import EpicsSignal

    from slads_bluesky.devices import EDSDetector, SEMBeam
    from slads_bluesky.devices.sim.process import SimulatedMicroscope

    with SimulatedMicroscope("pbsn-64", prefix="MORTAL:") as mortal:
        beam = SEMBeam("MORTAL:Beam:", name="beam")
        eds = EDSDetector("MORTAL:EDS:mca1", name="eds", classifier=classifier, beam=beam)
        leave = EpicsSignal("MORTAL:Sim:Exit", name="leave")
        leave.wait_for_connection(10)
        RE.msg_hook = after_triggers(6, lambda: leave.put(1))
        with pytest.raises(InstrumentError, match="beam"):
            RE(adaptive_map(beam, eds, make_agent(60), timeout_s=2.0), documents)
        assert documents.stop["exit_status"] == "fail"
        assert 5 <= len(documents.events()) < 60
        with pytest.raises(InstrumentError, match="exited with code 3"):
            mortal.check()


def test_run_table_shows_baseline_and_point_columns(instrument, make_agent, RE, capsys):
    from bluesky.callbacks.best_effort import BestEffortCallback

    best_effort = BestEffortCallback()
    best_effort.disable_plots()
    RE.subscribe(best_effort)
    RE(adaptive_map(instrument.beam, instrument.eds, make_agent(4), baseline=[instrument.sem]))
    said = capsys.readouterr().out
    for key in ("sem_high_voltage", "sem_current", "sem_working_distance", "sem_field_width"):
        assert said.count(key) == 2  # once at the start of the run, once at its end
    for column in ("scan_pixel", "eds_counts", "eds_label", "beam_x", "beam_y"):
        assert column in said


def test_point_saturated_once_is_measured_again(over_ca, phantom, sim, make_agent, RE, documents):
    sim("Saturate", 1)
    agent = make_agent(4)
    RE(adaptive_map(over_ca.beam, over_ca.eds, agent), documents)
    first = documents.events()[0]["data"]
    assert np.array_equal(first["eds_spectrum"], phantom.spectrum(first["scan_pixel"], visit=1))
    assert documents.stop["num_events"].get("failed", 0) == 0


def test_map_with_a_saturated_detector_ends_with_the_reason_and_is_never_ok(
    over_ca, sim, make_agent, RE, documents
):
    sim("Saturate", 100)
    try:
        with pytest.raises(
            InstrumentError, match=r"3 points failed, .*saturated: \d+ channels stand at 65535"
        ):
            RE(adaptive_map(over_ca.beam, over_ca.eds, make_agent(50), max_failed_points=2), documents)
    finally:
        sim("Saturate", 0)
    assert "saturated" in documents.stop["reason"]
    assert not documents.events()
    assert {event["data"]["eds_verdict"] for event in documents.events("failed")} == {"ill"}
