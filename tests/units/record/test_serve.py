"""The server: loopback, with a key, the same runs as in the directory; and what it refuses."""

import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

from slads_bluesky.analysis.run_data import load_map
from slads_bluesky.errors import ConfigError, RecordError
from slads_bluesky.record import close_catalog, open_catalog
from slads_bluesky.record.catalog.serve import serve
from slads_bluesky.record.runs import find_run

KEY = "0123456789abcdefghij"


@pytest.fixture
def served(mapped):
    """Address and process of a server of the record that holds the mapped run."""
    command = [
        sys.executable,
        "-m",
        "slads_bluesky",
        "serve",
        "--catalog",
        mapped[0],
        "--port",
        "0",
        "--key",
        KEY,
    ]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
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
def test_a_served_record_is_the_record_and_wants_its_key(mapped, served, monkeypatch):
    address, server = served
    monkeypatch.delenv("TILED_API_KEY", raising=False)
    with pytest.raises(RecordError, match="requires API key"):
        open_catalog(address)
    monkeypatch.setenv("TILED_API_KEY", KEY)
    run = find_run(mapped[1][:8], address)
    assert run.uid == mapped[1]
    data = load_map([run.documents])
    assert data.spectra.shape == (276, 2040)
    close_catalog(open_catalog(address))
    server.send_signal(signal.SIGINT)
    assert server.wait(timeout=30) in (0, 130)
    with pytest.raises(RecordError, match="refused"):
        open_catalog(address)


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
    assert mapped[1] in done.stdout


def test_what_cannot_be_served_is_said(tmp_path):
    with pytest.raises(ConfigError, match="at least 16"):
        serve(tmp_path, api_key="secret")
    with pytest.raises(ConfigError, match="cannot listen"):
        serve(tmp_path, api_key=KEY, host="192.0.2.1", port=0)
    with pytest.raises(ConfigError, match="postgresql://"):
        serve(tmp_path, api_key=KEY, port=0, database="mysql://user:confidential@host/db")
    assert not list(tmp_path.iterdir())
