"""A small real map by points and one by lists, loaded, for the tests of what is exported."""

import pytest
from maps import take_map

from slads_bluesky.analysis.load import load_map
from slads_bluesky.record.runs import find_run


@pytest.fixture(scope="session", params=[None, 40], ids=["points", "lists"])
def recorded(tmp_path_factory, model_cache, request):
    """Directory and uid of a recorded map."""
    directory = tmp_path_factory.mktemp("exported")
    return directory, take_map(directory, model_cache, batch=request.param)


@pytest.fixture(scope="session")
def data(recorded):
    directory, uid = recorded
    return load_map([find_run(uid, directory).documents])
