"""The page of ``slads-bluesky watch`` in real Chromium; fixtures for several folders of tests."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time

import psutil
import pytest

from slads_bluesky.devices.sim.ports import free_port

PATIENCE_S = 120


class Served:
    """``slads-bluesky watch`` in a process of its own."""

    def __init__(self, record, log, *more):
        self.record, self.log, self.port, self.more = record, log, free_port(), more
        self.start()

    def start(self):
        command = [
            sys.executable,
            "-m",
            "slads_bluesky",
            "watch",
            "--catalog",
            str(self.record),
            "--port",
            str(self.port),
            *self.more,
        ]
        with open(self.log, "w") as out:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=out, env=dict(os.environ, COLUMNS="400")
            )
        deadline = time.monotonic() + PATIENCE_S
        while not (found := re.search(r"open (http\S+)", self.log.read_text())):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)
        self.url = found[1]

    def stop(self):
        self.process.terminate()
        assert self.process.wait(60) == 0, self.log.read_text()


def text_until(page, selector, wanted):
    """Wait until an element holds a text."""
    page.wait_for_function(
        "([selector, wanted]) => (document.querySelector(selector)?.textContent || '').includes(wanted)",
        arg=[selector, wanted],
    )


@pytest.fixture(scope="module")
def chromium():
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium here")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        # a browser that does not end by itself is ended: nothing here is about that
        hangs = threading.Timer(60, _kill_browser)
        hangs.daemon = True
        hangs.start()
        browser.close()
    hangs.cancel()


def _kill_browser():
    """Kill the browser and what drives it; the call that waits for them fails then."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any(name in " ".join(process.cmdline()) for name in ("chrom", "playwright")):
                process.kill()


@pytest.fixture
def browse(chromium):
    """Opens pages; whatever a page complains of fails the test."""
    opened, complaints = [], []

    def open_page(url, theme="light"):
        context = chromium.new_context(viewport={"width": 1500, "height": 950}, color_scheme=theme)
        opened.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_S * 1e3)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        page.wait_for_selector("body[data-ready=yes]")
        return page

    yield open_page
    for context in opened:
        context.close()
    assert not complaints
