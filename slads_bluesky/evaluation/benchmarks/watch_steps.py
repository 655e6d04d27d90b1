"""What runs beside the page of the maps in a benchmark: a journal written at a rate, and a map over soft devices.

``python -m slads_bluesky.evaluation.benchmarks.watch_steps write FOLDER POINTS SIDE CHANNELS RATE`` prints the points
a second that were written, ``… map FOLDER OBJECT`` the median time of a point, s.
"""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["main", "map_object", "write"]

KEYS = {
    "scan_pixel": "integer", "eds_label": "integer", "eds_probability": "number", "eds_verdict": "string",
    "eds_live_time": "number", "beam_pixel_dose": "number",
}  # fmt: skip
DIFFERENT = 64
"""Spectra that are written in turn."""


def write(folder: str, points: str, side: str, channels: str, rate: str) -> float:
    """Write a map of made-up points into a journal at a rate; return the rate that was reached, 1/s."""
    from ...grid import ScanGrid
    from ...record.journal.writing import Journal

    n, size, width, per_s = int(points), int(side), int(channels), float(rate)
    rng = np.random.default_rng(0)
    spectra = rng.poisson(2.0, (DIFFERENT, width)).astype("<i4")
    pixels = rng.permutation(size * size)[:n].tolist()
    run, descriptor = str(uuid.uuid4()), str(uuid.uuid4())
    data_keys: dict[str, dict[str, Any]] = {
        key: {"dtype": dtype, "shape": [], "source": "bench"} for key, dtype in KEYS.items()
    }
    data_keys["eds_spectrum"] = {"dtype": "array", "shape": [width], "source": "bench"}
    with Journal(folder) as journal:
        journal(
            "start",
            {
                "uid": run, "time": time.time(), "plan_name": "adaptive_map", "sample": "rate", "scan_id": 1,
                "phases": ["A", "B"], "grid": ScanGrid((size, size)).to_json(),
            },
        )  # fmt: skip
        journal(
            "descriptor",
            {
                "uid": descriptor, "run_start": run, "time": time.time(), "name": "primary",
                "data_keys": data_keys, "configuration": {}, "object_keys": {}, "hints": {},
            },
        )  # fmt: skip
        began = time.time()
        for i, pixel in enumerate(pixels):
            while (wait := began + i / per_s - time.time()) > 0:
                time.sleep(wait)
            now = time.time()
            data = {
                "scan_pixel": pixel, "eds_label": 1 + int(pixel // size > size // 2), "eds_probability": 0.99,
                "eds_verdict": "ok", "eds_live_time": 0.001, "beam_pixel_dose": 0.001,
                "eds_spectrum": spectra[i % DIFFERENT],
            }  # fmt: skip
            journal(
                "event",
                {
                    "uid": str(uuid.uuid4()), "descriptor": descriptor, "seq_num": i + 1, "time": now,
                    "data": data, "timestamps": dict.fromkeys(data, now), "filled": {},
                },
            )  # fmt: skip
        took = time.time() - began
        journal(
            "stop",
            {
                "uid": str(uuid.uuid4()), "run_start": run, "time": time.time(), "exit_status": "success",
                "reason": "", "num_events": {"primary": n},
            },
        )  # fmt: skip
    return n / took


def map_object(folder: str, name: str) -> float:
    """Map a quarter of an object over soft devices into a journal; return the median time of a point, s."""
    from bluesky import RunEngine

    from ...agent import SladsAgent
    from ...agent_settings import AgentSettings
    from ...devices.sim.soft import soft_microscope
    from ...grid import ScanGrid
    from ...modelstore import keep_models
    from ...phantom import make_object
    from ...plans.adaptive import adaptive_map
    from ...record import Journal
    from ...simulation.models import prepare_models

    # what a session has by default: the paper's classifier would call spectra of so short a dwell ill, all of them
    models = prepare_models(name, sampler="learned", classifier="likelihood")
    phantom = make_object(name, 0)
    # as a session does: the page makes the run's sampler again, and takes its share of the machine
    keep_models(Path(folder).parent / "models", models.sampler, models.classifier)
    beam, eds, sem = soft_microscope(phantom, models.classifier)
    grid = ScanGrid(phantom.shape)
    settings = AgentSettings.for_models(
        grid, models.classifier, models.sampler, sampler="learned", fraction=0.25
    )
    agent = SladsAgent.from_settings(settings, models.sampler)
    times: list[float] = []

    def note(kind: str, _: Any) -> None:
        if kind == "event":
            times.append(time.perf_counter())

    engine: Any = RunEngine({}, context_managers=[])
    with Journal(folder) as journal:
        engine.subscribe(journal)
        engine.subscribe(note)
        engine(adaptive_map(beam, eds, agent, baseline=[sem], dwell_s=0.1, md={"sample": name, "scan_id": 1}))
    return float(np.median(np.diff(times)[50:]))


def main(arguments: Sequence[str]) -> None:
    """Run one step and print its number."""
    step, *rest = arguments
    value = write(*rest) if step == "write" else map_object(*rest)
    sys.stdout.write(f"{value}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
