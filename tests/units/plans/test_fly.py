"""Scenes of a map by point lists, over soft devices and over Channel Access alike."""

from __future__ import annotations

import contextlib
import itertools
import threading

import numpy as np
import pytest
from bluesky.simulators import summarize_plan
from bluesky.utils import RunEngineInterrupted, TransitionError

from slads_bluesky.analysis.load import load_map
from slads_bluesky.devices.flyer import SparseFlyer
from slads_bluesky.devices.sim.softlist import SoftListEngine
from slads_bluesky.errors import InstrumentError
from slads_bluesky.plans.budget import DoseBudget
from slads_bluesky.plans.fly import adaptive_lists
from slads_bluesky.plans.ledger import Ledger
from slads_bluesky.plans.suspend import beam_suspenders
from slads_bluesky.record.verify import verify


@pytest.fixture
def flyer(instrument, request):
    """The flyer of the instrument."""
    if instrument.kind == "soft":
        return SparseFlyer(
            SoftListEngine(instrument.beam.sem, pixels_per_buffer=8), instrument.eds, instrument.beam
        )
    from slads_bluesky.devices.listscan import EpicsListEngine, MappingEDS, PointListScan

    prefix = instrument.beam.prefix.removesuffix("Beam:")
    return SparseFlyer(
        EpicsListEngine(
            PointListScan(f"{prefix}Scan:", name="scan_generator"), MappingEDS(f"{prefix}EDS:Map:", name="mapping"),
            instrument.eds, instrument.beam, pixels_per_buffer=8,
        ),
        instrument.eds, instrument.beam,
    )  # fmt: skip


@pytest.fixture
def rows(documents):
    """``rows()``: the rows of the stream ``primary``, each by its data."""

    def get(stream="primary"):
        uids = {d["uid"] for n, d in documents if n == "descriptor" and d["name"] == stream}
        out, numbers = [], []
        for name, doc in documents:
            if name == "event_page" and doc["descriptor"] in uids:
                for i, number in enumerate(doc["seq_num"]):
                    numbers.append(number)
                    out.append({key: values[i] for key, values in doc["data"].items()})
        assert numbers == list(range(1, len(numbers) + 1))  # no number twice, whatever was paused
        return out

    return get


def lists(flyer, instrument, agent, **more):
    return adaptive_lists(
        flyer, instrument.beam, instrument.eds, agent, **{"batch": 10, "dwell_s": 5e-3, **more}
    )


def again(documents, make_agent, n):
    """Verify what was recorded by an agent that knows nothing."""
    data = load_map(lambda: iter(documents))
    return verify(data, make_agent(n), None)


def test_map_by_lists_is_recorded_whole(
    instrument, flyer, make_agent, RE, documents, rows, phantom, classifier
):
    agent, ledger = make_agent(60), Ledger()
    RE(lists(flyer, instrument, agent, baseline=[instrument.sem], ledger=ledger), documents)
    assert documents.stop["exit_status"] == "success"
    assert documents.stop["reason"] == "enough"
    assert documents.start["plan_args"]["batch"] == 10
    found = rows()
    # the list that was under way and the one that was loaded are measured to their end
    assert 60 <= len(found) <= 80
    assert len({row["scan_pixel"] for row in found}) == len(found)
    for row in found:
        assert (row["beam_x"], row["beam_y"]) == instrument.grid.position(row["scan_pixel"])
        assert (row["scan_row"], row["scan_col"]) == instrument.grid.row_column(row["scan_pixel"])
        label, probability, verdict = classifier.classify(row["eds_spectrum"])
        assert (row["eds_label"], row["eds_verdict"]) == (label, verdict)
        assert row["eds_probability"] == pytest.approx(probability)
        assert row["beam_pixel_dose"] == pytest.approx(5e-3)
    doses = [row["beam_pixel_dose"] for row in found]
    assert [row["beam_dose"] for row in found] == pytest.approx(list(itertools.accumulate(doses)))
    assert [event["data"]["scan_pixel"] for event in agent.ingested] == [row["scan_pixel"] for row in found]
    last = documents.events("map")[-1]["data"]
    assert np.array_equal(last["map_measured"], agent.map_data()["measured"])
    assert {"decide", "list", "hardware", "overhead", "journal"} <= set(ledger.steps)


