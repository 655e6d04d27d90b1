"""What a journal does at its ends: a disk that is full at the stop document, streams without events, datums."""

from __future__ import annotations

import errno

import event_model
import pytest

from slads_bluesky.errors import RecordError
from slads_bluesky.record import Journal, read_journal
from slads_bluesky.record.journal import writing
from slads_bluesky.record.journal.writing import is_being_taken

KEYS = {"x": {"source": "s", "dtype": "number", "shape": []}}


def test_stop_document_that_finds_no_room_ends_its_run_all_the_same(tmp_path, monkeypatch):
    """The run can be resumed by this very process, as by another one."""
    bundle, whole = event_model.compose_run(), writing._write

    def write(handle, data):
        if b"\xa4stop" in bytes(data[:20]):
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(handle, data)

    monkeypatch.setattr(writing, "_write", write)
    with Journal(tmp_path) as journal:
        journal("start", bundle.start_doc)
        path = journal.path(bundle.start_doc["uid"])
        assert is_being_taken(path)
        with pytest.raises(RecordError, match="the disk is full"):
            journal("stop", bundle.compose_stop())
        assert not is_being_taken(path)
    assert [name for name, _ in read_journal(path)] == ["start"]


def test_start_document_that_finds_no_room_leaves_no_file(tmp_path, monkeypatch):
    def full(handle, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    bundle = event_model.compose_run()
    with Journal(tmp_path) as journal, monkeypatch.context() as patch:
        patch.setattr(writing, "_write", full)
        with pytest.raises(RecordError, match="the disk is full"):
            journal("start", bundle.start_doc)
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(bundle.start_doc["uid"])]


def test_stop_document_after_a_lost_event_counts_streams_without_events_as_empty(tmp_path, monkeypatch):
    bundle, whole = event_model.compose_run(), writing._write
    primary, baseline = (
        bundle.compose_descriptor(name=name, data_keys=KEYS) for name in ("primary", "baseline")
    )
    first, lost = (primary.compose_event(data={"x": i}, timestamps={"x": 0.0}) for i in range(2))
    with Journal(tmp_path) as journal:
        for name, doc in (
            ("start", bundle.start_doc), ("descriptor", primary.descriptor_doc),
            ("descriptor", baseline.descriptor_doc), ("event", first),
        ):  # fmt: skip
            journal(name, doc)

        def full(handle, data):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(writing, "_write", full)
        with pytest.raises(RecordError, match="the disk is full"):
            journal("event", lost)
        monkeypatch.setattr(writing, "_write", whole)
        journal("stop", bundle.compose_stop())
    *_, (name, stop) = read_journal(journal.path(bundle.start_doc["uid"]))
    assert name == "stop"
    assert stop["num_events"] == {"primary": 1, "baseline": 0}


def test_stop_document_after_a_rewinding_counts_the_events_that_are_here(tmp_path):
    """The RunEngine goes back at a resumption, and does not count what it has not come to again when the run ends."""
    bundle = event_model.compose_run()
    primary = bundle.compose_descriptor(name="primary", data_keys=KEYS)
    stop = bundle.compose_stop()
    with Journal(tmp_path) as journal:
        journal("start", bundle.start_doc)
        journal("descriptor", primary.descriptor_doc)
        for number in (1, 2):
            event = {"data": {"x": number}, "timestamps": {"x": 0.0}, "seq_num": number, "time": 0.0, "filled": {},
                     "uid": str(number), "descriptor": primary.descriptor_doc["uid"]}  # fmt: skip
            journal("event", event)
        journal("stop", {**stop, "num_events": {"primary": 1, "baseline": 3}})
    *_, (_, found) = read_journal(journal.path(bundle.start_doc["uid"]))
    assert found["num_events"] == {"primary": 2, "baseline": 3}


def test_datums_are_in_the_journal_of_their_resources_run(tmp_path):
    runs = []
    with Journal(tmp_path) as journal:
        for i in range(2):
            bundle = event_model.compose_run()
            resource = bundle.compose_resource(
                spec="S", root="/", resource_path=f"{i}.h5", resource_kwargs={}
            )
            runs.append((bundle, resource))
            journal("start", bundle.start_doc)
            journal("resource", resource.resource_doc)
        for bundle, resource in runs:  # while both are open
            journal("datum", resource.compose_datum(datum_kwargs={"row": 3}))
            journal("stop", bundle.compose_stop())
    for bundle, resource in runs:
        documents = list(read_journal(journal.path(bundle.start_doc["uid"])))
        assert [name for name, _ in documents] == ["start", "resource", "datum", "stop"]
        assert documents[2][1]["resource"] == resource.resource_doc["uid"]
