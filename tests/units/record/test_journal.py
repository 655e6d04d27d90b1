"""The journal: exact, append-only, readable wherever it was cut, and never silent."""

import os
import resource
import signal
import subprocess
import sys

import event_model
import msgpack
import numpy as np
import pytest
import record_helpers
import suitcase.msgpack
from hypothesis import given, settings
from hypothesis import strategies as st
from record_helpers import Detector, run_engine, same, spectra_plan

from slads_bluesky.errors import RecordError
from slads_bluesky.record import Journal, read_journal
from slads_bluesky.record.journal.reading import JournalTail, read_start, read_stop
from slads_bluesky.record.journal.writing import is_being_taken


def opened():
    return {entry for entry in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{entry}")}


def test_documents_come_back_as_they_were_emitted_and_are_valid(journaled):
    path, documents = journaled
    back = list(read_journal(path))
    assert [name for name, _ in back] == [name for name, _ in documents]
    assert all(same(ours, theirs) for (_, ours), (_, theirs) in zip(documents, back, strict=True))
    for name, doc in back:
        event_model.schema_validators[event_model.DocumentNames[name]].validate(doc)
    assert read_start(path) == back[0][1]
    assert read_stop(path) == back[-1][1]


@pytest.mark.parametrize("checked", [True, False])
def test_a_journal_cut_anywhere_gives_every_whole_record_and_says_so(journaled, tmp_path, checked):
    path, documents = journaled
    whole = path.read_bytes()
    ends = []
    unpacker = msgpack.Unpacker(raw=True, strict_map_key=False)
    unpacker.feed(whole)
    for _ in documents:
        unpacker.skip()
        ends.append(unpacker.tell())
    assert ends[-1] == len(whole)
    cut = tmp_path / "cut.msgpack"
    if checked:
        cut.with_suffix(".crc").write_bytes(path.with_suffix(".crc").read_bytes())

    @settings(max_examples=150, deadline=None)
    @given(
        st.one_of(
            st.integers(0, len(whole)), st.sampled_from(ends), st.sampled_from(ends).map(lambda n: n - 1)
        )
    )
    def check(n):
        cut.write_bytes(whole[:n])
        expected = sum(end <= n for end in ends)
        said = []
        if expected == 0:
            with pytest.raises(RecordError, match=r"cut\.msgpack"):
                list(read_journal(cut))
            return
        back = list(read_journal(cut, said.append))
        assert len(back) == expected
        assert all(same(ours, theirs) for (_, ours), (_, theirs) in zip(documents, back, strict=False))
        assert bool(said) == (n not in ends)
        assert (read_stop(cut) is not None) == (n == len(whole))

    check()


def test_a_tail_of_zeros_after_a_power_failure_counts_as_cut(journaled):
    path, documents = journaled
    with path.open("ab") as file:
        file.write(bytes(5000))
    said = []
    assert len(list(read_journal(path, said.append))) == len(documents)
    assert "cut" in said[0]


def test_damage_in_the_middle_is_refused_after_what_is_whole(journaled):
    path, _ = journaled
    path.write_bytes(path.read_bytes().replace(b"\x92\xa5event", b"\xc1" * 7, 3))
    with pytest.raises(RecordError, match="damaged at byte"):
        list(read_journal(path))
    path.with_suffix(".crc").unlink()
    with pytest.raises(RecordError, match=r"damaged at byte .*what follows cannot be read"):
        list(read_journal(path, on_damage=print))


@pytest.mark.parametrize(
    "content",
    [b"", b"hello, world", b"\x89HDF\r\n\x1a\n" + bytes(100), b'{"name": "start"}', msgpack.packb([1, 2])],
)
def test_files_of_other_programs_are_named_and_refused(tmp_path, content):
    path = tmp_path / "other.msgpack"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"other\.msgpack"):
        list(read_journal(path))


def test_suitcase_reads_ours_and_we_read_suitcases(journaled, tmp_path):
    _, documents = journaled
    suitcase.msgpack.export(documents, tmp_path / "theirs", file_prefix="x")
    theirs = list(read_journal(tmp_path / "theirs" / "x.msgpack"))
    assert all(same(a, b) for (_, a), (_, b) in zip(documents, theirs, strict=True))


def test_objects_that_need_pickle_are_refused_both_ways(tmp_path):
    journal = Journal(tmp_path)
    bundle = event_model.compose_run()
    with pytest.raises(RecordError, match="Python objects"):
        journal("start", {**bundle.start_doc, "x": np.array([object()])})
    assert not list(tmp_path.glob("*"))
    foreign = tmp_path / "foreign.msgpack"
    evil = {b"nd": True, b"kind": b"O", b"type": [["", "|O"]], b"shape": [1], b"data": b"cos\nsystem\n"}
    foreign.write_bytes(msgpack.packb(("start", {"uid": "u", "time": 1.0, "x": evil})))
    with pytest.raises(RecordError, match="never read"):
        list(read_journal(foreign))


