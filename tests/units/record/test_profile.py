"""The record by name, and a server that is asked whether it can take runs."""

import pytest
from small_map import phantom, recorded  # noqa: F401 (fixtures)

from slads_bluesky.errors import ConfigError, RecordError
from slads_bluesky.record.catalog import server_check
from slads_bluesky.record.catalog.profile import write_profile


@pytest.fixture
def profiles(tmp_path, monkeypatch):
    folder = tmp_path / "profiles"
    monkeypatch.setenv("TILED_PROFILES", str(folder))
    monkeypatch.setattr("tiled.profiles.paths", [folder])
    return folder


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore:Using `httpx`")
def test_profile_of_a_record_is_found_by_tiled_and_by_databroker(recorded, profiles):  # noqa: F811
    import databroker
    from tiled.client import from_profile

    file = write_profile("sem", recorded.directory)
    assert file.parent == profiles
    client = from_profile("sem")
    assert client[recorded.uid].metadata["start"]["sample"] == "solder"
    spectra = client[recorded.uid]["primary"]["eds_spectrum"]
    assert spectra.dims == ("time", "energy")
    assert spectra.shape[0] == 250
    client.context.close()
    db = databroker.Broker.named("sem")
    assert db[-1].start["uid"] == recorded.uid
    # as a user of a facility would: the record that the profile opens can record runs
    checks = server_check.check_server("sem")
    assert [check.name for check in checks if not check.passed] == []
    assert len(checks) == 4


def test_profile_that_is_there_is_replaced_only_when_asked(recorded, profiles):  # noqa: F811
    write_profile("far", "https://me:word@tiled.example/api/v1?api_key=secret")
    assert "secret" not in (profiles / "far.yml").read_text()
    assert "word" not in (profiles / "far.yml").read_text()
    with pytest.raises(ConfigError, match="replace it with --replace"):
        write_profile("far", "https://other.example/api/v1")
    write_profile("far", "https://other.example/api/v1", replace=True)
    assert "other.example" in (profiles / "far.yml").read_text()


def test_profile_of_no_record_or_of_no_name_is_refused(tmp_path, profiles):
    with pytest.raises(RecordError, match="holds no record of runs"):
        write_profile("sem", tmp_path / "nothing")
    with pytest.raises(ConfigError, match="named by letters"):
        write_profile("../sem", tmp_path)
    assert not profiles.exists()


def test_server_that_does_not_answer_is_one_failed_check():
    (check,) = server_check.check_server("http://127.0.0.1:9/api/v1")
    assert not check.passed
    assert "127.0.0.1:9" in check.message
