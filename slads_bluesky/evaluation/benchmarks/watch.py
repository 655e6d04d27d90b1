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

WRITER = """
import sys, time, uuid
import numpy as np
from slads_bluesky.grid import ScanGrid
from slads_bluesky.record.journal.writing import Journal
folder, (n, side, channels), rate = sys.argv[1], map(int, sys.argv[2:5]), float(sys.argv[5])
rng = np.random.default_rng(0)
run, descriptor = str(uuid.uuid4()), str(uuid.uuid4())
spectra = rng.poisson(2.0, (64, channels)).astype("<i4")
pixels = rng.permutation(side * side)[:n]
keys = {"scan_pixel": "integer", "eds_label": "integer", "eds_probability": "number", "eds_verdict": "string",
        "eds_live_time": "number", "beam_pixel_dose": "number"}
with Journal(folder) as journal:
    journal("start", {"uid": run, "time": time.time(), "plan_name": "adaptive_map", "sample": "rate", "scan_id": 1,
                      "phases": ["A", "B"], "grid": ScanGrid((side, side)).to_json()})
    data_keys = {k: {"dtype": t, "shape": [], "source": "bench"} for k, t in keys.items()}
    data_keys["eds_spectrum"] = {"dtype": "array", "shape": [channels], "source": "bench"}
    journal("descriptor", {"uid": descriptor, "run_start": run, "time": time.time(), "name": "primary",
                           "data_keys": data_keys, "configuration": {}, "object_keys": {}, "hints": {}})
    began, late = time.time(), []
    for i, pixel in enumerate(pixels):
        due = began + i / rate
        while (wait := due - time.time()) > 0:
            time.sleep(wait)
        now = time.time()
        late.append(now - due)
        label = 1 + int(pixel // side > side // 2)
        data = {"scan_pixel": int(pixel), "eds_label": label, "eds_probability": 0.99, "eds_verdict": "ok",
                "eds_live_time": 0.001, "beam_pixel_dose": 0.001, "eds_spectrum": spectra[i % 64]}
        journal("event", {"uid": str(uuid.uuid4()), "descriptor": descriptor, "seq_num": i + 1, "time": now,
                          "data": data, "timestamps": dict.fromkeys(data, now), "filled": {}})
    took = time.time() - began
    journal("stop", {"uid": str(uuid.uuid4()), "run_start": run, "time": time.time(), "exit_status": "success",
                     "reason": "", "num_events": {"primary": n}})
print(n / took)
"""
MAPPER = """
import sys, time
import numpy as np
from bluesky import RunEngine
from slads_bluesky.plans.adaptive import adaptive_map
from slads_bluesky.agent import SladsAgent
from slads_bluesky.agent_settings import AgentSettings
from slads_bluesky.devices.sim.soft import soft_microscope
from slads_bluesky.grid import ScanGrid
from slads_bluesky.phantom import make_object
from slads_bluesky.record import Journal
from slads_bluesky.simulation.models import prepare_models
folder, name = sys.argv[1], sys.argv[2]
models = prepare_models(name)
phantom = make_object(name, 0)
beam, eds, sem = soft_microscope(phantom, models.classifier)
settings = AgentSettings.for_models(ScanGrid(phantom.shape), models.classifier, models.sampler, sampler="slads",
                                    fraction=0.25, seed=0)
agent = SladsAgent.from_settings(settings, models.sampler)
times = []
engine = RunEngine({}, context_managers=[])
with Journal(folder) as journal:
    engine.subscribe(journal)
    engine.subscribe(lambda name, doc: times.append(time.perf_counter()) if name == "event" else None)
    engine(adaptive_map(beam, eds, agent, baseline=[sem], dwell_s=0.1))
print(float(np.median(np.diff(times)[50:])))
"""


def measure_watch(
    points: int,
    rate: float,
    pairs: int,
    object_name: str,
    *,
    folder: Path | None = None,
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


def _mapped(folder: Path, object_name: str, page: Any = None) -> float:
    return float(_run([sys.executable, "-c", MAPPER, str(folder / "journal"), object_name], page))


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
    command = [
        sys.executable, "-c", WRITER, str(record / "journal"), str(points), str(SIDE), str(CHANNELS), str(rate)
    ]  # fmt: skip
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
