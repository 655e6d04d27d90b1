"""Fixtures that these tests share with others, and a page in a real browser."""

import shutil
from types import SimpleNamespace

import pytest
from small_map import phantom, recorded, soft  # noqa: F401 (fixtures)
from watch_page import Served, browse, chromium  # noqa: F401 (fixtures)


@pytest.fixture(scope="module")
def record(recorded, tmp_path_factory):  # noqa: F811 (the fixture above)
    """A record with one finished map, which a test may add to."""
    folder = tmp_path_factory.mktemp("watched")
    shutil.copytree(recorded.directory / "journal", folder / "journal")
    return SimpleNamespace(path=folder, uid=recorded.uid, documents=recorded.documents)


@pytest.fixture(scope="module")
def served(record, tmp_path_factory):
    server = Served(record.path, tmp_path_factory.mktemp("server") / "log")
    yield server
    server.stop()