def test_decisions_are_one_list_old_and_can_be_made_again(instrument, flyer, make_agent, RE, documents, rows):
    RE(lists(flyer, instrument, make_agent(60)), documents)
    decisions = [event["data"] for event in documents.events("lists")]
    assert [d["lists_number"] for d in decisions] == sorted(d["lists_number"] for d in decisions)
    seen = [d["lists_seen"] for d in decisions]
    assert seen[:4] == [0, 0, 10, 20]
    chosen = np.concatenate([d["lists_pixels"][: d["lists_n"]] for d in decisions])
    assert sorted(chosen) == sorted(row["scan_pixel"] for row in rows())
    assert again(documents, make_agent, 60).passed


def test_verify_finds_a_decision_that_was_not_the_agents(instrument, flyer, make_agent, RE, documents):
    RE(lists(flyer, instrument, make_agent(60)), documents)
    event = documents.events("lists")[3]["data"]
    event["lists_pixels"][0], event["lists_pixels"][1] = event["lists_pixels"][1], event["lists_pixels"][0]
    found = again(documents, make_agent, 60)
    assert found.counts["decision"] == 2


def test_pages_are_on_record_before_the_next_list_starts(instrument, flyer, make_agent, RE, documents):
    order = []
    RE.msg_hook = lambda msg: order.append(msg.command)
    RE(lists(flyer, instrument, make_agent(40)), documents)
    starts = [i for i, command in enumerate(order) if command == "kickoff"]
    for before, after in itertools.pairwise(starts):
        collects = [i for i in range(before, after) if order[i] == "collect"]
        assert collects
        assert collects[-1] > max(i for i in range(before, after) if order[i] == "complete")


def test_rows_are_collected_while_a_map_is_drawn(instrument, flyer, make_agent, RE, documents, rows):
    agent = make_agent(60)
    draw, n, more = agent.map_data, [], threading.Event()

    def slow_draw():
        if not n:  # the first map, in the middle of the run, is not there before more rows are
            n.append(len(rows()))
            assert more.wait(30), "no row was collected while the map was drawn"
        return draw()

    def hear(name, doc):
        if n and name == "event_page":
            more.set()

    agent.map_data = slow_draw
    RE.subscribe(hear)
    RE(lists(flyer, instrument, agent, map_every=10), documents)
    assert documents.stop["exit_status"] == "success", documents.stop["reason"]
    maps = [event["data"]["map_n_measured"] for event in documents.events("map")]
    assert maps[-1] == len(rows())
    assert maps == sorted(maps)
    assert len(maps) > 2


@pytest.mark.parametrize("every", [7, 13, 24])
def test_pauses_at_any_message_lose_nothing_and_repeat_nothing(
    instrument, flyer, make_agent, RE, documents, rows, every
):
    counter = itertools.count()
    asked = []

    def ask():
        with contextlib.suppress(TransitionError):  # it is pausing already
            RE.request_pause()

    def pause_now_and_then(msg):
        if next(counter) % every == every - 1 and len(asked) < 12:
            asked.append(msg.command)
            threading.Thread(target=ask).start()

    RE.msg_hook = pause_now_and_then
    agent = make_agent(60)
    plan, n_paused = lists(flyer, instrument, agent), 0
    while True:
        try:
            RE(plan, documents) if RE.state == "idle" else RE.resume()
        except RunEngineInterrupted:
            n_paused += 1
            assert instrument.beam.blanker.get()
        else:
            break
    assert n_paused >= 3
    assert documents.stop["exit_status"] == "success"
    assert not [event["data"]["failed_reason"] for event in documents.events("failed")]
    found = [row["scan_pixel"] for row in rows()]
    assert len(found) == len(set(found)) >= 60
    assert [event["data"]["scan_pixel"] for event in agent.ingested] == found
    assert all(row["beam_pixel_dose"] == pytest.approx(5e-3) for row in rows())
    assert again(documents, make_agent, 60).passed


