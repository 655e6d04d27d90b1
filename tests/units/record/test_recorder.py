"""From a RunEngine through the journal into the databroker catalog, and back out in another process."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import event_model
import numpy as np
import pytest
import record_helpers
from record_helpers import CHANNELS, Detector, rewound_documents, run_engine, spectra_plan
from tiled.queries import Key

from slads_bluesky.errors import RecordError
from slads_bluesky.record import (
    Journal,
    Recorder,
    close_catalog,
    journal_directory,
    open_catalog,
    read_journal,
)
from slads_bluesky.record.catalog.follower import Follower
from slads_bluesky.record.catalog.writer import catch_up
from slads_bluesky.record.runs import find_run, read_array

HERE = os.path.dirname(record_helpers.__file__)

READER = """
import json, sys
import numpy as np
from tiled.queries import Key
from slads_bluesky.record import open_catalog
directory, uid, scan_id, sample = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
catalog = open_catalog(directory)
runs = [catalog[uid], catalog[uid[:8]], catalog[scan_id], catalog.search(Key("sample") == sample).values().first()]
assert {run.start["uid"] for run in runs} == {uid}, runs
primary = runs[0]["primary"]
np.save(sys.argv[5], primary["eds_spectrum"].read())
data = primary.read()
print(json.dumps({"n": len(data["scan_pixel"]), "pixels": data["scan_pixel"].values.tolist(),
    "verdicts": data["eds_verdict"].values.tolist(), "live": data["eds_live_time"].values.tolist(),
    "type": type(catalog).__module__ + "." + type(catalog).__name__,
    "maps": runs[0]["map"]["map_labels"].read().tolist(), "stop": dict(runs[0].stop)}))
