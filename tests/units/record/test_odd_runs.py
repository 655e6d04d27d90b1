"""Runs that Tiled, SQL or JSON dislike: each stays in the journal and is named, and stands in nobody's way."""

import logging
import shutil

import event_model
import numpy as np
import pytest
from record_helpers import Detector, run_engine, spectra_plan

from slads_bluesky.cli import main
from slads_bluesky.record import Journal, Recorder, close_catalog, journal_directory, open_catalog
from slads_bluesky.record.runs import find_run, list_runs

ARRAY = {"source": "s", "dtype": "array", "shape": [100], "dtype_numpy": "<f8"}
NUMBER = {"source": "s", "dtype": "number", "shape": []}


def run_of(values, about, key="x", stream="primary", **metadata):
    """Documents of a run whose events hold `values` under one key that is described as `about`."""
    bundle = event_model.compose_run(metadata=metadata, validate=False)
    yield "start", bundle.start_doc
    descriptor = bundle.compose_descriptor(name=stream, data_keys={key: dict(about)}, validate=False)
    yield "descriptor", descriptor.descriptor_doc
    for value in values:
        yield "event", descriptor.compose_event(data={key: value}, timestamps={key: 1.0}, validate=False)
    yield "stop", bundle.compose_stop()


ODD = {
    "array that grows": run_of([np.zeros(100), np.zeros(120)], ARRAY),
    "array that loses a dimension": run_of([np.zeros((10, 10)), np.zeros(100)], ARRAY),
    "text where a number was": run_of([1.0, "two"], NUMBER),
    "nothing where a number was": run_of([1.0, None], NUMBER),
    "mapping": run_of([{"a": 1}, {"b": 2}], {**NUMBER, "dtype": "object"}),
    "reserved key": run_of([1.0, 2.0], NUMBER, key="seq_num"),
    "key with a slash": run_of([np.zeros(100)], ARRAY, key="a/b"),
    "key with quotes": run_of([1.0], NUMBER, key='x"; DROP TABLE runs; --'),
    "empty key": run_of([1.0], NUMBER, key=""),
    "stream with a slash": run_of([1.0], NUMBER, stream="a/b"),
    "dots for a stream": run_of([np.zeros(100)], ARRAY, stream=".."),
    "unknown dtype": run_of([1.0], {**NUMBER, "dtype": "quaternion"}),
    "wrong dtype_numpy": run_of([np.zeros(100)], {**ARRAY, "dtype_numpy": "no dtype"}),
    "not a number in the metadata": run_of([1.0], NUMBER, temperature=float("nan")),
    "large number in the metadata": run_of([1.0], NUMBER, number=1 << 63),
    "bytes in the metadata": run_of([1.0], NUMBER, raw=b"\xff\xfe"),
    "array in the metadata": run_of([1.0], NUMBER, dark=np.zeros(3)),
    "numbers for keys": run_of([1.0], NUMBER, table={1: "a"}),
    "long text": run_of([1.0], NUMBER, note="x" * 3_000_000),
}


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A record of a good run, all odd ones, and another good one; and its catalog."""
    directory = tmp_path_factory.mktemp("odd")
    uids, detector = {}, Detector(3)
    with Journal(journal_directory(directory)) as journal:
        engine, _ = run_engine(journal)
        (uids["first"],) = engine(spectra_plan(detector, 3))
        for what, documents in ODD.items():
            for name, doc in documents:
                if name == "start":
                    uids[what] = doc["uid"]
                journal(name, doc)
        (uids["last"],) = engine(spectra_plan(detector, 3))
    catalog = open_catalog(directory)
    yield directory, catalog, uids
    close_catalog(catalog)


def test_catalog_with_odd_runs_holds_all_others_whole(odd):
    directory, catalog, uids = odd
    left_out = {run.uid for run in list_runs(directory) if run.left_out}
    assert uids["array that grows"] in left_out
    assert not {uids["first"], uids["last"]} & left_out
    assert set(catalog) == set(uids.values()) - left_out
    assert all("stop" in run.metadata for run in catalog.values())
    assert catalog[-1].start["uid"] == uids["last"]


@pytest.mark.parametrize("what", ODD)
def test_odd_run_stays_in_the_journal_with_its_reason(odd, what):
    directory, catalog, uids = odd
    run = find_run(uids[what], directory)
    assert [name for name, _ in run.documents()][-1] == "stop"
    if uids[what] not in catalog:
        assert run.left_out
        assert "\n" not in run.left_out


def test_odd_runs_are_named_by_runs(odd, capsys):
    directory, _, uids = odd
    with pytest.raises(SystemExit, match="0"):
        main(["runs", "--catalog", str(directory)])
    out = capsys.readouterr().out
    assert f"run {uids['array that grows'][:8]} is in the journal only: " in out
    assert f"run {uids['first'][:8]} is in the journal only" not in out


def test_odd_run_is_logged_once_and_does_not_stop_the_next_opening(odd, tmp_path, caplog):
    directory = tmp_path / "copy"
    shutil.copytree(odd[0], directory)
    for note in journal_directory(directory).glob("*.left-out"):
        note.unlink()
    for n_logged in (1, 0):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            close_catalog(open_catalog(directory))
        found = [record for record in caplog.records if odd[2]["array that grows"][:8] in record.message]
        assert len(found) == n_logged


def test_odd_run_in_a_session_is_reported_and_the_next_run_is_in_the_catalog(tmp_path):
    said, detector = [], Detector(4)
    with Recorder(tmp_path, on_problem=said.append) as recorder:
        engine, _ = run_engine(recorder)
        for name, doc in run_of([np.zeros(100), np.zeros(120)], ARRAY):
            recorder(name, doc)
        (uid,) = engine(spectra_plan(detector, 5))
        assert not recorder.flush()
    assert len(said) == 1
    odd, good = list_runs(tmp_path)
    assert odd.uid[:8] in said[0]
    assert (bool(odd.left_out), bool(good.left_out)) == (True, False)
    catalog = open_catalog(tmp_path)
    try:
        assert list(catalog) == [uid]
    finally:
        close_catalog(catalog)
