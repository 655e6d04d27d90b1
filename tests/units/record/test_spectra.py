"""Spectra in HDF5 by a switch: the same client code, the same arrays."""

import os
import shutil

import event_model
import h5py
import numpy as np
import pytest
from record_helpers import CHANNELS, Detector, rewound_documents, run_engine, spectra_plan

from slads_bluesky.errors import ConfigError, RecordError
from slads_bluesky.record import (
    Journal,
    Recorder,
    close_catalog,
    journal_directory,
    open_catalog,
    read_journal,
)
from slads_bluesky.record.hdf5_spectra import SpectraToFiles, filled
from slads_bluesky.record.location import spectra_directory
from slads_bluesky.record.runs import catalog_documents, find_run, list_runs


@pytest.fixture(scope="module")
def in_hdf5(tmp_path_factory):
    """A record with its spectra in HDF5: directory, uid, detector, documents as the RunEngine emitted them."""
    directory = tmp_path_factory.mktemp("hdf5")
    detector = Detector(6)
    with Recorder(directory, spectra="hdf5") as recorder:
        engine, documents = run_engine(recorder)
        (uid,) = engine(spectra_plan(detector, 40))
        assert recorder.close(), recorder.problems
    return directory, uid, detector, list(documents)


def test_the_journal_points_into_the_file_and_is_valid(in_hdf5):
    directory, uid, detector, _ = in_hdf5
    documents = list(read_journal(journal_directory(directory) / f"{uid}.msgpack"))
    for name, doc in documents:
        event_model.schema_validators[event_model.DocumentNames[name]].validate(doc)
    assert sum(name == "stream_datum" for name, _ in documents) == 40
    assert not any("eds_spectrum" in doc["data"] for name, doc in documents if name == "event")
    with h5py.File(spectra_directory(directory) / f"{uid}-primary.h5") as file:
        assert np.array_equal(file["eds_spectrum"], detector.spectra)


def test_the_documents_come_back_as_they_were_emitted(in_hdf5):
    directory, uid, _, emitted = in_hdf5
    back = list(find_run(uid, directory).documents())
    assert [name for name, _ in back] == [name for name, _ in emitted]
    for (_, theirs), (_, ours) in zip(back, emitted, strict=True):
        assert theirs["uid"] == ours["uid"]
        if "data" in ours:
            assert theirs["data"].keys() == ours["data"].keys()
            assert np.array_equal(theirs["data"].get("eds_spectrum", 0), ours["data"].get("eds_spectrum", 0))
        if "data_keys" in ours:
            assert theirs["data_keys"] == ours["data_keys"]


def test_the_catalog_reads_both_alike(in_hdf5, record, catalog):
    directory, uid, detector, _ = in_hdf5
    other = open_catalog(directory)
    try:
        for run, spectra in ((other[uid], detector.spectra), (catalog[7], record[2][0].spectra)):
            assert np.array_equal(run["primary"]["eds_spectrum"].read(), spectra)
            assert run["primary"].read()["eds_label"].size == len(spectra)
        documents = list(catalog_documents(other[uid]))
        events = [doc for name, doc in documents if name == "event" and "eds_spectrum" in doc["data"]]
        assert np.array_equal([doc["data"]["eds_spectrum"] for doc in events], detector.spectra)
    finally:
        close_catalog(other)


def test_an_event_emitted_again_overwrites_its_row(tmp_path):
    documents, emitted = rewound_documents()
    with Journal(journal_directory(tmp_path)) as journal:
        into = SpectraToFiles(tmp_path, journal)
        for name, doc in documents:
            into(name, doc)
    last = {event["seq_num"]: event["data"]["eds_spectrum"] for event in emitted}
    back = {doc["seq_num"]: doc for name, doc in find_run("-1", tmp_path).documents() if name == "event"}
    assert sorted(back) == [1, 2, 3, 4, 5]
    for seq_num, doc in back.items():
        assert np.array_equal(doc["data"]["eds_spectrum"], last[seq_num])


def test_a_file_that_was_never_closed_is_read(tmp_path):
    """As a kill leaves it: the writer's handle is still open."""
    documents, emitted = rewound_documents()
    journal = Journal(journal_directory(tmp_path))
    into = SpectraToFiles(tmp_path, journal)
    for name, doc in documents[:5]:
        into(name, doc)
    events = [doc for name, doc in find_run("-1", tmp_path).documents() if name == "event"]
    assert np.array_equal(
        [doc["data"]["eds_spectrum"] for doc in events], [doc["data"]["eds_spectrum"] for doc in emitted[:3]]
    )
    into.close()
    journal.close()


def test_missing_and_short_files_are_named(in_hdf5, tmp_path):
    directory, uid, _, _ = in_hdf5
    documents = list(read_journal(journal_directory(directory) / f"{uid}.msgpack"))
    moved = [
        (name, {**doc, "uri": f"file://localhost{tmp_path}/gone.h5"} if name == "stream_resource" else doc)
        for name, doc in documents
    ]
    with pytest.raises(RecordError, match=r"gone\.h5"):
        list(filled(moved, tmp_path))
    with h5py.File(tmp_path / "gone.h5", "w") as file:
        file["eds_spectrum"] = np.zeros((3, CHANNELS), "<i4")
    with pytest.raises(RecordError, match="has 3 rows, event 4"):
        list(filled(moved, tmp_path))
    with pytest.raises(ConfigError, match="'inline' or in 'hdf5'"):
        Recorder(tmp_path, spectra="tiff")


@pytest.mark.parametrize(
    "what", ["outside", "pipe", "link", "external data set", "external link", "group", "folder"]
)
def test_file_that_is_not_the_records_own_is_neither_read_nor_waited_for(in_hdf5, tmp_path, what):
    directory, uid, _, _ = in_hdf5
    documents = list(read_journal(journal_directory(directory) / f"{uid}.msgpack"))
    folder, secret = tmp_path / "spectra", tmp_path / "secret.h5"
    folder.mkdir()
    with h5py.File(secret, "w") as file:
        file["eds_spectrum"] = np.zeros((100, CHANNELS), "<i4")
    path = folder / "a.h5"
    uri = f"file://localhost{path}"
    if what == "outside":
        uri = f"file://localhost{folder}/../secret.h5"
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "link":
        path.symlink_to(secret)
    elif what == "folder":
        path.mkdir()
    else:
        with h5py.File(path, "w") as file:
            if what == "external data set":
                file.create_dataset("eds_spectrum", (100, CHANNELS), "<i4", external=[(secret, 0, 816000)])
            elif what == "external link":
                file["eds_spectrum"] = h5py.ExternalLink(str(secret), "/eds_spectrum")
            else:
                file.create_group("eds_spectrum")
    crafted = [(name, {**doc, "uri": uri} if name == "stream_resource" else doc) for name, doc in documents]
    with pytest.raises(RecordError, match="spectra file"):
        list(filled(crafted, folder))


def test_journal_that_is_a_pipe_is_refused_and_hides_no_run(in_hdf5, tmp_path):
    directory, uid, _, _ = in_hdf5
    shutil.copytree(directory, tmp_path / "rec")
    os.mkfifo(journal_directory(tmp_path / "rec") / "x.msgpack")
    said = []
    assert [run.uid for run in list_runs(tmp_path / "rec", said.append)] == [uid]
    assert "x.msgpack is not a file" in said[0]
