"""Files of a record that are deleted, filled up or moved while it is in use, and a clock that is set back."""

import errno
import logging
import os
import shutil

import event_model
import numpy as np
import pytest
from record_helpers import Detector, run_engine, spectra_plan

from slads_bluesky.errors import RecordError
from slads_bluesky.record import Journal, close_catalog, journal_directory, open_catalog, read_journal
from slads_bluesky.record.catalog.tiled_writer import TESTED
from slads_bluesky.record.journal import writing
from slads_bluesky.record.journal.reading import JournalTail
from slads_bluesky.record.runs import find_run, list_runs


def documents(n, **start):
    bundle = event_model.compose_run(**start)
    keys = {"x": {"source": "s", "dtype": "number", "shape": []}}
    descriptor = bundle.compose_descriptor(name="primary", data_keys=keys)
    yield "start", bundle.start_doc
    yield "descriptor", descriptor.descriptor_doc
    for i in range(n):
        yield "event", descriptor.compose_event(data={"x": i}, timestamps={"x": 0.0})
    yield "stop", bundle.compose_stop()


@pytest.mark.parametrize("with_folder", [False, True])
def test_journal_deleted_in_mid_run_is_written_again_and_reported(tmp_path, caplog, with_folder):
    folder = tmp_path / "journal"
    run = list(documents(6))
    with Journal(folder) as journal:
        for name, doc in run[:4]:
            journal(name, doc)
        path = journal.path(run[0][1]["uid"])
        tail = JournalTail(path)
        assert len(list(tail.read())) == 4
        shutil.rmtree(folder) if with_folder else path.unlink()
        with caplog.at_level(logging.WARNING):
            for name, doc in run[4:]:
                journal(name, doc)
    assert [name for name, _ in tail.read()] == ["event"] * 4 + ["stop"]
    tail.close()
    assert list(read_journal(path)) == [(name, dict(doc)) for name, doc in run]
    assert len([record for record in caplog.records if "was deleted" in record.message]) == 1


def test_stop_document_after_a_full_disk_counts_what_is_in_the_journal(tmp_path, monkeypatch):
    run = list(documents(6))
    whole, full = writing._write, [3]

    def write(handle, data):
        if b"\xa5event" in bytes(data[:20]):
            full[0] -= 1
            if full[0] == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
        whole(handle, data)

    monkeypatch.setattr(writing, "_write", write)
    with Journal(tmp_path) as journal:
        for name, doc in run[:4]:
            journal(name, doc)
        with pytest.raises(RecordError, match="the disk is full"):
            journal(*run[4])
        stop = {**run[-1][1], "exit_status": "fail", "num_events": {"primary": 3}}  # as the RunEngine counts
        journal("stop", stop)
    found = list(read_journal(journal.path(run[0][1]["uid"])))
    assert [name for name, _ in found].count("event") == found[-1][1]["num_events"]["primary"] == 2


def test_runs_are_in_the_order_of_their_beginning_though_the_clock_went_back(tmp_path):
    times = [2_000_000_000.0, 1_000_000_000.0, 1_500_000_000.0]
    uids = []
    for time in times:
        with Journal(journal_directory(tmp_path)) as journal:
            for name, doc in documents(1, time=time):
                journal(name, doc)
                uids += [doc["uid"]] if name == "start" else []
    assert [run.uid for run in list_runs(tmp_path)] == uids
    assert find_run("-1", tmp_path).uid == uids[-1]
    catalog = open_catalog(tmp_path)
    try:
        assert [run.start["uid"] for run in catalog.values()] == uids
        assert catalog[-1].start["uid"] == uids[-1]
    finally:
        close_catalog(catalog)
    os.unlink(journal_directory(tmp_path) / "order")
    assert [run.start["time"] for run in list_runs(tmp_path)] == sorted(times)


@pytest.mark.slow
@pytest.mark.parametrize("left", ["nothing", "data", "database"])
def test_catalog_removed_while_it_is_open_is_rebuilt_at_the_next_opening(tmp_path, left):
    detector = Detector(1)
    with Journal(journal_directory(tmp_path)) as journal:
        engine, _ = run_engine(journal)
        (uid,) = engine(spectra_plan(detector, 4))
    open_catalog(tmp_path)
    shutil.rmtree(tmp_path / "catalog")
    if left == "data":  # what a writer that still has it open leaves
        (tmp_path / "catalog" / "data" / uid).mkdir(parents=True)
    elif left == "database":
        (tmp_path / "catalog").mkdir()
        (tmp_path / "catalog" / "storage.db").write_bytes(b"")
    catalog = open_catalog(tmp_path)
    try:
        assert np.array_equal(catalog[uid]["primary"]["eds_spectrum"].read(), detector.spectra)
    finally:
        close_catalog(catalog)


def test_folder_with_foreign_files_is_never_removed(tmp_path):
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "thesis.tex").write_text("words")
    with pytest.raises(RecordError, match=r"it holds thesis\.tex"):
        open_catalog(tmp_path)
    assert (tmp_path / "catalog" / "thesis.tex").read_text() == "words"


@pytest.mark.slow
def test_moved_catalog_with_runs_whose_journals_are_gone_is_kept(tmp_path, caplog):
    old = tmp_path / "old"
    with Journal(journal_directory(old)) as journal:
        engine, _ = run_engine(journal)
        uids = [engine(spectra_plan(Detector(i), 2))[0] for i in range(2)]
    close_catalog(open_catalog(old))
    (journal_directory(old) / f"{uids[0]}.msgpack").unlink()
    new = tmp_path / "new"
    old.rename(new)
    with caplog.at_level(logging.WARNING):
        catalog = open_catalog(new)
    try:
        assert list(catalog) == [uids[1]]
    finally:
        close_catalog(catalog)
    assert (new / "catalog-moved-1" / "catalog.db").exists()
    assert "1 runs of the catalog have no journal" in caplog.text


def test_private_writer_of_the_plugins_is_of_a_tested_version():
    from importlib.metadata import version

    assert version("bluesky-tiled-plugins") in TESTED
