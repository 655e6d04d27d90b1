"""Fixtures of the record: a journal, and two finished runs in a catalog that is opened once a session."""

from pathlib import Path

import pytest
from maps import take_map
from record_helpers import Detector, run_engine, spectra_plan

from slads_bluesky.record import Journal, Recorder, open_catalog


@pytest.fixture(scope="session")
def record(tmp_path_factory):
    """A record with two finished runs: directory, uids, detectors, documents."""
    directory: Path = tmp_path_factory.mktemp("record")
    detectors = [Detector(1), Detector(2)]
    with Recorder(directory) as recorder:
        engine, documents = run_engine(recorder)
        engine(spectra_plan(detectors[0], 120, {"sample": "steel", "scan_id": 7}))
        engine(spectra_plan(detectors[1], 30, {"sample": "solder", "scan_id": 8}))
        assert recorder.close(), recorder.problems
    return directory, recorder.uids, detectors, list(documents)


@pytest.fixture(scope="session")
def catalog(record):
    return open_catalog(record[0])


@pytest.fixture
def journaled(tmp_path):
    """A journal of six points by a real RunEngine, and the documents as they were emitted."""
    with Journal(tmp_path / "journal") as journal:
        engine, documents = run_engine(journal)
        (uid,) = engine(
            spectra_plan(Detector(), 6, {"shape": (3, 4), "hints": {"dimensions": [(("x",), "p")]}})
        )
        return journal.path(uid), list(documents)


@pytest.fixture(scope="session")
def mapped(tmp_path_factory, model_cache):
    """A record with one whole map, and its uid."""
    directory = tmp_path_factory.mktemp("mapped")
    return directory, take_map(directory, model_cache)
