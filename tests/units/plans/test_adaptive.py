"""Scenes of an adaptive map, over soft devices and over Channel Access alike."""

from __future__ import annotations

import itertools
import json
import threading
import zlib

import numpy as np
import pytest
from bluesky.simulators import summarize_plan
from bluesky.utils import RunEngineInterrupted

from slads_bluesky.errors import ConfigError, InstrumentError
from slads_bluesky.plans.adaptive import adaptive_map
from slads_bluesky.plans.ledger import Ledger


def test_adaptive_map_records_the_whole_map(
    instrument, phantom, classifier, make_agent, RE, documents, belong_together
):
    agent, ledger = make_agent(60), Ledger()
    RE(
        adaptive_map(instrument.beam, instrument.eds, agent, baseline=[instrument.sem], ledger=ledger,
                     md={"sample": "steel"}),
        documents,
    )  # fmt: skip
    start, stop, events = documents.start, documents.stop, documents.events()
    assert start["sample"] == "steel"
    assert start["plan_name"] == "adaptive_map"
    assert start["detectors"] == ["eds"]
    assert start["motors"] == ["beam"]
    assert start["shape"] == [64, 64]
    assert start["extents"] == [[-31.5, 31.5], [-31.5, 31.5]]
    assert "gridding" not in start["hints"]
    assert start["seed"] == 0
    assert start["model_hashes"] == {"sampler": "0" * 64, "classifier": "5" * 64}
    assert start["agent"] == agent.configuration()
    assert {"slads-bluesky", "bluesky", "numpy"} <= set(start["versions"])
    json.dumps(start)
    assert stop["exit_status"] == "success"
    assert stop["reason"] == "enough"
    assert stop["num_events"]["primary"] == 60
    assert stop["num_events"]["baseline"] == 2
    belong_together(events, instrument, phantom, classifier)
    for event in events:  # one acquisition a pixel, and the charge of exactly that one
        data = event["data"]
        assert np.array_equal(data["eds_spectrum"], phantom.spectrum(data["scan_pixel"]))
        assert data["beam_pixel_dose"] == pytest.approx(data["eds_real_time"] * 1.0)
        assert data["eds_dead_time"] == pytest.approx(100 * (1 - 10.0 / data["eds_real_time"]))
    doses = [event["data"]["beam_pixel_dose"] for event in events]
    assert [event["data"]["beam_dose"] for event in events] == pytest.approx(
        list(itertools.accumulate(doses))
    )
    last = documents.events("map")[-1]["data"]
    assert last["map_n_measured"] == 60
    assert np.array_equal(last["map_measured"], agent.map_data()["measured"])
    assert {"decide", "move", "acquire", "read", "journal"} <= set(ledger.steps)


def test_adaptive_map_agent_ingests_the_emitted_events(instrument, make_agent, RE, documents):
    agent = make_agent(30)
    RE(adaptive_map(instrument.beam, instrument.eds, agent), documents)
    assert [event["uid"] for event in agent.ingested] == [event["uid"] for event in documents.events()]


def test_adaptive_map_descriptor_matches_its_events(instrument, make_agent, RE, documents):
    RE(adaptive_map(instrument.beam, instrument.eds, make_agent(3)), documents)
    keys, data = documents.descriptor("primary")["data_keys"], documents.events()[0]["data"]
    assert set(keys) == set(data) == {
        "eds_spectrum", "eds_live_time", "eds_real_time", "eds_dead_time", "eds_counts", "eds_label",
        "eds_probability", "eds_verdict", "beam_x", "beam_y", "beam_pixel_dose", "beam_dose", "scan_pixel",
        "scan_row", "scan_col", "scan_erd",
    }  # fmt: skip
    kinds = {"integer": int, "number": float, "string": str}
    for key, value in data.items():
        if keys[key]["dtype"] == "array":
            assert keys[key]["shape"] == [2040] == list(np.shape(value))
            assert np.asarray(value).dtype == np.dtype(keys[key]["dtype_numpy"])
        else:
            assert keys[key]["shape"] == []
            assert type(value) is kinds[keys[key]["dtype"]]
    assert {key: keys[key].get("units") for key in ("beam_x", "beam_dose", "eds_live_time", "eds_dead_time")} == {
        "beam_x": "µm", "beam_dose": "nC", "eds_live_time": "s", "eds_dead_time": "%",
    }  # fmt: skip
    about = documents.descriptor("primary")["configuration"]
    configuration = about["eds"]["data"]
    assert configuration["eds_preset_live_time"] == 10.0
    assert configuration["eds_classifier"] == "5" * 64
    assert (configuration["eds_elevation_angle"], configuration["eds_energy_resolution"]) == (28.5, 126.0)
    assert about["beam"]["data"]["beam_energy"] == 15.0
    assert about["beam"]["data"]["beam_current"] == 1.0
    assert about["eds"]["data_keys"]["eds_elevation_angle"]["units"] == "deg"


