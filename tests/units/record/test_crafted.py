"""Journals without checksums whose documents were changed at random: every reader gives data or one line."""

import copy
import random

import numpy as np
import pytest

from slads_bluesky.analysis.areas import area_fractions
from slads_bluesky.analysis.cost import past_run
from slads_bluesky.analysis.load import load_map
from slads_bluesky.analysis.summary import summarize
from slads_bluesky.callbacks.live.state import MapState, is_map
from slads_bluesky.codec import pack
from slads_bluesky.errors import DataError, SladsError
from slads_bluesky.export.formats import export_map
from slads_bluesky.record import journal_directory
from slads_bluesky.record.resume import rebuild_agent
from slads_bluesky.record.runs import find_run, list_runs, map_runs
from slads_bluesky.simulated import simulated_object

JUNK = [
    None, True, -1, 0, 1 << 62, -(1 << 62), 1e300, float("nan"), float("inf"), "", "x [/old]", "\0", [], [1], ["a"],
    {}, {"a": 1}, {1: 2}, b"\xff", np.zeros(0), np.zeros((2, 2)), np.array(["a"]), "../../etc", [[]], 3.7,
]  # fmt: skip


@pytest.fixture(scope="module")
def records(mapped):
    """Start, descriptors, the first events and maps, and the stop document of a real map."""
    kept, n = [], 0
    for name, doc in find_run(mapped[1], mapped[0]).documents():
        n += name == "event"
        if n <= 12 or name != "event":
            kept.append([name, {**doc, "data": _short(doc["data"])} if name == "event" else doc])
    return kept


def _short(data):
    return {key: value[:64] if np.ndim(value) == 1 else value for key, value in data.items()}


def _paths(value, path=()):
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from _paths(value[key], (*path, key))
    elif isinstance(value, list):
        for i in range(min(len(value), 3)):
            yield from _paths(value[i], (*path, i))


def _changed(records, rng):
    records = copy.deepcopy(records)
    for _ in range(rng.choice([1, 1, 2, 4])):
        i, kind = rng.choice([0, rng.randrange(len(records))]), rng.random()
        if kind < 0.08 and len(records) > 1:
            del records[i]
        elif kind < 0.14:
            records.insert(rng.randrange(len(records) + 1), copy.deepcopy(records[i]))
        else:
            *path, last = rng.choice([path for path in _paths(records[i][1]) if path] or [("uid",)])
            holder = records[i][1]
            for key in path:
                holder = holder[key]
            if kind < 0.3 and isinstance(holder, dict):
                holder.pop(last, None)
            else:
                holder[last] = copy.deepcopy(rng.choice(JUNK))
    return records


def _read(directory, rng):
    """What the commands runs, show, report, export, estimate, resume and view make of a record."""
    run = list_runs(directory)[-1]
    simulated_object(run.start)
    map_runs(run, directory)
    past_run(run.documents())
    data = load_map(run)
    summarize(data)
    area_fractions(data)
    list(data.events())
    state = None
    for name, doc in run.documents():
        if name == "start" and is_map(doc):
            state = MapState(doc)
        if state is not None:
            state.take(name, doc)
    rebuild_agent(data.start)
    export_map(data, directory / f"out{rng.choice(['.npz', '.csv', '.msa', '.nxs'])}")


def _line(directory, rng):
    """Read the record; the line that a user sees, if it cannot be."""
    try:
        _read(directory, rng)
    except SladsError as error:
        return str(error)
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_reader_of_a_crafted_journal_gives_data_or_one_line(records, tmp_path, seed):
    rng = random.Random(seed)
    journal = journal_directory(tmp_path) / "a.msgpack"
    journal.parent.mkdir()
    for _ in range(25):
        try:
            content = bytearray(b"".join(map(pack, _changed(records, rng))))
        except DataError:
            continue
        for _ in range(rng.choice([0, 0, 1, 5])):
            content[rng.randrange(len(content))] = rng.randrange(256)
        journal.write_bytes(content)
        if list_runs(tmp_path):  # else it is not a journal any more
            said = _line(tmp_path, rng)
            assert "\n" not in said


def test_users_words_for_keys_of_ours_hide_no_run_and_break_no_export(records, tmp_path):
    words = {
        "object": "meteorite 7", "object_seed": "three", "agent": "Smith", "model_hashes": ["none"], "versions": 3,
        "resumes": 7, "sequential": "no", "elements": "iron", "elevation_angle": "high",
    }  # fmt: skip
    changed = copy.deepcopy(records)
    changed[0][1].pop("slads_simulation", None)
    changed[0][1].update(words)
    path = journal_directory(tmp_path) / "a.msgpack"
    path.parent.mkdir()
    path.write_bytes(b"".join(map(pack, changed)))
    run = find_run("-1", tmp_path)
    assert simulated_object(run.start) is None
    assert run.parent is None
    data = load_map(run)
    summarize(data)
    for suffix in (".npz", ".csv", ".nxs", ".msa"):
        (written, *_) = export_map(data, tmp_path / f"out{suffix}")
        assert written.stat().st_size


def test_metadata_of_a_session_without_conversion_breaks_no_export(records, tmp_path):
    changed = copy.deepcopy(records)
    changed[0][1] |= {"holder": np.int64(3), "dark": np.zeros(2), "temperature": float("nan"), "raw": b"\xff"}
    path = journal_directory(tmp_path) / "a.msgpack"
    path.parent.mkdir()
    path.write_bytes(b"".join(map(pack, changed)))
    data = load_map(find_run("-1", tmp_path))
    for suffix in (".npz", ".nxs"):
        export_map(data, tmp_path / f"out{suffix}")