def test_a_full_disk_stops_the_plan_and_leaves_a_readable_file(tmp_path):
    journal = Journal(tmp_path)
    engine, documents = run_engine(journal)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))  # the kernel refuses what goes beyond
    try:
        with pytest.raises(RecordError, match="all documents before this one are safe"):
            engine(spectra_plan(Detector(), 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    (path,) = tmp_path.glob("*.msgpack")
    said = []
    back = list(read_journal(path, said.append))
    assert 3 <= sum(name == "event" for name, _ in back) <= 8
    assert not said
    assert engine.state == "idle"
    assert not is_being_taken(path)  # though not even the stop document could be written
    for (_, ours), (_, theirs) in zip(documents, back, strict=False):
        if "data" in ours:
            assert same(ours, theirs)


def test_a_directory_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="file"):
        Journal(tmp_path / "file" / "journal")


def test_a_run_cannot_overwrite_another(journaled):
    path, documents = journaled
    before = path.read_bytes()
    with pytest.raises(RecordError, match=path.name):
        Journal(path.parent)("start", documents[0][1])
    assert path.read_bytes() == before


def test_a_growing_journal_is_followed(tmp_path):
    journal = Journal(tmp_path)
    bundle = event_model.compose_run()
    journal("start", bundle.start_doc)
    assert is_being_taken(journal.path(bundle.start_doc["uid"]))
    with JournalTail(journal.path(bundle.start_doc["uid"])) as tail:
        assert [name for name, _ in tail.read()] == ["start"]
        assert list(tail.read()) == []
        journal("stop", bundle.compose_stop())
        assert [name for name, _ in tail.read()] == ["stop"]
        assert tail.stopped
    assert not is_being_taken(tail.path)
    assert {path.name for path in tmp_path.iterdir()} == {
        tail.path.name,
        tail.path.with_suffix(".crc").name,
        "order",
    }


ACQUIRE = """
import sys
sys.path.insert(0, sys.argv[2])
from record_helpers import Detector, run_engine, same, spectra_plan
from slads_bluesky.record import Journal
engine, _ = run_engine(Journal(sys.argv[1]))
engine.subscribe(lambda name, doc: name == "event" and print(doc["uid"], doc["seq_num"], flush=True))
engine(spectra_plan(Detector(), 100000, maps=0))
"""


@pytest.mark.slow
def test_kill_9_loses_no_completed_event(tmp_path):
    rng = np.random.default_rng(3)
    here = os.path.dirname(record_helpers.__file__)
    for i in range(4):
        folder = tmp_path / str(i)
        process = subprocess.Popen(
            [sys.executable, "-c", ACQUIRE, folder, here], stdout=subprocess.PIPE, text=True
        )
        told = [process.stdout.readline() for _ in range(int(rng.integers(1, 300)))]
        process.send_signal(signal.SIGKILL)
        told += process.stdout.readlines()
        process.wait()
        process.stdout.close()
        told = [line.split() for line in told if line.endswith("\n")]
        (path,) = folder.glob("*.msgpack")
        assert not is_being_taken(path)
        said = []
        events = [doc for name, doc in read_journal(path, said.append) if name == "event"]
        assert [(doc["uid"], str(doc["seq_num"])) for doc in events[: len(told)]] == [tuple(x) for x in told]
        assert len(events) - len(told) <= 1
        assert len(said) <= 1


def test_pipe_in_the_place_of_a_journal_is_refused_and_not_waited_for(tmp_path):
    path = tmp_path / "run.msgpack"
    os.mkfifo(path)
    with pytest.raises(RecordError, match=r"run\.msgpack is not a file"):
        list(read_journal(path))
    with pytest.raises(RecordError, match=r"run\.msgpack is not a file"):
        read_stop(path)


def test_reader_that_is_closed_leaves_no_file_open(journaled):
    path, documents = journaled

    before = opened()
    with JournalTail(path) as tail:
        next(tail.read())
        assert len(opened() - before) == 2  # the journal and its checksums
    assert opened() == before
    assert len(list(read_journal(path))) == len(documents)
    assert opened() == before
    os.mkfifo(path.parent / "pipe.msgpack")
    with pytest.raises(RecordError, match="is not a file"):
        read_stop(path.parent / "pipe.msgpack")
    assert opened() == before


def test_writer_that_has_closed_its_runs_leaves_no_file_open(tmp_path):
    bundles, before = [event_model.compose_run() for _ in range(2)], opened()
    with Journal(tmp_path) as journal:
        for bundle in bundles:
            journal("start", bundle.start_doc)
        assert len(opened() - before) == 6  # of each run the journal, its checksums and its lock
        journal("stop", bundles[0].compose_stop())
        assert len(opened() - before) == 3
    assert opened() == before
    assert not list(tmp_path.glob("*.lock"))


@pytest.mark.parametrize("fsync", [False, True])
def test_journal_with_fsync_waits_for_the_disk_after_each_document_and_for_the_folder(
    tmp_path, monkeypatch, fsync
):
    waited, real = [], os.fsync

    def count(handle):
        waited.append(os.path.realpath(f"/proc/self/fd/{handle}"))
        real(handle)

    monkeypatch.setattr(os, "fsync", count)
    bundle = event_model.compose_run()
    with Journal(tmp_path / "journal", fsync=fsync) as journal:
        path = str(journal.path(bundle.start_doc["uid"]))
        journal("start", bundle.start_doc)
        journal("stop", bundle.compose_stop())
    assert waited == ([str(tmp_path / "journal"), path, path] if fsync else [])
