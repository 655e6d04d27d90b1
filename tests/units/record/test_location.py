"""Names of records: each that the file system allows works, or is refused before anything is recorded."""

import os

import numpy as np
import pytest
from record_helpers import Detector, run_engine, spectra_plan

from slads_bluesky.errors import RecordError
from slads_bluesky.record import Journal, Recorder, close_catalog, journal_directory, open_catalog
from slads_bluesky.record.location import record_path, without_secrets
from slads_bluesky.record.runs import list_runs


@pytest.mark.parametrize("name", ["run#7", "why?", "two\nlines", "tab\tbed", "bell\a", os.fsdecode(b"\xff")])
def test_record_with_a_name_that_tiled_loses_is_refused_at_once(tmp_path, name):
    for begin in (Recorder, open_catalog, list_runs):
        with pytest.raises(RecordError, match="a record cannot be in"):
            begin(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["../rec", "a b%20c", "q\"uo'te", "[x] *", "ünï;&=@:+", "$HOME"])
def test_record_with_an_unusual_name_is_written_and_read(tmp_path, monkeypatch, name):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    detector = Detector(2)
    with Journal(journal_directory(record_path(name))) as journal:
        engine, _ = run_engine(journal)
        (uid,) = engine(spectra_plan(detector, 3))
    catalog = open_catalog(name if os.sep in name else tmp_path / "work" / name)
    try:
        assert np.array_equal(catalog[uid]["primary"]["eds_spectrum"].read(), detector.spectra)
        assert (record_path(name) / "catalog" / "storage.db").stat().st_size > 0
    finally:
        close_catalog(catalog)


def test_record_path_through_a_link_is_where_the_dots_lead(tmp_path):
    (tmp_path / "far" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "deep")
    assert record_path(tmp_path / "link" / ".." / "rec") == tmp_path / "far" / "rec"
    assert record_path(tmp_path / "link" / "rec") == tmp_path / "link" / "rec"


def test_address_in_a_message_has_no_key():
    assert without_secrets("http://u:pw@h:1/p?api_key=k#f") == "http://h:1/p"
    assert without_secrets("postgresql://u:p%40w@h/db") == "postgresql://h/db"
    assert without_secrets("profile") == "profile"
