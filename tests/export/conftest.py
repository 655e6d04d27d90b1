"""One small real map, loaded, for the tests of what is exported."""

import sys
from pathlib import Path

import pytest

sys.path.insert(
    0, str(Path(__file__).parents[1] / "catalog")
)  # importlib mode leaves the helpers out of reach

from maps import take_map

from slads_bluesky.catalog.runs import find_run
from slads_bluesky.rundata import load_map


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """Directory and uid of a recorded map."""
    directory = tmp_path_factory.mktemp("exported")
    return directory, take_map(directory, tmp_path_factory.getbasetemp() / "map-models")


@pytest.fixture(scope="session")
def data(recorded):
    directory, uid = recorded
    return load_map([find_run(uid, directory).documents])
