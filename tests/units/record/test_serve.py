"""The server: loopback, with a key, the same runs as in the directory; and what it refuses."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import hidden_packages
import pytest
from record_helpers import Detector, run_engine, spectra_plan

from slads_bluesky.analysis.load import load_map
from slads_bluesky.errors import ConfigError, RecordError
from slads_bluesky.record import Journal, Recorder, close_catalog, journal_directory, open_catalog
from slads_bluesky.record.catalog.owed import note_owed, owed_to
from slads_bluesky.record.catalog.serve import key_in, serve
from slads_bluesky.record.runs import find_run

KEY = "0123456789abcdefghij"


@pytest.fixture(scope="module")
def served(mapped):
    """Address and process of a server of the record that holds the mapped run; the last test that asks ends it."""
    command = [
        sys.executable,
        "-m",
        "slads_bluesky",
        "serve",
        "--catalog",
        mapped[0],
        "--port",
        "0",
    ]
    server = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TILED_SINGLE_USER_API_KEY": KEY},
    )
    try:
        said = []
        for line in server.stdout:
            said.append(line)
            if match := re.search(r"serving at (http://127\.0\.0\.1:\d+)", line):
                break
        else:
            pytest.fail("".join(said))
        yield match[1], server
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


@pytest.mark.slow
def test_a_browser_shows_the_runs(mapped, served, tmp_path):
    browser = shutil.which("chromium")
    if browser is None:
        if os.environ.get("CI") == "true":
            pytest.fail("chromium is not installed")
        pytest.skip("chromium is not installed")
    options = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --virtual-time-budget=20000 --dump-dom"
    )
    done = subprocess.run(
        [browser, *options.split(), f"--user-data-dir={tmp_path}", f"{served[0]}/ui/browse/?api_key={KEY}"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert mapped[1][:8] in done.stdout
    start = find_run(mapped[1], mapped[0]).start
    row = re.search(rf"<tr[^>]*>((?:(?!</tr>).)*{mapped[1]}.*?)</tr>", done.stdout, re.DOTALL)
    cells = re.sub(r"<[^>]*>", " ", row[1]).split()
    assert str(start["scan_id"]) in cells
    assert time.strftime("%Y-%m-%d", time.localtime(start["time"])) in cells
    assert "success" in cells


@pytest.mark.slow
@pytest.mark.parametrize("client", ["tiled", "databroker"])
def test_reader_with_a_client_alone_gets_everything_and_feeds_callbacks_and_serializers(
    mapped, served, client, tmp_path
):
    """In a process that sees the client, bluesky and a suitcase package, and nothing else of this environment."""
    helper = Path(hidden_packages.__file__).with_name("reader_elsewhere.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", helper, client, served[0], KEY, mapped[1]],
        capture_output=True, text=True, timeout=200, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    data = load_map([find_run(mapped[1], mapped[0]).documents], spectra=True)
    assert found["client"] == {"tiled": "tiled", "databroker": "bluesky_tiled_plugins"}[client]
    assert (found["shape"], found["counts"]) == (list(data.spectra.shape), int(data.spectra.sum()))
    assert found["dims"] == ["time", "energy"]
    assert found["pixels"] == data.pixels.tolist()
    assert {"start", "descriptor", "stop"} <= set(found["names"])
    assert found["order"] == ["start", "stop"]
    assert found["points"] == data.pixels.size
    assert found["serialized"] > data.spectra.size


@pytest.mark.slow
def test_a_served_record_is_the_record_wants_its_key_and_gets_the_runs_of_a_session_only(
    mapped, served, monkeypatch, tmp_path
):
    address, server = served
    monkeypatch.delenv("TILED_API_KEY", raising=False)
    with pytest.raises(RecordError, match="requires API key"):
        open_catalog(address)
    monkeypatch.setenv("TILED_API_KEY", KEY)
    run = find_run(mapped[1][:8], address)
    assert run.uid == mapped[1]
    data = load_map([run.documents])
    assert data.spectra.shape == (276, 2040)
    with Journal(
        journal_directory(tmp_path)
    ) as journal:  # an earlier run, of nobody who asked for the server
        run_engine(journal)[0](spectra_plan(Detector(1), 3))
    before = set(open_catalog(address))
    with Recorder(tmp_path, catalog=address) as recorder:
        run_engine(recorder)[0](spectra_plan(Detector(2), 3))
        assert recorder.close(), recorder.problems
    assert set(open_catalog(address)) - before == set(recorder.uids)
    assert owed_to(recorder.journal.path(recorder.uids[0])) is None
    with Journal(journal_directory(tmp_path)) as journal:  # as a session leaves it whose server was away
        (missing,) = run_engine(journal)[0](spectra_plan(Detector(3), 3))
        note_owed(journal.path(missing), address.replace("://", "://me:word@"))
    assert f"{address} is still to get it" in find_run(missing, tmp_path).left_out
    with Recorder(tmp_path, catalog=address) as later:
        assert later.close(), later.problems
    assert set(open_catalog(address)) - before == {*recorder.uids, missing}
    assert find_run(missing, tmp_path).left_out is None
    close_catalog(open_catalog(address))
    server.send_signal(signal.SIGINT)
    assert server.wait(timeout=30) in (0, 130)
    with pytest.raises(RecordError, match="refused"):
        open_catalog(address)


def test_what_cannot_be_served_is_said(tmp_path):
    with pytest.raises(ConfigError, match="at least 16"):
        serve(tmp_path, api_key="secret")
    with pytest.raises(ConfigError, match="cannot listen"):
        serve(tmp_path, api_key=KEY, host="192.0.2.1", port=0)
    with pytest.raises(ConfigError, match="postgresql://"):
        serve(tmp_path, api_key=KEY, port=0, database="mysql://user:confidential@host/db")
    assert not list(tmp_path.iterdir())


def test_key_file_is_made_for_its_owner_alone_and_refused_when_others_can_read_it(tmp_path):
    file = tmp_path / "record" / "api-key"
    key = key_in(file)
    assert re.fullmatch(r"[0-9a-f]{48}", key)
    assert file.stat().st_mode & 0o777 == 0o600
    assert key_in(file) == key
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="can be read by others") as error:
        key_in(file)
    assert key not in str(error.value)


@pytest.mark.slow
def test_key_is_neither_printed_nor_an_argument(tmp_path):
    command = [sys.executable, "-m", "slads_bluesky", "serve", "--catalog", tmp_path, "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        said = []
        while "serving at" not in "".join(said):  # whatever its packages say before
            said.append(next(server.stdout))
        said += [next(server.stdout) for _ in range(3)]
        key = (tmp_path / "api-key").read_text().strip()
        with open(f"/proc/{server.pid}/cmdline") as arguments:
            assert key not in arguments.read()
    finally:
        server.send_signal(signal.SIGINT)
        said.append(server.communicate(timeout=60)[0])
    assert key not in "".join(said)


def test_catalog_address_is_no_argument_of_the_writers_process(tmp_path):
    where = "http://user:confidential@127.0.0.1:9/?api_key=confidential"
    said = []
    with Recorder(tmp_path, catalog=where, on_problem=said.append) as recorder:
        with open(f"/proc/{recorder._process.pid}/cmdline") as arguments:
            assert "confidential" not in arguments.read()
        recorder.close()
    assert said
    assert "confidential" not in "".join(said)
