"""An acquisition killed at random moments, resumed, and compared with one that was not."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import RecordError

__all__ = ["measure_kills"]

_ACQUIRE = """
import sys
from pathlib import Path
from slads_bluesky.record import Recorder
from slads_bluesky.simulation.run import make_agent, run_map
from slads_bluesky.simulation.models import prepare_models
from slads_bluesky.phantom import make_object
directory, name, fraction, seed, soft = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
recorder = Recorder(directory)
print("writer", recorder._process.pid, flush=True)
phantom, models = make_object(name, seed), prepare_models(name, seed=seed)
def told(kind, doc):  # after the recorder: what is told here is on record
    if kind == "event" and "scan_pixel" in doc["data"]:
        print("event", doc["uid"], doc["data"]["scan_pixel"], flush=True)
run_map(phantom, models, make_agent(phantom, models, fraction=fraction, seed=seed), soft=soft == "soft",
    subscribers=[recorder, told])
print("end", recorder.close(120), flush=True)
"""


def measure_kills(
    kills: int,
    object_name: str,
    fraction: float,
    *,
    soft: bool,
    seed: int,
    told: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """Kill -9 an acquisition at random moments, half of the times with the catalog's writer, and resume it.

    Parameters
    ----------
    kills : int
        How often.
    object_name : str
        Object that is mapped.
    fraction : float
        Part of its pixels.
    soft : bool
        In-process devices, or the simulated microscope over Channel Access.
    seed : int
        Of the object, the training and the moments.
    told : callable, optional
        Told how many kills are done.

    Returns
    -------
    dict
        What was lost, and how often decisions, map and catalog came out as if nothing had happened.
    """
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    how = [object_name, str(fraction), str(seed), "soft" if soft else "ioc"]
    with tempfile.TemporaryDirectory(prefix="slads-kills-", ignore_cleanup_errors=True) as scratch:
        work = Path(scratch)
        n = len(_acquire(work / "whole", how, None, False))
        for i in range(kills):
            moment, writer_too = int(rng.integers(1, n)), bool(rng.random() < 0.5)
            rows.append(_kill_and_resume(work, i, how, moment, writer_too, soft=soft))
            shutil.rmtree(work / str(i), ignore_errors=True)
            told(i + 1)
    return {
        "kills": kills,
        "points": n,
        "killed_after": [row["killed_after"] for row in rows],
        "writers_killed": sum(row["writer_too"] for row in rows),
        "completed_points_lost": sum(row["lost"] for row in rows),
        "most_points_in_flight": max(row["in_flight"] for row in rows),
        "same_decisions": sum(row["same_decisions"] for row in rows),
        "same_maps": sum(row["same_map"] for row in rows),
        "catalogs_complete": sum(row["catalog"] for row in rows),
    }


def _acquire(
    directory: Path, how: list[str], kill_after: int | None, writer_too: bool
) -> list[tuple[str, int]]:
    """Take a map in a process of its own; kill it once it has told of so many events, which are given."""
    command = [sys.executable, "-c", _ACQUIRE, str(directory), *how]
    told: list[tuple[str, int]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        writer = 0
        for line in process.stdout:
            kind, *rest = line.split()
            if kind == "writer":
                writer = int(rest[0])
            elif kind == "event" and line.endswith("\n"):
                told.append((rest[0], int(rest[1])))
            if kill_after is not None and len(told) == kill_after:
                if writer_too:
                    os.kill(writer, signal.SIGKILL)
                process.send_signal(signal.SIGKILL)
                kill_after = None
        process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the IOC of the killed process
    return told


def _kill_and_resume(
    work: Path, i: int, how: list[str], kill_after: int, writer_too: bool, *, soft: bool
) -> dict[str, Any]:
    from ...analysis.run_data import load_map
    from ...record import close_catalog, open_catalog
    from ...record.runs import find_run, map_runs

    directory = work / str(i)
    told = _acquire(directory, how, kill_after, writer_too)
    parent = find_run("-1", directory)
    points = [
        (doc["uid"], doc["data"]["scan_pixel"])
        for name, doc in parent.documents()
        if name == "event" and "scan_pixel" in doc["data"]
    ]
    if parent.exit_status == "unfinished":
        _resume(directory, soft)
    chain = map_runs(find_run("-1", directory), directory)
    again = load_map([run.documents for run in chain])
    once = load_map([find_run("-1", work / "whole").documents])
    catalog = open_catalog(directory)
    try:
        held = sum(
            catalog[run.uid]["primary"]["eds_spectrum"].shape[0]
            for run in chain
            if "primary" in catalog[run.uid]
        )
    finally:
        close_catalog(catalog)
    return {
        "killed_after": kill_after,
        "writer_too": writer_too,
        "lost": len(set(told) - set(points)),
        "in_flight": len(points) - len(told),
        "same_decisions": bool(np.array_equal(again.pixels, once.pixels)),
        "same_map": all(
            np.array_equal(getattr(again, name), getattr(once, name))
            for name in ("measured", "reconstruction", "spectra", "labels", "verdicts")
        ),
        "catalog": held == again.n_measured,
    }


def _resume(directory: Path, soft: bool) -> None:
    command = ["resume", "-1", "--catalog", str(directory), *(["--soft"] if soft else [])]
    script = "import sys; from slads_bluesky.cli import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", script, *command], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RecordError(f"resume failed: {done.stderr.strip()}")
