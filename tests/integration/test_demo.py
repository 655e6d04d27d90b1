"""The main job, end to end, as a user runs it: one command, one map, everything in the catalog."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from event_model import DocumentNames, schema_validators

from slads_bluesky.phantom import make_object
from slads_bluesky.record import journal_directory, read_journal
from slads_bluesky.record.runs import list_runs
from slads_bluesky.streams import events_by_stream

SIZE = 64
FRACTION = 0.2


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("demo")


def _run(home, cache, *arguments):
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "XDG_DATA_HOME": str(home / "data")}
    command = [sys.executable, "-m", "slads_bluesky", *arguments]
    return subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, timeout=280)


@pytest.fixture(scope="module")
def demo(home, shared_cache, pbsn_models):
    """``demo(kind)``: record, figures and output of a map over that kind of devices, made once."""

    @functools.cache
    def made(kind):
        how = ["--soft"] if kind == "soft" else []
        done = _run(
            home, shared_cache, "demo", f"pbsn-{SIZE}", "--fraction", str(FRACTION),
            "--catalog", str(home / kind), "--json", f"{kind}.json", *how,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return home / kind, json.loads((home / f"{kind}.json").read_text()), done.stdout

    return made


@pytest.fixture(scope="module", params=["soft", "channel-access"])
def run(request, demo):
    return demo(request.param)


def _documents(run):
    record, figures, _ = run
    return list(read_journal(journal_directory(record) / f"{figures['uid']}.msgpack"))


@pytest.fixture(scope="module")
def documents(run):
    return _documents(run)


def _events(documents, stream="primary"):
    return [doc for name, of, doc in events_by_stream(documents) if name == "event" and of == stream]


def test_figures_are_all_there_and_good(run):
    _, figures, _ = run
    wanted = {
        "uid", "object", "boundary_fraction", "fraction", "n_measured", "td", "td_paper_definition",
        "misclassification", "false_alarm", "dwell_total_s", "dose_nC", "wall_s", "point_ms", "decision_us",
    }  # fmt: skip
    assert wanted <= set(figures)
    assert figures["n_measured"] == round(FRACTION * SIZE**2)
    assert figures["td"] <= 0.004
    assert figures["misclassification"] <= 0.002
    assert figures["dwell_total_s"] == pytest.approx(10 * figures["n_measured"])
    assert (
        figures["dose_nC"] > figures["dwell_total_s"]
    )  # 1 nA over real time, which is longer than live time
    assert figures["catalog_up_to_date"]


def test_it_says_how_to_open_the_run_and_draws_it(run):
    record, figures, output = run
    assert f"open_catalog('{record}')['{figures['uid'][:8]}']" in output
    assert (record / f"{figures['uid'][:8]}.png").read_bytes().startswith(b"\x89PNG")


def test_every_document_is_valid(documents):
    names = [name for name, _ in documents]
    assert names[0] == "start"
    assert names[-1] == "stop"
    for name, doc in documents:
        schema_validators[DocumentNames[name]].validate(_jsonable(doc))


def _jsonable(value):
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def test_each_event_holds_the_spectrum_of_its_pixel(documents):
    phantom = make_object(f"pbsn-{SIZE}")
    for event in _events(documents)[::25]:
        data = event["data"]
        np.testing.assert_array_equal(data["eds_spectrum"], phantom.spectrum(data["scan_pixel"]))
        assert (data["beam_x"], data["beam_y"]) == pytest.approx(
            (data["scan_col"] - (SIZE - 1) / 2, data["scan_row"] - (SIZE - 1) / 2)
        )


def test_the_start_document_carries_what_a_replay_needs(documents):
    start = documents[0][1]
    assert start["plan_name"] == "adaptive_map"
    assert start["shape"] == [SIZE, SIZE]
    assert start["agent"]["fraction"] == FRACTION
    assert set(start["model_hashes"]) >= {"sampler", "classifier"}
    assert "gridding" not in start["hints"]


def test_the_catalog_in_another_process_has_it_by_uid_scan_id_and_search(run, documents):
    record, figures, _ = run
    code = """
import sys, json, numpy as np
from slads_bluesky.record import open_catalog
from tiled.queries import Key
db = open_catalog(sys.argv[1]); uid = sys.argv[2]; scan_id = int(sys.argv[3])
assert db[scan_id].metadata["start"]["uid"] == uid
assert list(db.search(Key("slads_simulation.object") == sys.argv[4])) == [uid]
run = db[uid[:8]]
np.save("spectra.npy", run["primary"]["eds_spectrum"].read())
np.save("pixels.npy", run["primary"]["scan_pixel"].read())
"""
    subprocess.run(
        [sys.executable, "-c", code, str(record), figures["uid"], str(figures["scan_id"]), figures["object"]],
        check=True,
        cwd=record,
        timeout=200,
    )
    events = _events(documents)
    spectra = np.load(record / "spectra.npy")
    assert spectra.shape == (figures["n_measured"], 2040)
    np.testing.assert_array_equal(spectra, [e["data"]["eds_spectrum"] for e in events])
    np.testing.assert_array_equal(np.load(record / "pixels.npy"), [e["data"]["scan_pixel"] for e in events])


def test_soft_and_channel_access_agree_pixel_for_pixel(demo):
    found = {kind: _documents(demo(kind)) for kind in ("soft", "channel-access")}
    one, other = (_events(found[kind]) for kind in ("soft", "channel-access"))
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        for key in ("scan_pixel", "eds_label", "eds_verdict", "eds_live_time", "eds_real_time"):
            assert a["data"][key] == b["data"][key], key
        np.testing.assert_array_equal(a["data"]["eds_spectrum"], b["data"]["eds_spectrum"])
    one, other = (_events(found[kind], "map")[-1]["data"] for kind in ("soft", "channel-access"))
    np.testing.assert_array_equal(one["map_labels"], other["map_labels"])


def test_demo_that_is_terminated_closes_its_run_and_leaves_no_process(home, shared_cache, pbsn_models):
    """SIGTERM in mid-map, over Channel Access: what a batch system or a closing desktop session sends."""
    record = home / "terminated"
    environment = {**os.environ, "XDG_CACHE_HOME": str(shared_cache), "XDG_DATA_HOME": str(home / "data")}
    command = ["demo", f"pbsn-{SIZE}", "--fraction", "0.9", "--catalog", str(record)]
    process = subprocess.Popen(
        [sys.executable, "-m", "slads_bluesky", *command], env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip

    def events():
        runs = list_runs(record) if journal_directory(record).is_dir() else []
        return runs[-1].count_events() if runs else 0

    try:
        limit = time.monotonic() + 200
        while events() < 20:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < limit, "not twenty points in time"
            time.sleep(0.05)
        children = [int(pid) for pid in _children(process.pid)]
        assert len(children) >= 2  # the microscope and the catalog's writer
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 128 + signal.SIGTERM, output
    assert "Traceback" not in output
    (run,) = list_runs(record)
    assert (run.exit_status, run.stop["reason"]) == ("abort", "SIGTERM received")
    assert run.count_events() == run.stop["num_events"]["primary"] < 0.9 * SIZE**2
    while any(
        os.path.exists(f"/proc/{pid}") for pid in children
    ):  # the writer ends with what it has to write
        assert time.monotonic() < limit + 60, children
        time.sleep(0.05)


def _children(pid):
    return [
        child for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()
    ]
