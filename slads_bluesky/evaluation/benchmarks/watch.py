"""The page of the maps, measured from outside: in a browser, over a journal that a process of its own writes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ConfigError
from ...progress import Progress, no_progress
from ..figures import Figure, at_most

__all__ = ["measure_watch", "watch_figures"]

PATIENCE_S = 120.0
SIDE = 128
"""Rows and columns of the map that is written at a rate."""
CHANNELS = 2048

_STEPS = [sys.executable, "-m", f"{__package__}.watch_steps"]


def measure_watch(
    points: int,
    rate: float,
    pairs: int,
    object_name: str,
    *,
    folder: Path | None = None,
    picture: Path | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Measure the delay until a browser shows a point, and the time a point takes with and without the page.

    Parameters
    ----------
    points : int
        Written at the rate; the delay is taken at every update of the browser.
    rate : float
        Points a second.
    pairs : int
        Maps with and without the page, in turn.
    object_name : str
        That these maps are of.
    folder : Path, optional
    picture : Path, optional
        .png to write of the page with the last map, in light; in dark beside it, ``…-dark.png``.
    progress : callable

    Raises
    ------
    ConfigError
        If there is no Chromium, or playwright is not installed.
    """
    if points > SIDE * SIDE:
        raise ConfigError(f"at most {SIDE * SIDE} points, the map is of {SIDE} × {SIDE} pixels")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        record = Path(scratch) / "record"
        (record / "journal").mkdir(parents=True)
        with _page(record) as page:
            progress("delay", 0.0)
            delays, reached = _delays(page, record, points, rate)
        with_page: list[float] = []
        without: list[float] = []
        for i in range(pairs):
            for seconds, watched in ((without, False), (with_page, True)):
                progress("cost", (i + 0.5 * watched) / pairs)
                place = Path(scratch) / f"map-{i}-{watched}"
                (place / "journal").mkdir(parents=True)
                if watched:
                    with _page(place) as page:
                        seconds.append(_mapped(place, object_name, page))
                        if picture is not None and i == pairs - 1:
                            _photograph(page, picture)
                else:
                    seconds.append(_mapped(place, object_name))
        progress("cost", 1.0)
    return {
        "rate": reached,
        "updates": len(delays),
        "delay_median_s": float(np.median(delays)) if delays else None,
        "delay_p95_s": float(np.percentile(delays, 95)) if delays else None,
        "with_page_s": with_page,
        "without_s": without,
        "cost": float(np.median(np.array(with_page) / np.array(without))) - 1.0,
        "load": os.getloadavg()[0],
    }


def watch_figures(results: dict[str, Any]) -> list[Figure]:
    """Figures of `measure_watch` beside the goals of the issue."""
    return [
        Figure("points a second written", results["rate"], "", None, "/s"),
        at_most("delay until the browser shows a point, median", results["delay_median_s"], 1.0, "s"),
        at_most("delay until the browser shows a point, 95 %", results["delay_p95_s"], 1.0, "s"),
        at_most("a point takes longer with the page, median of the pairs", 100 * results["cost"], 2.0, "%"),
        Figure("load of the machine meanwhile", results["load"], "", None),
    ]


def _photograph(page: Any, picture: Path) -> None:
    """Write pictures of the page once the map is whole, with the pointer on the map."""
    page.wait_for_selector("#status.success", timeout=PATIENCE_S * 1e3)
    page.click("button[data-side=right][data-layer=reconstruction]")
    page.wait_for_function(
        "() => { const s = window.slads.state; return s.run && s.left && s.right"
        " && s.right.n === s.run.n && s.left.n === s.run.n; }",
        timeout=PATIENCE_S * 1e3,
    )
    box = page.locator("#card_left .plot").bounding_box()
    page.mouse.move(box["x"] + 0.42 * box["width"], box["y"] + 0.4 * box["height"])
    for path in (picture, picture.with_stem(f"{picture.stem}-dark")):
        page.wait_for_timeout(2000)
        page.screenshot(path=str(path))
        page.evaluate("document.querySelector('#theme').click()")  # the pointer stays on the map


def _mapped(folder: Path, object_name: str, page: Any = None) -> float:
    return float(_run([*_STEPS, "map", str(folder / "journal"), object_name], page))


def _run(command: list[str], page: Any = None) -> str:
    """Last line that a process prints; meanwhile the driver of a page is heard, or the browser waits for it."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (
        tempfile.TemporaryFile("w+") as out,
        subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment) as process,
    ):
        while process.poll() is None:
            if page is None:
                time.sleep(0.2)
            else:
                page.wait_for_timeout(200)
        out.seek(0)
        lines = out.read().strip().splitlines()
    if process.returncode or not lines:
        raise ConfigError(f"a process of the benchmark failed: {lines[-1:]}")
    return lines[-1]


@contextmanager
def _page(record: Path) -> Iterator[Any]:
    """A page in a browser, followed by a server in a process of its own."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise ConfigError("this benchmark needs playwright: pip install 'slads-bluesky[test]'") from None
    if program is None:
        raise ConfigError("this benchmark needs chromium")
    log = record / "watch.log"
    command = [sys.executable, "-m", "slads_bluesky", "watch", "--catalog", str(record), "--port", "0"]
    with log.open("w") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, "COLUMNS": "400"})
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not (found := re.search(r"open (http\S+)", log.read_text())):
            if server.poll() is not None or time.monotonic() > deadline:
                raise ConfigError(f"the page is not served: {log.read_text().strip()[-300:]}")
            time.sleep(0.1)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1500, "height": 950})
            page.goto(found[1])
            page.wait_for_selector("body[data-ready=yes]", timeout=PATIENCE_S * 1e3)
            yield page
            browser.close()
    finally:
        server.terminate()
        server.wait(60)


def _delays(page: Any, record: Path, points: int, rate: float) -> tuple[list[float], float]:
    """Seconds between the time of a point and the moment the browser has it, at each update of the browser."""
    page.evaluate(
        """() => { window.seen = []; const before = window.slads.receive;
        window.slads.receive = (text) => { before(text); const run = window.slads.state.run;
          requestAnimationFrame(() => run && window.seen.push([run.n, run.seconds, Date.now() / 1000])); }; }"""
    )
    numbers = [str(number) for number in (points, SIDE, CHANNELS, rate)]
    command = [*_STEPS, "write", str(record / "journal"), *numbers]
    reached = float(_run(command, page))
    page.wait_for_function("n => (window.slads.state.run || {}).n >= n", arg=points, timeout=PATIENCE_S * 1e3)
    from ...record.journal.reading import read_start

    start = float(read_start(next((record / "journal").glob("*.msgpack")))["time"])
    seen = page.evaluate("window.seen")
    grown = [
        (now - start - seconds)
        for (n, seconds, now), before in zip(seen[1:], seen, strict=False)
        if n > before[0]
    ]
    return grown, reached
