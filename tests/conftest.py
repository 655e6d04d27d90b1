"""What all tests share: one cache of trained models a session."""

import os

# before torch is loaded anywhere: threads that spin while they wait starve the processes that the tests start
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory):
    """Directory for XDG_CACHE_HOME: what one test has trained, the next one finds."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def pbsn_models(shared_cache):
    """Models for ``pbsn-64``, by the paper's method."""
    from slads_bluesky.simulation.models import prepare_models

    return prepare_models("pbsn-64", cache=shared_cache / "slads-bluesky" / "models")
