"""An acquisition killed at random moments, resumed, and compared with one that was not."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import RecordError
from ...progress import Progress, no_progress
from ..figures import Figure, at_most, equal

__all__ = ["kill_figures", "measure_kills"]

_ACQUIRE = f"{__package__}.kill_target"
WRITER_S = 60.0
"""The writer of the catalog may take so long for the rest of a killed or resumed run, s."""


def measure_kills(
    kills: int,
    object_name: str,
    fraction: float,
    *,
    soft: bool,
    seed: int,
    progress: Progress = no_progress,
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
    progress : callable, optional
        Called with the stage and the fraction of the kills that is done.

    Returns
    -------
    dict
        Points lost, and how often decisions, map and catalog were those of the uninterrupted run.
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
            progress("killing and resuming", (i + 1) / kills)
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


def kill_figures(found: dict[str, Any]) -> list[Figure]:
    """Return the figures of the issue on the record, from the results of `measure_kills`."""
    kills = found["kills"]
    return [
        equal("completed points lost", found["completed_points_lost"], 0),
        at_most("points in flight at a kill, most", found["most_points_in_flight"], 1),
        equal("resumed with the same decisions", found["same_decisions"], kills),
        equal("resumed to the same map", found["same_maps"], kills),
        equal("catalog complete afterwards", found["catalogs_complete"], kills),
    ]


def _acquire(
    directory: Path, how: list[str], kill_after: int | None, writer_too: bool
) -> list[tuple[str, int]]:
    """Take a map in a process of its own; kill it after `kill_after` events; return those on record."""
    command = [sys.executable, "-m", _ACQUIRE, str(directory), *how]
    recorded: list[tuple[str, int]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        writer = 0
        for line in process.stdout:
            kind, *rest = line.split()
            if kind == "writer":
                writer = int(rest[0])
            elif kind == "event" and line.endswith("\n"):
                recorded.append((rest[0], int(rest[1])))
            if kill_after is not None and len(recorded) == kill_after:
                if writer_too:
                    os.kill(writer, signal.SIGKILL)
                process.send_signal(signal.SIGKILL)
                kill_after = None
        process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the IOC of the killed process
    return recorded


def _kill_and_resume(
    work: Path, i: int, how: list[str], kill_after: int, writer_too: bool, *, soft: bool
) -> dict[str, Any]:
    from ...analysis.load import load_map
    from ...record.runs import find_run, map_runs

    directory = work / str(i)
    recorded = _acquire(directory, how, kill_after, writer_too)
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
    held = _rows_in_catalog(directory, [run.uid for run in chain], again.n_measured)
    return {
        "killed_after": kill_after,
        "writer_too": writer_too,
        "lost": len(set(recorded) - set(points)),
        "in_flight": len(points) - len(recorded),
        "same_decisions": bool(np.array_equal(again.pixels, once.pixels)),
        "same_map": all(
            np.array_equal(getattr(again, name), getattr(once, name))
            for name in ("measured", "reconstruction", "spectra", "labels", "verdicts")
        ),
        "catalog": held == again.n_measured,
    }


def _rows_in_catalog(directory: Path, uids: list[str], wanted: int) -> int:
    """Spectra that the catalog holds of some runs; a writer that outlived its process may still be at one of them."""
    from ...record import close_catalog, open_catalog

    limit = time.monotonic() + WRITER_S
    while True:
        catalog = open_catalog(directory)
        try:
            there = [catalog[uid] for uid in uids if uid in catalog]
            held = sum(int(run["primary"]["eds_spectrum"].shape[0]) for run in there if "primary" in run)
        finally:
            close_catalog(catalog)
        if held >= wanted or time.monotonic() > limit:
            return held
        time.sleep(0.5)


def _resume(directory: Path, soft: bool) -> None:
    command = ["resume", "-1", "--catalog", str(directory), *(["--soft"] if soft else [])]
    done = subprocess.run(
        [sys.executable, "-m", "slads_bluesky", *command], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RecordError(f"resume failed: {done.stderr.strip()}")