def test_abort_in_mid_list_keeps_what_was_measured(instrument, flyer, make_agent, RE, documents, rows):
    def watch(name, doc):
        if name == "event_page" and doc["seq_num"][-1] >= 20:
            threading.Thread(target=RE.request_pause).start()

    with pytest.raises(RunEngineInterrupted):
        RE(lists(flyer, instrument, make_agent(200)), [documents, watch])
    RE.abort("tired")
    assert documents.stop["exit_status"] == "abort"
    assert len(rows()) >= 20
    assert instrument.beam.blanker.get()
    assert again(documents, make_agent, 200).passed


def test_error_of_the_agent_ends_the_run_with_the_beam_blanked(
    instrument, flyer, make_agent, RE, documents, rows
):
    agent = make_agent(60)
    ingest = agent.ingest

    def failing(event):
        if agent.n_measured == 25:
            raise ValueError("no idea")
        ingest(event)

    agent.ingest = failing
    with pytest.raises(ValueError, match="no idea"):
        RE(lists(flyer, instrument, agent), documents)
    assert documents.stop["exit_status"] == "fail"
    assert len(rows()) >= 25
    assert instrument.beam.blanker.get()


def test_dose_budget_of_the_run_is_not_exceeded(instrument, flyer, make_agent, RE, documents, rows):
    RE(lists(flyer, instrument, make_agent(60), budget=DoseBudget(run_nc=0.2)), documents)
    assert "dose budget" in documents.stop["reason"]
    found = rows()
    assert 25 <= len(found) <= 40
    assert found[-1]["beam_dose"] <= 0.2


def test_dose_budget_of_a_pixel_shortens_its_dwell(instrument, flyer, make_agent, RE, documents, rows):
    RE(lists(flyer, instrument, make_agent(20), budget=DoseBudget(pixel_nc=2e-3)), documents)
    assert max(row["beam_pixel_dose"] for row in rows()) == pytest.approx(2e-3)


def test_pixels_without_beam_are_visited_again(soft, make_agent, RE, documents, rows):
    flyer = SparseFlyer(SoftListEngine(soft.beam.sem, pixels_per_buffer=5), soft.eds, soft.beam)

    def watch(name, doc):
        if name == "event_page":
            soft.beam.sem.tripped = doc["seq_num"][-1] == 15  # until the next page
        if name == "event" and "failed_reason" in doc["data"]:
            raise AssertionError("a pixel failed")

    soft.beam.sem.tripped = False
    hold = threading.Timer(0.1, lambda: setattr(soft.beam.sem, "tripped", False))
    hold.start()
    RE(lists(flyer, soft, make_agent(40)), [documents, watch])
    hold.join()
    found = [row["scan_pixel"] for row in rows()]
    assert len(found) == len(set(found)) >= 40
    assert all(row["beam_pixel_dose"] == pytest.approx(5e-3) for row in rows())


def test_beam_that_stays_away_ends_the_run(soft, make_agent, RE, documents):
    flyer = SparseFlyer(SoftListEngine(soft.beam.sem, pixels_per_buffer=5), soft.eds, soft.beam)

    def watch(name, doc):
        if name == "event_page":
            soft.beam.sem.tripped = True

    with pytest.raises(InstrumentError, match=r"points failed, the last one because: .*no beam"):
        RE(lists(flyer, soft, make_agent(60), max_failed_points=3), [documents, watch])
    assert documents.stop["exit_status"] == "fail"
    failed = documents.events("failed")
    assert len(failed) == 4
    assert {event["data"]["eds_verdict"] for event in failed} == {"ill"}
    assert again(documents, make_agent, 60).passed


def test_lost_buffer_is_visited_again(over_ca, sim, make_agent, RE, documents, rows, request):
    flyer = request.getfixturevalue("ca_flyer")
    sim("Overrun", 2)
    RE(lists(flyer, over_ca, make_agent(40)), documents)
    found = [row["scan_pixel"] for row in rows()]
    assert len(found) == len(set(found)) >= 40
    assert not any(n == "descriptor" and d["name"] == "failed" for n, d in documents)


def test_pixels_whose_buffers_are_lost_again_and_again_have_not_failed(
    over_ca, sim, ca_flyer, make_agent, RE, documents, rows
):
    sim("Overrun", 6)  # three lists of two buffers: the first list's pixels are in the third again
    RE(lists(ca_flyer, over_ca, make_agent(40), max_failed_points=0), documents)
    found = [row["scan_pixel"] for row in rows()]
    assert len(found) == len(set(found)) >= 40
    assert again(documents, make_agent, 40).passed


