"""Cost of the live view and of a publisher to a run, and the time until a session is ready."""

from __future__ import annotations

import math
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

from ...errors import ConfigError, InstrumentError
from ...progress import Progress, no_progress, part_of
from ..figures import Figure, at_most, measured

__all__ = ["measure_session", "session_figures"]

READY = "session-is-ready"


def measure_session(
    object_name: str,
    points: int,
    repeats: int,
    profile: Path,
    *,
    seed: int,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Map with and without the live view and a 0MQ publisher, alternately, and start a session.

    Parameters
    ----------
    object_name : str
        Simulated object, over soft devices.
    points : int
        Points of each run.
    repeats : int
        Runs of each kind.
    profile : Path
        IPython profile to start; skipped where there is none.
    seed : int
        Of object and training.
    progress : callable, optional
        Called with the stage and the fraction of the work that is done, about.

    Returns
    -------
    dict

    Raises
    ------
    ConfigError
        If the object has fewer pixels than `points`.
    InstrumentError
        If the proxy or the session does not start, the view stops itself or documents do not reach the proxy.
    """
    from ...phantom import make_object
    from ...simulation.models import prepare_models

    phantom = make_object(object_name, seed)
    if points > phantom.truth.size:
        raise ConfigError(f"{object_name} has {phantom.truth.size} pixels, not {points}")
    progress("preparing models", 0.0)
    models = prepare_models(
        object_name,
        sampler="slads",
        classifier="likelihood",
        seed=seed,
        progress=part_of(progress, 0.0, 0.1),
    )
    with _proxy() as address:
        runs = _runs(phantom, models, points, repeats, seed, address, progress)
    found: dict[str, Any] = {"object": object_name, "seed": seed, "points": points, "repeats": repeats}
    found.update(_summary(runs, points))
    found["load"] = os.getloadavg()[0]
    if (profile / "startup").is_dir():
        progress("starting sessions", 0.8)
        (found["session_first_s"], _), (found["session_ready_s"], found["session_parts_s"]) = _sessions(
            profile
        )
    return found


def session_figures(found: dict[str, Any]) -> list[Figure]:
    """Return the figures of the issue on the session, from the results of `measure_session`."""
    figures = [
        measured("point without view and publisher", found["bare_point_ms"], "ms"),
        at_most("live view: part of the run's time", 100 * found["view_share"], 2, "%"),
        measured("live view: the same, worst run", 100 * found["view_share_worst"], "%"),
        measured("live view: wall time with it / without", found["view_wall_ratio"]),
        at_most("live view: pictures per second", found["view_drawn_per_s"], 2),
        at_most("publisher: in the plan's thread, per point", found["publisher_call_ms"], 0.3, "ms"),
        measured("publisher: the same, median", found["publisher_median_call_ms"], "ms"),
        measured("publisher: in its own thread, per point", found["publisher_work_ms"], "ms"),
        at_most("publisher: a point with it less one without", found["publisher_point_ms"], 0.3, "ms"),
    ]
    if "session_ready_s" in found:
        figures.append(
            at_most("session ready, from the command to the prompt", found["session_ready_s"], 8, "s")
        )
        for part, seconds in found["session_parts_s"].items():
            figures.append(measured(f"  {part}", seconds, "s"))
        figures.append(Figure("load of the machine meanwhile", found["load"], "", None))
        figures.append(measured("first session ready, which may train", found["session_first_s"], "s"))
    return figures


def _runs(
    phantom: Any,
    models: Any,
    points: int,
    repeats: int,
    seed: int,
    address: str,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Map alternately: bare, with the view, with the publisher; each run after a warm-up, with a journal."""
    from ...callbacks.live import LiveView
    from ...callbacks.publish.zmq import ZMQPublisher
    from ...record import Journal
    from ...simulation.run import make_agent, run_map

    out: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for turn in range(repeats + 1):
            progress("mapping", 0.1 + 0.7 * turn / (repeats + 1))
            for kind in ("bare", "view", "publisher"):
                wanted = points if turn else 200  # the first turn warms up
                agent = make_agent(phantom, models, fraction=wanted / phantom.truth.size, seed=seed)
                subscriber: Any = None
                if kind == "view":
                    subscriber = LiveView(estimate=agent.distortion_estimate)
                elif kind == "publisher":
                    subscriber = ZMQPublisher(address, patience_s=30.0)
                    subscriber("bulk_events", {})  # the proxy has answered before the run begins
                    subscriber.flush(30.0)
                    worked = subscriber.work_s
                calls: list[float] = []

                def timed(
                    name: str, doc: Any, subscriber: Any = subscriber, calls: list[float] = calls
                ) -> None:
                    began = time.perf_counter()
                    subscriber(name, doc)
                    calls.append(time.perf_counter() - began)

                with Journal(Path(scratch) / "journal") as journal:
                    watching = [timed] if subscriber is not None else []
                    result = run_map(phantom, models, agent, soft=True, subscribers=[journal, *watching])
                found = {
                    "kind": kind,
                    "wall_s": result.wall_s,
                    "point_s": float(np.median(result.statistics.point_s)),
                }
                if kind == "view":
                    subscriber.flush()
                    if subscriber.off:
                        raise InstrumentError(f"the live view has stopped itself: {subscriber.off}")
                    found |= {
                        "call_s": subscriber.call_s,
                        "draw_s": subscriber.draw_s,
                        "n_drawn": subscriber.n_drawn,
                    }
                elif kind == "publisher":
                    subscriber.flush(60.0)
                    if subscriber.n_dropped:
                        raise InstrumentError(f"{subscriber.n_dropped} documents did not reach the proxy")
                    found |= {"call_s": sum(calls), "work_s": subscriber.work_s - worked}
                if calls:
                    found["median_call_s"] = float(np.median(calls))
                if subscriber:
                    subscriber.close()
                if turn:
                    out.append(found)
    return out


def _summary(runs: list[dict[str, Any]], n: int) -> dict[str, Any]:
    def of(kind: str, key: str) -> Any:
        return np.array([run[key] for run in runs if run["kind"] == kind])

    points = {kind: float(np.median(of(kind, "point_s"))) for kind in ("bare", "view", "publisher")}
    shares = (of("view", "call_s") + of("view", "draw_s")) / of("view", "wall_s")
    return {
        "bare_point_ms": points["bare"] * 1e3,
        "view_share": float(np.median(shares)),
        "view_share_worst": float(shares.max()),
        "view_wall_ratio": float(np.median(of("view", "wall_s")) / np.median(of("bare", "wall_s"))),
        "view_drawn_per_s": float(np.median(of("view", "n_drawn") / of("view", "wall_s"))),
        "publisher_call_ms": float(np.median(of("publisher", "call_s"))) / n * 1e3,
        "publisher_median_call_ms": float(np.median(of("publisher", "median_call_s"))) * 1e3,
        "publisher_work_ms": float(np.median(of("publisher", "work_s"))) / n * 1e3,
        "publisher_point_ms": (points["publisher"] - points["bare"]) * 1e3,
    }


@contextmanager
def _proxy() -> Iterator[str]:
    """A bluesky 0MQ proxy in a process of its own; gives the address of its incoming side."""
    from ...callbacks.publish.zmq import proxy_answers
    from ...devices.sim.ports import free_port

    into, out = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    command = [
        sys.executable,
        "-m",
        "bluesky.commandline.zmq_proxy",
        "--in-address",
        into,
        "--out-address",
        out,
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        if not proxy_answers(into, 60.0):
            raise InstrumentError(f"the 0MQ proxy at {into} does not answer")
        yield into
    finally:
        process.terminate()
        process.wait()


def _sessions(profile: Path) -> list[tuple[float, dict[str, float]]]:
    """Seconds until the first and the second session have their prompt, each with its parts; in their own record.

    The parts are those that the session reports; devices, models and catalog are made at the same time.
    """
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "profile"  # IPython writes its history there
        shutil.copytree(profile, copy)
        environment = {**os.environ, "XDG_DATA_HOME": scratch, "COLUMNS": "400"}
        command = [sys.executable, "-m", "IPython", f"--profile-dir={copy}", "--no-banner"]
        found = []
        for _ in range(2):
            began = time.perf_counter()
            with subprocess.Popen(
                [*command, "-c", f"RE.state; print('{READY}', flush=True)"], env=environment, text=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            ) as process:  # fmt: skip
                assert process.stdout is not None
                lines, took = [], math.nan
                for line in process.stdout:
                    lines.append(line)
                    if READY in line and "print(" not in line:
                        took = time.perf_counter() - began
                        break
                process.stdout.read()
            if process.returncode or not lines or READY not in lines[-1]:
                raise InstrumentError(
                    f"the session of {profile} did not start: {''.join(lines[-3:]).strip()}"
                )
            found.append((took, _parts("".join(lines), took)))
    return found


def _parts(said: str, took: float) -> dict[str, float]:
    """Take the parts of a start from what the session printed, and what lies around them."""
    line = re.search(r"ready in ([\d.]+) s \((.*?)\), ([\d.]+) s after Python started", said)
    if line is None:
        return {}
    ready, before = float(line[1]), float(line[3])
    parts = {name: float(seconds) for name, seconds in re.findall(r"([a-z ]+?) ([\d.]+)(?:, |$)", line[2])}
    return {
        "Python, IPython and imports, before the session": before,
        "the session, its parts at the same time": ready,
        **{f"  {name.strip()}": seconds for name, seconds in parts.items()},
        "IPython's prompt after it": max(took - before - ready, 0.0),
    }
