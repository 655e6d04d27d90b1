"""Bits that flip in a journal: the record is named, what is lost is said, and all others come back."""

import logging
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_helpers import Detector, rewound_documents, run_engine, same, spectra_plan

from slads_bluesky.errors import RecordError
from slads_bluesky.record import Journal, journal_directory, read_journal
from slads_bluesky.record.catalog.writer import write_run
from slads_bluesky.record.journal.checksums import Checksums, checksum_path
from slads_bluesky.record.journal.reading import JournalTail
from slads_bluesky.record.runs import find_run


def flip(path, byte, bit=0):
    content = bytearray(path.read_bytes())
    content[byte] ^= 1 << bit
    path.write_bytes(content)


def ends_of(path):
    """End of each record, by its checksums."""
    with JournalTail(path) as tail:
        return [tail.position for _ in tail.read()]


def place_of(path, documents, name, number=0):
    """Begin of the record of the so-many-th document of a name, and its place among all."""
    places = [i for i, (own, _) in enumerate(documents) if own == name]
    return [0, *ends_of(path)][places[number]], places[number]


def test_every_record_has_its_checksum(journaled):
    path, documents = journaled
    whole = path.read_bytes()
    checksums = Checksums(path)
    begin = 0
    for i, end in enumerate(ends_of(path)):
        assert checksums.of(i).holds(whole[begin:end])
        assert not checksums.of(i).holds(whole[begin : end - 1])
        begin = end
    assert begin == len(whole)
    assert checksums.of(len(documents)) is None
    checksums.close()


def test_a_flipped_bit_costs_its_own_record_and_no_other(journaled, tmp_path):
    path, documents = journaled
    ends = ends_of(path)
    damaged = tmp_path / "damaged.msgpack"
    shutil.copy(checksum_path(path), checksum_path(damaged))

    @settings(max_examples=120, deadline=None)
    @given(st.integers(0, ends[-1] - 1), st.integers(0, 7))
    def check(byte, bit):
        shutil.copy(path, damaged)
        flip(damaged, byte, bit)
        number = sum(end <= byte for end in ends)
        begin = ends[number - 1] if number else 0
        with pytest.raises(RecordError, match=rf"damaged at byte {begin}, record {number + 1}: "):
            list(read_journal(damaged))
        said = []
        others = documents[:number] + documents[number + 1 :]
        if documents[number][0] in ("start", "descriptor"):
            with pytest.raises(RecordError, match="lost"):
                list(read_journal(damaged, said.append, said.append))
            return
        back = list(read_journal(damaged, said.append, said.append))
        assert [name for name, _ in back] == [name for name, _ in others]
        assert all(same(ours, theirs) for (_, ours), (_, theirs) in zip(others, back, strict=True))
        assert len(said) == 1

    check()


def test_what_is_lost_is_said(journaled):
    path, documents = journaled
    begin, number = place_of(path, documents, "event", 3)
    flip(path, begin + 400)
    said = []
    back = list(read_journal(path, on_damage=said.append))
    assert len(back) == len(documents) - 1
    (line,) = said
    for words in (str(path), f"byte {begin}", f"record {number + 1}", "the event of", "is lost", "are read"):
        assert words in line
    flip(path, begin + 1)  # now not even its name
    list(read_journal(path, on_damage=said.append))
    assert "a document of" in said[1]


def test_a_journal_without_checksums_is_read_as_ever(journaled):
    path, documents = journaled
    checksum_path(path).unlink()
    back = list(read_journal(path))
    assert all(same(ours, theirs) for (_, ours), (_, theirs) in zip(documents, back, strict=True))


@pytest.mark.parametrize("left", [0, 1, 5, 12, 50, -1])
def test_checksums_that_are_cut_or_changed_condemn_no_record(journaled, left):
    path, documents = journaled
    sums = checksum_path(path)
    sums.write_bytes(sums.read_bytes()[:left])
    assert len(list(read_journal(path))) == len(documents)


def test_changed_checksums_condemn_no_record(journaled):
    path, documents = journaled
    sums = checksum_path(path)
    for byte in (0, 5, 11, 40):
        flip(sums, byte)
        assert len(list(read_journal(path))) == len(documents)
        flip(sums, byte)


def test_a_checksum_ahead_of_its_record_is_waited_for(journaled, tmp_path):
    path, documents = journaled
    growing = tmp_path / "growing.msgpack"
    shutil.copy(checksum_path(path), checksum_path(growing))
    whole = path.read_bytes()
    growing.write_bytes(b"")
    seen = []
    with JournalTail(growing) as tail, growing.open("ab") as file:
        for begin in range(0, len(whole), 777):
            file.write(whole[begin : begin + 777])
            file.flush()
            seen += tail.read()
        assert tail.position == len(whole)
        assert tail.pending == 0
    assert all(same(ours, theirs) for (_, ours), (_, theirs) in zip(documents, seen, strict=True))


def test_a_large_journal_is_read_in_pieces(tmp_path):
    with Journal(tmp_path) as journal:
        engine, documents = run_engine(journal)
        (uid,) = engine(spectra_plan(Detector(), 300))
        path = journal.path(uid)
    assert path.stat().st_size > 2 * (1 << 20)  # more than one reading of the file
    back = list(read_journal(path))
    assert all(same(ours, theirs) for (_, ours), (_, theirs) in zip(documents, back, strict=True))


def test_a_run_with_a_damaged_event_is_shown_without_it_and_warned_of_once(record, tmp_path, caplog):
    directory, uids, detectors, _ = record
    moved = tmp_path / "damaged"
    shutil.copytree(journal_directory(directory), journal_directory(moved))
    path = journal_directory(moved) / f"{uids[1]}.msgpack"
    begin, _ = place_of(path, list(read_journal(path)), "event", 20)
    flip(path, begin + 3000)
    run = find_run(uids[1], moved)
    with caplog.at_level(logging.WARNING):
        documents = [list(run.documents()) for _ in range(2)]
    assert [record.message.count("is lost") for record in caplog.records] == [1]
    spectra = [
        doc["data"]["eds_spectrum"] for _, doc in documents[1] if "eds_spectrum" in doc.get("data", {})
    ]
    assert len(spectra) == len(detectors[1].spectra) - 1
    assert run.exit_status == "success"


@pytest.mark.slow
def test_a_damaged_journal_goes_into_the_catalog_but_for_what_is_lost(catalog, tmp_path):
    documents, events = rewound_documents()
    with Journal(tmp_path) as journal:
        for name, doc in documents:
            journal(name, doc)
    path = journal.path(documents[0][1]["uid"])
    begin, _ = place_of(path, documents, "event", 0)
    flip(path, begin + 500)
    assert write_run(catalog, path) == 4
    run = catalog[path.stem]
    assert run["primary"]["seq_num"].read().tolist() == [2, 3, 4, 5]
    kept = [events[i]["data"]["eds_spectrum"] for i in (3, 4, 6, 7)]
    assert np.array_equal(run["primary"]["eds_spectrum"].read(), kept)
    assert run.stop["exit_status"] == "success"