@pytest.fixture
def ca_flyer(over_ca):
    from slads_bluesky.devices.listscan import EpicsListEngine, MappingEDS, PointListScan

    prefix = over_ca.beam.prefix.removesuffix("Beam:")
    engine = EpicsListEngine(
        PointListScan(f"{prefix}Scan:", name="scan_generator"), MappingEDS(f"{prefix}EDS:Map:", name="mapping"),
        over_ca.eds, over_ca.beam, pixels_per_buffer=8,
    )  # fmt: skip
    return SparseFlyer(engine, over_ca.eds, over_ca.beam)


def test_undecided_points_get_more_passes_until_their_phase_is_certain(
    instrument, flyer, make_agent, RE, documents, rows, phantom
):
    from slads_bluesky.phantom import training_spectra
    from slads_bluesky.spectra import PhaseClassifier, SequentialTest

    likelihood = PhaseClassifier.from_spectra(training_spectra("pbsn"), phantom.axis, noise_lambda=2.0)
    before = instrument.eds.classifier
    instrument.eds.classifier = likelihood
    try:
        rule = SequentialTest(likelihood, 1e-3, 0.2)
        RE(lists(flyer, instrument, make_agent(40), stop_rule=rule), documents)
    finally:
        instrument.eds.classifier = before
    found = rows()
    assert len(found) >= 40
    assert {row["eds_verdict"] for row in found} <= {"ok", "ill", "unknown", "mixed", "low_counts"}
    assert max(row["eds_passes"] for row in found) > 1
    truth = phantom.labels.ravel()
    certain = [row for row in found if row["eds_verdict"] == "ok"]
    wrong = sum(row["eds_label"] != truth[row["scan_pixel"]] for row in certain)
    assert wrong <= 1
    assert all(row["beam_pixel_dose"] == pytest.approx(row["eds_real_time"]) for row in found)
    assert documents.start["sequential"]["error"] == 1e-3
    assert again(documents, make_agent, 40).passed


def test_dry_run_of_the_plan_moves_nothing(soft, make_agent, capsys):
    flyer = SparseFlyer(SoftListEngine(soft.beam.sem), soft.eds, soft.beam)
    summarize_plan(lists(flyer, soft, make_agent(20)))
    assert soft.beam.sem.dose_nc == 0.0


def end_once_suspended(watch, end):
    """Call `end` from another thread as soon as `watch` has tripped; the event of that."""
    waited = threading.Event()

    def wait_and_end():
        while not watch.tripped:
            pass
        waited.set()
        end()

    threading.Thread(target=wait_and_end, daemon=True).start()
    return waited


def test_beam_trip_suspends_a_map_by_lists_until_the_beam_is_back(
    over_ca, ca_flyer, sim, make_agent, RE, documents, rows
):
    watching = beam_suspenders(over_ca.beam, minimum_na=0.5)
    waited = end_once_suspended(watching[0], lambda: sim("Trip", 0))

    def trip(name, doc):
        if name == "event_page" and not waited.is_set():
            sim("Trip", 1)
            assert waited.wait(20)

    RE(lists(ca_flyer, over_ca, make_agent(60), suspenders=watching), [documents, trip])
    found = rows()
    assert len({row["scan_pixel"] for row in found}) == len(found) >= 60
    assert all(row["beam_pixel_dose"] == pytest.approx(5e-3) for row in found)
    assert documents.stop["exit_status"] == "success"
    assert not RE.suspenders
    assert again(documents, make_agent, 60).passed


def test_microscope_without_dose_left_suspends_a_map_by_lists(
    over_ca, ca_flyer, make_agent, RE, documents, rows
):
    beam = over_ca.beam
    watching = beam_suspenders(beam, minimum_na=0.5)
    beam.dose_budget.set(0.1).wait(10)  # 20 points
    waited = end_once_suspended(watching[1], lambda: beam.dose_budget.set(1e6).wait(10))
    RE(lists(ca_flyer, over_ca, make_agent(60), suspenders=watching), documents)
    assert waited.is_set()
    assert len({row["scan_pixel"] for row in rows()}) >= 60
    assert beam.blanker.get()
    assert documents.stop["exit_status"] == "success"
    assert again(documents, make_agent, 60).passed
