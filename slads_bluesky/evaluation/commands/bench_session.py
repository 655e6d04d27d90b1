"""``slads-bluesky bench session``: what the live view and a publisher cost a run, and how soon a session is ready."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from ...errors import ConfigError, InstrumentError
from ...files import check_writable, write_json

__all__ = ["register"]

READY = "session-is-ready"


def register(app: typer.Typer) -> None:
    """Add ``session`` to `app`."""
    app.command()(session)


def session(
    object_name: Annotated[
        str, typer.Option("--object", help="Simulated object, over soft devices.")
    ] = "pbsn-128",
    points: Annotated[int, typer.Option(min=200, help="Points of each run.")] = 8000,
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each kind, taken in turn.")] = 3,
    profile: Annotated[
        Path, typer.Option(metavar="DIR", help="IPython profile to start; left out where there is none.")
    ] = Path("profile"),
    seed: Annotated[int, typer.Option(help="Seed of object and training.")] = 0,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures there too.")
    ] = None,
) -> None:
    """Map with and without the live view and a 0MQ publisher, in turn, and start a session."""
    from rich.console import Console
    from rich.table import Table

    from ...phantom import make_object
    from ...simulation.models import prepare_models

    check_writable(json_file)
    console = Console(highlight=False)
    phantom = make_object(object_name, seed)
    if points > phantom.truth.size:
        raise ConfigError(f"{object_name} has {phantom.truth.size} pixels, not {points}")
    with console.status("preparing models") as status:
        models = prepare_models(
            object_name,
            sampler="slads",
            classifier="likelihood",
            seed=seed,
            progress=lambda stage, done: status.update(stage),
        )
        status.update("mapping")
        with _proxy() as address:
            runs = _runs(phantom, models, points, repeats, seed, address)
        figures: dict[str, Any] = {"object": object_name, "seed": seed, "points": points, "repeats": repeats}
        figures.update(_summary(runs, points))
        if (profile / "startup").is_dir():
            status.update("starting sessions")
            figures["session_first_s"], figures["session_ready_s"] = _sessions(profile)
    table = Table(min_width=64)
    for name, side in (("", "left"), ("this run", "right"), ("wanted", "right")):
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    for row in _rows(figures):
        table.add_row(*row)
    console.print(table)
    write_json(json_file, figures)


def _runs(
    phantom: Any, models: Any, points: int, repeats: int, seed: int, address: str
) -> list[dict[str, Any]]:
    """Map in turn: bare, with the view, with the publisher; each run after a warm-up, journal and all."""
    from ...callbacks.live import LiveView
    from ...callbacks.publish.zmq import ZMQPublisher
    from ...record import Journal
    from ...simulation.run import make_agent, run_map

    out: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for turn in range(repeats + 1):
            for kind in ("bare", "view", "publisher"):
                wanted = points if turn else 200  # the first turn warms up
                agent = make_agent(phantom, models, fraction=wanted / phantom.truth.size, seed=seed)
                told: Any = None
                if kind == "view":
                    told = LiveView(estimate=agent.distortion_estimate)
                elif kind == "publisher":
                    told = ZMQPublisher(address, patience_s=30.0)
                    told("bulk_events", {})  # the proxy has answered before the run begins
                    told.flush(30.0)
                    worked = told.work_s
                calls: list[float] = []

                def timed(name: str, doc: Any, told: Any = told, calls: list[float] = calls) -> None:
                    began = time.perf_counter()
                    told(name, doc)
                    calls.append(time.perf_counter() - began)

                with Journal(Path(scratch) / "journal") as journal:
                    looking = [timed] if told is not None else []
                    result = run_map(phantom, models, agent, soft=True, subscribers=[journal, *looking])
                found = {
                    "kind": kind,
                    "wall_s": result.wall_s,
                    "point_s": float(np.median(result.statistics.point_s)),
                }
                if kind == "view":
                    told.flush()
                    if told.off:
                        raise InstrumentError(f"the live view has switched itself off: {told.off}")
                    found |= {"call_s": told.call_s, "draw_s": told.draw_s, "n_drawn": told.n_drawn}
                elif kind == "publisher":
                    told.flush(60.0)
                    if told.n_dropped:
                        raise InstrumentError(f"{told.n_dropped} documents did not reach the proxy")
                    found |= {"call_s": sum(calls), "work_s": told.work_s - worked}
                if calls:
                    found["median_call_s"] = float(np.median(calls))
                if told:
                    told.close()
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


def _rows(figures: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    yield "a point, nobody looking", f"{figures['bare_point_ms']:.2f} ms", ""
    yield "live view: part of the run's time", f"{figures['view_share']:.2%}", "≤ 2 %"
    yield "  the worst run", f"{figures['view_share_worst']:.2%}", ""
    yield "  the whole run, with it / without", f"{figures['view_wall_ratio']:.3f}", ""
    yield "  pictures a second", f"{figures['view_drawn_per_s']:.2f}", "≤ 2"
    yield "publisher: in the plan's thread, a point", f"{figures['publisher_call_ms']:.4f} ms", "≤ 0.3 ms"
    yield "  the median", f"{figures['publisher_median_call_ms']:.4f} ms", ""
    yield "  in its own thread, a point", f"{figures['publisher_work_ms']:.4f} ms", ""
    yield "  a point with it less one without", f"{figures['publisher_point_ms']:.3f} ms", "≤ 0.3 ms"
    if "session_ready_s" in figures:
        yield "session ready", f"{figures['session_ready_s']:.1f} s", "< 10 s"
        yield "  the first one, which may train", f"{figures['session_first_s']:.1f} s", ""


@contextmanager
def _proxy() -> Iterator[str]:
    """A bluesky 0MQ proxy in a process of its own; gives the address of its incoming side."""
    from ...callbacks.publish.zmq import proxy_answers
    from ...devices.sim.ports import free_port

    into, out = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    start = f"from bluesky.callbacks.zmq import Proxy; Proxy({into!r}, {out!r}).start()"
    process = subprocess.Popen([sys.executable, "-c", start])
    try:
        if not proxy_answers(into, 60.0):
            raise InstrumentError(f"the 0MQ proxy at {into} does not answer")
        yield into
    finally:
        process.terminate()
        process.wait()


def _sessions(profile: Path) -> tuple[float, float]:
    """Seconds until the first and the second session have their prompt, with a record of their own."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "profile"  # IPython writes its history there
        shutil.copytree(profile, copy)
        environment = {**os.environ, "XDG_DATA_HOME": scratch}
        command = [sys.executable, "-m", "IPython", f"--profile-dir={copy}", "--no-banner"]
        took = []
        for _ in range(2):
            began = time.perf_counter()
            with subprocess.Popen(
                [*command, "-c", f"RE.state; print('{READY}', flush=True)"], env=environment, text=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            ) as process:  # fmt: skip
                assert process.stdout is not None
                lines = []
                for line in process.stdout:
                    lines.append(line)
                    if READY in line and "print(" not in line:
                        took.append(time.perf_counter() - began)
                        break
                process.stdout.read()
            if process.returncode or len(lines) == 0 or READY not in lines[-1]:
                raise InstrumentError(
                    f"the session of {profile} did not start: {''.join(lines[-3:]).strip()}"
                )
    return took[0], took[1]