def test_adaptive_map_soft_and_channel_access_give_the_same_events(
    soft, over_ca, make_agent, RE, new_documents
):
    runs = []
    for instrument in (soft, over_ca):
        documents = new_documents()
        RE(adaptive_map(instrument.beam, instrument.eds, make_agent(80)), documents)
        runs.append(documents.events())
    for ours, theirs in zip(*runs, strict=True):
        assert set(ours["data"]) == set(theirs["data"])
        for key, value in ours["data"].items():
            if key == "eds_spectrum":
                assert np.array_equal(value, theirs["data"][key])
            elif isinstance(value, float):
                assert value == pytest.approx(theirs["data"][key], nan_ok=True)
            else:
                assert value == theirs["data"][key]


def test_adaptive_map_beam_is_lit_only_to_acquire(instrument, make_agent, RE):
    heard = []
    RE.msg_hook = lambda msg: heard.append(msg)
    RE(adaptive_map(instrument.beam, instrument.eds, make_agent(4)))
    blanker = instrument.beam.blanker
    steps = [
        ("move" if m.obj is instrument.beam else "blank" if m.args[0] else "unblank") if m.command == "set" else
        m.command
        for m in heard if m.command in ("trigger", "save", "create") or m.command == "set"
    ]  # fmt: skip
    point = ["move", "unblank", "trigger", "blank", "create", "save"]
    assert steps[: 4 * len(point)] == point * 4
    assert steps[-1] == "blank"
    assert blanker.get()


@pytest.mark.parametrize("seed", [1, 2])
def test_adaptive_map_paused_at_random_loses_and_doubles_nothing(
    instrument, phantom, classifier, make_agent, RE, seed, documents, belong_together
):
    agent = make_agent(60)
    moments = set(np.random.default_rng(seed).choice(np.arange(20, 900), 10, replace=False).tolist())
    counter = itertools.count()
    asked = []

    def pause_now_and_then(msg):
        if next(counter) in moments:
            asked.append(msg.command)
            threading.Thread(target=RE.request_pause).start()

    RE.msg_hook = pause_now_and_then
    blanked = []
    try:
        RE(adaptive_map(instrument.beam, instrument.eds, agent), documents)
    except RunEngineInterrupted:
        while RE.state == "paused":
            blanked.append(instrument.beam.blanker.get())
            try:
                RE.resume()
            except RunEngineInterrupted:
                continue
    assert len(asked) == 10
    assert len(blanked) > 0
    assert all(blanked)
    events = documents.events()
    assert documents.stop["exit_status"] == "success"
    assert [event["seq_num"] for event in events] == list(range(1, 61))
    assert len({event["data"]["scan_pixel"] for event in events}) == 60
    belong_together(events, instrument, phantom, classifier)
    recorded = {
        event["data"]["scan_pixel"]: event["data"]["eds_label"] if event["data"]["eds_verdict"] == "ok" else 0
        for event in events
    }
    assert recorded == agent.labels


@pytest.mark.parametrize(("way", "status"), [("abort", "abort"), ("stop", "success"), ("halt", "abort")])
def test_adaptive_map_ended_early_blanks_and_closes_the_run(
    instrument, make_agent, RE, documents, way, status
):
    triggers = itertools.count()

    def pause_at_the_fifth(msg):
        if msg.command == "trigger" and next(triggers) == 5:
            threading.Thread(target=RE.request_pause).start()

    RE.msg_hook = pause_at_the_fifth
    with pytest.raises(RunEngineInterrupted):
        RE(adaptive_map(instrument.beam, instrument.eds, make_agent(50)), documents)
    instrument.beam.blanker.set(False).wait(10)  # as if somebody had lit it meanwhile
    RE.abort("enough for today") if way == "abort" else getattr(RE, way)()
    assert documents.stop["exit_status"] == status
    if way == "abort":
        assert documents.stop["reason"] == "enough for today"
    assert instrument.beam.blanker.get()


def test_adaptive_map_failing_agent_leaves_the_beam_blanked(instrument, make_agent, RE, documents):
    agent = make_agent(50)
    ingest = agent.ingest

    def failing(event):
        if agent.n_measured == 7:
            raise ValueError("no idea")
        ingest(event)

    agent.ingest = failing
    with pytest.raises(ValueError, match="no idea"):
        RE(adaptive_map(instrument.beam, instrument.eds, agent), documents)
    assert documents.stop["exit_status"] == "fail"
    assert len(documents.events()) == 8
    assert instrument.beam.blanker.get()