"""


def assert_in_catalog(directory, uid, detector, num_events, **how):
    """Open the catalog and find the run in it, whole."""
    catalog = open_catalog(directory, **how)
    try:
        assert np.array_equal(catalog[uid]["primary"]["eds_spectrum"].read(), detector.spectra)
        assert catalog[uid].stop["num_events"] == num_events
    finally:
        close_catalog(catalog)


def test_every_document_of_the_runs_is_valid(record):
    for name, doc in record[3]:
        event_model.schema_validators[event_model.DocumentNames[name]].validate(doc)


def test_another_process_finds_the_run_by_uid_scan_id_and_metadata(record, tmp_path):
    directory, uids, detectors, _ = record
    target = tmp_path / "spectra.npy"
    command = [sys.executable, "-c", READER, directory, uids[0], "7", "steel", target]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    spectra = np.load(target)
    assert spectra.shape == (120, CHANNELS)
    assert spectra.dtype == np.dtype("<i4")
    assert np.array_equal(spectra, np.array(detectors[0].spectra))
    assert found["pixels"] == [7 * (i + 1) for i in range(120)]
    assert found["live"] == [0.1 * (i + 1) for i in range(120)]
    assert found["verdicts"] == [["ok", "low_counts", "ill"][(i + 1) % 3] for i in range(120)]
    assert np.array_equal(found["maps"], [np.arange(384).reshape(16, 24) % 256] * 2)
    assert found["stop"]["num_events"] == {"primary": 120, "map": 2}
    assert found["type"] == "bluesky_tiled_plugins.clients.catalog_of_bluesky_runs.CatalogOfBlueskyRuns"


def test_what_it_gives_is_databrokers_own_client(catalog):
    import databroker.client

    assert isinstance(catalog, databroker.client.CatalogOfBlueskyRuns)
    assert len(catalog) >= 2
    assert len(catalog.search(Key("sample") == "solder")) == 1
    spectra = catalog[7]["primary"]["eds_spectrum"]
    assert np.array_equal(read_array(spectra), spectra.read())
    assert next(iter(catalog[8].documents()))[0] == "start"
    assert catalog[8].validate()


def test_catching_up_again_changes_nothing(record, catalog):
    directory, uids, _, _ = record
    assert catch_up(catalog, journal_directory(directory)) == []
    assert [run.start["uid"] for run in catalog.values()][: len(uids)] == uids


def check_rewound(catalog, uid, emitted):
    last = {event["seq_num"]: event["data"] for event in emitted}
    primary = catalog[uid]["primary"]
    assert np.array_equal(primary["eds_spectrum"].read(), [last[i]["eds_spectrum"] for i in range(1, 6)])
    assert primary.read()["scan_pixel"].values.tolist() == [last[i]["scan_pixel"] for i in range(1, 6)]
    assert primary["seq_num"].read().tolist() == [1, 2, 3, 4, 5]
    assert "stop" in catalog[uid].metadata


def test_of_a_repeated_seq_num_the_last_wins(record, catalog):
    """What a pause that rewinds past a save leaves, caught up from the journal."""
    documents, emitted = rewound_documents()
    with Journal(journal_directory(record[0])) as journal:
        for name, doc in documents:
            journal(name, doc)
    uid = documents[0][1]["uid"]
    assert catch_up(catalog, journal_directory(record[0])) == [uid]
    check_rewound(catalog, uid, emitted)


def test_of_a_repeated_seq_num_the_last_wins_while_it_is_being_written(tmp_path):
    documents, emitted = rewound_documents()
    with Recorder(tmp_path) as recorder:
        assert recorder.flush()
        for name, doc in documents[:4]:
            recorder(name, doc)
        assert recorder.flush()
        # read here while the writer's process writes: all but the event that is held back
        catalog = open_catalog(tmp_path, catch_up=False)
        assert catalog[documents[0][1]["uid"]]["primary"]["seq_num"].read().tolist() == [1]
        for name, doc in documents[4:]:
            recorder(name, doc)
        assert recorder.close(), recorder.problems
        assert recorder.n_events == recorder.n_catalogued == 5
    try:
        check_rewound(catalog, documents[0][1]["uid"], emitted)
    finally:
        close_catalog(catalog)


ACQUIRE = """
import sys, time
sys.path.insert(0, sys.argv[2])
from record_helpers import Detector, rewound_documents, run_engine, spectra_plan
from slads_bluesky.record import Recorder
recorder = Recorder(sys.argv[1])
engine, _ = run_engine(recorder)
def slow(name, doc):
    if name == "event":
        time.sleep(0.01)
        print(doc["seq_num"], recorder.n_catalogued, flush=True)