def test_adaptive_map_decides_off_the_loop(soft, make_agent, RE):
    agent, threads = make_agent(20), set()
    suggest = agent.suggest
    agent.suggest = lambda n=1: threads.add(threading.current_thread()) or suggest(n)
    loop_threads = set()
    RE.msg_hook = lambda msg: loop_threads.add(threading.current_thread())
    RE(adaptive_map(soft.beam, soft.eds, agent))
    assert len(threads) == 1
    assert not threads & loop_threads


def test_adaptive_map_events_equal_the_log_of_the_ioc(over_ca, ioc_log, make_agent, RE, documents):
    already = len(ioc_log.read_text().splitlines()) if ioc_log.exists() else 0
    RE(adaptive_map(over_ca.beam, over_ca.eds, make_agent(40)), documents)
    log = [json.loads(line) for line in ioc_log.read_text().splitlines()[already:]]
    recorded = [
        (event["data"]["scan_pixel"], zlib.crc32(np.asarray(event["data"]["eds_spectrum"], "<i4").tobytes()))
        for event in documents.events()
    ]
    assert recorded == [(entry["pixel"], entry["crc32"]) for entry in log]
    assert all(entry["valid"] for entry in log)


def test_adaptive_map_puts_the_beam_back(instrument, make_agent, RE):
    beam = instrument.beam
    beam.set((3.0, -4.0)).wait(10)
    RE(adaptive_map(beam, instrument.eds, make_agent(3)))
    assert beam.position == (3.0, -4.0)
    assert beam.blanker.get()


def test_adaptive_map_summarized_touches_nothing(soft, make_agent, capsys):
    before = (soft.beam.position, soft.beam.sem.dose_nc, len(soft.beam.sem.log))
    summarize_plan(adaptive_map(soft.beam, soft.eds, make_agent(50), baseline=[soft.sem]))
    said = capsys.readouterr().out
    assert "Open Run" in said
    assert "Close Run" in said
    assert before == (soft.beam.position, soft.beam.sem.dose_nc, len(soft.beam.sem.log))


@pytest.mark.parametrize("wrong", [{"dwell_s": 0}, {"dwell_s": -1.0}, {"map_every": -1}])
def test_adaptive_map_bad_numbers_are_refused_before_a_run(soft, make_agent, RE, wrong, documents):
    with pytest.raises(ConfigError, match=r"not (0|-1)"):
        RE(adaptive_map(soft.beam, soft.eds, make_agent(5), **wrong), documents)
    assert not documents


def test_adaptive_map_beam_without_blanker_is_refused(soft, make_agent, RE):
    with pytest.raises(ConfigError, match="eds has no blanker"):
        RE(adaptive_map(soft.eds, soft.eds, make_agent(5)))


def test_adaptive_map_classifier_of_other_spectra_is_refused(
    instrument, classifier, make_agent, RE, documents
):
    n_channels, classifier.n_channels = classifier.n_channels, 1024
    try:
        with pytest.raises(InstrumentError, match="2040 channels, the classifier takes 1024"):
            RE(adaptive_map(instrument.beam, instrument.eds, make_agent(5)), documents)
    finally:
        classifier.n_channels = n_channels
    assert not documents
    assert instrument.beam.blanker.get()


def test_adaptive_map_grid_outside_the_field_is_refused(instrument, make_agent, RE, documents):
    from slads_bluesky.grid import ScanGrid

    agent = make_agent(5)
    agent.grid = ScanGrid((64, 64), centre_um=(0.0, 500.0))
    with pytest.raises(InstrumentError, match=r"beam.*outside"):
        RE(adaptive_map(instrument.beam, instrument.eds, agent), documents)
    assert not documents
    assert instrument.beam.blanker.get()


@pytest.mark.parametrize(
    ("every", "n", "at"),
    [(7, 20, [7, 14, 20]), (10, 20, [10, 20]), (0, 20, [20]), (None, 170, [81, 162, 170])],
)
def test_adaptive_map_records_its_map_as_often_as_asked_and_at_the_end(
    soft, make_agent, RE, documents, every, n, at
):
    """By default at each doubling, from a fiftieth of the pixels on: 81 of 4096."""
    RE(adaptive_map(soft.beam, soft.eds, make_agent(n), dwell_s=0.1, map_every=every), documents)
    assert [event["data"]["map_n_measured"] for event in documents.events("map")] == at