engine.subscribe(slow)
print(recorder._process.pid, flush=True)
engine(spectra_plan(Detector(5), 100000, maps=0))
"""


@pytest.mark.slow
@pytest.mark.parametrize("writer_too", [False, True])
def test_kill_9_in_mid_run_and_the_catalog_has_every_event_at_the_next_opening(tmp_path, writer_too):
    process = subprocess.Popen(
        [sys.executable, "-c", ACQUIRE, tmp_path, HERE], stdout=subprocess.PIPE, text=True
    )
    writer = int(process.stdout.readline())
    for line in process.stdout:
        seq_num, catalogued = map(int, line.split())
        if catalogued > 50:  # a second process is writing it while it is being taken
            break
    if writer_too:
        os.kill(writer, signal.SIGKILL)
    process.send_signal(signal.SIGKILL)
    rest = [line for line in process.stdout if line.endswith("\n")]
    process.wait()
    process.stdout.close()
    told = seq_num + len(rest)
    deadline = time.monotonic() + 60
    while not writer_too and _alive(writer) and time.monotonic() < deadline:
        time.sleep(0.05)  # the writer finishes by itself what the dead process left
    (path,) = journal_directory(tmp_path).glob("*.msgpack")
    events = [doc for name, doc in read_journal(path, lambda text: None) if name == "event"]
    assert told <= len(events) <= told + 1
    catalog = open_catalog(tmp_path)
    try:
        run = catalog[path.stem]
        assert run.metadata.get("stop") is None
        spectra = run["primary"]["eds_spectrum"].read()
        assert np.array_equal(spectra, [doc["data"]["eds_spectrum"] for doc in events])
        assert run["primary"]["seq_num"].read().tolist() == list(range(1, len(events) + 1))
        assert catch_up(catalog, journal_directory(tmp_path)) == []
    finally:
        close_catalog(catalog)


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_a_catalog_that_vanishes_is_reported_once_and_rebuilt_from_the_journal(tmp_path, recwarn):
    said = []
    detector = Detector(4)
    with Recorder(tmp_path, on_problem=said.append) as recorder:
        engine, _ = run_engine(recorder)
        engine(spectra_plan(detector, 5))
        assert recorder.flush(), recorder.problems
        shutil.rmtree(tmp_path / "catalog")
        (uid,) = engine(spectra_plan(detector, 10))  # the plan does not notice
        assert not recorder.close()
    assert len(said) == 1
    assert uid[:8] in said[0]
    catalog = open_catalog(tmp_path)
    try:
        assert len(catalog) == 2
        assert np.array_equal(catalog[uid]["primary"]["eds_spectrum"].read(), detector.spectra[5:])
    finally:
        close_catalog(catalog)


@pytest.mark.slow
def test_a_catalog_that_recovers_within_the_run_is_caught_up_by_itself(tmp_path):
    said = []
    detector = Detector(6)
    with Recorder(tmp_path, on_problem=said.append) as recorder:
        engine, _ = run_engine(recorder)
        engine(spectra_plan(Detector(5), 3))
        assert recorder.flush(), recorder.problems
        database = sqlite3.connect(tmp_path / "catalog" / "catalog.db", isolation_level=None)
        database.execute("BEGIN EXCLUSIVE")  # another process holds the catalog
        try:
            (uid,) = engine(spectra_plan(detector, 10))
            assert not recorder.flush()
        finally:
            database.execute("ROLLBACK")
            database.close()
        assert len(recorder.problems) == 1
        assert recorder.flush(), recorder.problems  # tries again at once
        assert recorder.up_to_date
    assert len(said) == 2
    assert uid[:8] in said[0]
    assert said[1] == f"run {uid[:8]} was written again"
    assert_in_catalog(tmp_path, uid, detector, {"primary": 10, "map": 2}, catch_up=False)


def test_the_catalog_is_tried_again_later_and_later(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("slads_bluesky.record.catalog.follower.time.monotonic", lambda: now[0])
    bundle = event_model.compose_run()
    with Journal(tmp_path) as journal:
        journal("start", bundle.start_doc)
        messages = []
        follower = Follower(Unreachable(), messages.append)
        path = journal.path(bundle.start_doc["uid"])
        follower.follow(path)
        tried = []
        for second in range(100):
            now[0] = float(second)
            before = follower._catalog.asked
            follower.step()
            if follower._catalog.asked > before:
                tried.append(second)
        before = follower._catalog.asked
        monkeypatch.setattr(
            "slads_bluesky.record.catalog.follower.time.sleep", lambda s: now.__setitem__(0, now[0] + s)
        )
        follower.finish(patience_s=10.0)
        assert (
            follower._catalog.asked - before >= 5
        )  # the end waits for a server that may be back in a moment
    assert tried == [0, 5, 15, 35, 75]
    assert [message for message in messages if "problem" in message] == [
        {"problem": f"run {path.stem[:8]}: ConnectionError: refused"}
    ]


class Unreachable:
    """A catalog whose server is gone."""

    asked = 0

    def __getitem__(self, uid):
        self.asked += 1
        raise ConnectionError("refused")


@pytest.mark.slow
def test_a_writer_that_is_killed_is_reported_and_the_plan_continues(tmp_path):
    said = []
    detector = Detector(8)
    with Recorder(tmp_path, on_problem=said.append) as recorder:
        engine, _ = run_engine(recorder)
        assert recorder.flush(), recorder.problems
        recorder._process.kill()
        (uid,) = engine(spectra_plan(detector, 12))
        assert not recorder.close()
        assert not recorder.up_to_date
    assert len(said) == 1
    assert "code -9" in said[0]
    assert_in_catalog(tmp_path, uid, detector, {"primary": 12, "map": 2})


def test_a_run_in_progress_is_left_to_its_writer(record, catalog):
    directory = record[0]
    bundle = event_model.compose_run()
    with Journal(journal_directory(directory)) as journal:
        journal("start", bundle.start_doc)
        assert catch_up(catalog, journal_directory(directory)) == []
        journal("stop", bundle.compose_stop())
    assert catch_up(catalog, journal_directory(directory)) == [bundle.start_doc["uid"]]


def test_a_moved_record_opens_where_it_is_now(record, tmp_path):
    directory, uids, detectors, _ = record
    moved = tmp_path / "moved"
    shutil.copytree(directory, moved)
    catalog = open_catalog(moved)
    try:
        assert np.array_equal(catalog[uids[1]]["primary"]["eds_spectrum"].read(), detectors[1].spectra)
        assert catalog[uids[1]]["primary"].read()["eds_label"].size == 30
    finally:
        close_catalog(catalog)


def test_catalogs_that_cannot_be_are_one_clear_line_and_leave_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    for directory in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(RecordError, match="file") as error:
            open_catalog(directory)
        assert "\n" not in str(error.value)
        with pytest.raises(RecordError, match="file"):
            Recorder(directory)
    with pytest.raises(RecordError, match="no record"):
        open_catalog(tmp_path / "nothing", create=False)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with pytest.raises(RecordError, match=r"http://127\.0\.0\.1:9"):
        open_catalog("http://127.0.0.1:9/?api_key=confidential")


@pytest.mark.parametrize(
    ("layout", "words"),
    [('{"layout": 99, "location": "x"}', "layout 99.*rebuilt"), ("garbage", "layout"), ("[]", "layout")],
)
def test_a_catalog_of_another_version_is_refused_and_says_what_to_do(tmp_path, layout, words):
    folder = tmp_path / "catalog"
    folder.mkdir()
    (folder / "catalog.db").write_bytes(b"")
    (folder / "layout.json").write_text(layout)
    with pytest.raises(RecordError, match=words):
        open_catalog(tmp_path)


def test_a_catalog_of_an_older_tiled_is_refused_in_one_line(record, tmp_path):
    moved = tmp_path / "older"
    shutil.copytree(record[0], moved)
    with sqlite3.connect(moved / "catalog" / "catalog.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '6825c778aa3c'")
    database.close()
    with pytest.raises(RecordError, match=r"cannot be opened.*rebuilt from the journal") as error:
        open_catalog(moved)
    assert "\n" not in str(error.value)


def test_latest_run_of_two_sessions_on_one_record_is_the_one_that_began_last(tmp_path):
    """Each session has a recorder and a RunEngine; their runs overlap, and the first to begin ends last."""
    first, second = (
        [("start", bundle.start_doc), ("stop", bundle.compose_stop())]
        for bundle in (event_model.compose_run(metadata={"sample": name}) for name in ("first", "second"))
    )
    with Journal(journal_directory(tmp_path)) as one, Journal(journal_directory(tmp_path)) as other:
        for journal, (name, doc) in (
            (one, first[0]), (other, second[0]), (other, second[1]), (one, first[1]),
        ):  # fmt: skip
            journal(name, doc)
        assert find_run("-1", tmp_path).start["sample"] == "second"
        assert find_run("-2", tmp_path).start["sample"] == "first"
    catalog = open_catalog(tmp_path)
    try:
        assert [catalog[i].start["sample"] for i in (-1, -2)] == ["second", "first"]
    finally:
        close_catalog(catalog)
