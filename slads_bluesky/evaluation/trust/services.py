"""Scenes beside the matrix of faults: a second session, a Tiled server that is gone or slow, a queue restarted."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...analysis.load import load_map
from ...analysis.run_data import RunData
from ...devices.sim.ports import free_port
from ...errors import InstrumentError
from ...record.runs import find_run
from ...streams import final_events
from ..benchmarks import record_steps
from ..process import run_module
from .proxy import NetworkProxy
from .rig import Rig
from .scenes import Seen, SessionPool

__all__ = ["SERVICES", "play_service"]


START_S = 180.0
"""How long a server may take to start on a busy machine."""


def play_service(rig: Rig, pool: SessionPool, name: str, reference: RunData) -> Seen:
    """Play one of `SERVICES`; what breaks the scene itself is among what was wrong."""
    seen = Seen(name, "")
    rig.fresh()
    try:
        SERVICES[name][1](rig, pool, reference, seen)
    except (InstrumentError, OSError) as error:
        seen.wrong.append(f"the scene broke: {error}")
    return seen


def _second_session(rig: Rig, pool: SessionPool, reference: RunData, seen: Seen) -> None:
    """Let another session map on the microscope in the middle of a map; it was opened before, as that takes long."""
    first, second = pool.get(), rig.session("second")
    try:
        first.do("map_sample", args=["first"], arm=["acquire", 3])
        first.expect("near")
        # so that the first map lasts longer than a refusal takes; a detector that is silent for 2 s would be given up
        rig.put("Sim:Late", 1.0)
        first.do("go")
        first.expect("at")
        second.do("map_sample", args=["second"])
        outcome = second.hear("outcome")
        seen.ended = (
            f"second map {outcome['outcome']} {outcome['error'][:160]}".strip() if outcome else "ended"
        )
        if outcome is None or outcome["outcome"] != "raised" or "in use by" not in outcome["error"]:
            seen.wrong.append("a second session maps on the same microscope")
    finally:
        rig.put("Sim:Late", 0.0)
        second.close()
    first.expect("outcome")
    _compare(load_map([find_run("-1", first.record).documents]), reference, seen)


def _tiled_gone(rig: Rig, pool: SessionPool, reference: RunData, seen: Seen) -> None:
    """Kill the Tiled server in mid-map, start it again afterwards, and look for the run in it."""
    with _tiled(rig, "tiled-gone") as (record, server, _, uri):
        session = _session_with(rig, "session-of-tiled-gone", uri)
        session.do("map_sample", args=["tiled gone"], arm=["decide", 9])
        session.expect("near")
        session.do("go")
        session.expect("at")
        server.stop()
        seen.ended = session.expect("outcome")["outcome"]
        run = find_run("-1", session.record)
        _compare(load_map([run.documents]), reference, seen)
        session.close()
        if not find_run(run.uid, session.record).left_out:
            seen.wrong.append("nothing says that the server lacks the run")
        server.start()
        _session_with(rig, "session-of-tiled-gone", uri).close()  # its opening catches up
        _in_catalog(record, run, seen)


def _tiled_slow(rig: Rig, pool: SessionPool, reference: RunData, seen: Seen) -> None:
    """Delay the network to the Tiled server, and compare the time of a point with that of the undisturbed map."""
    with _tiled(rig, "tiled-slow") as (record, _, network, uri):
        session = _session_with(rig, "session-of-tiled-slow", uri)
        runs = []
        for delay in (0.0, 0.5):  # one after the other, as a machine may be busier at another time
            rig.fresh()
            network.delay_s = delay
            session.do("map_sample", args=[f"Tiled {delay} s slow"])
            seen.ended = session.expect("outcome")["outcome"]
            runs.append(find_run("-1", session.record))
        network.delay_s = 0.0
        run = runs[1]
        _compare(load_map([run.documents]), reference, seen)
        ratio = _point_s(run) / _point_s(runs[0])
        seen.ended += f"; time per point {ratio:.2f} of that without delay"
        if ratio > 1.5:
            seen.wrong.append(f"a slow Tiled server makes points {ratio:.1f} times as long")
        session.close()
        _in_catalog(record, run, seen)


def _queue_restarted(rig: Rig, pool: SessionPool, reference: RunData, seen: Seen) -> None:
    """Terminate the queue server in mid-map, start it again on the same Redis, and resume the map from its queue."""
    pool.drop()
    with _redis(rig.folder) as redis:
        queue = _Queue(rig, redis)
        queue.start()
        for sample in ("one", "two"):
            queue.do("queue_item_add", item={"item_type": "plan", "name": "map_sample", "args": [sample]},
                     user="bench", user_group="primary")  # fmt: skip
        queue.do("queue_start")
        _until(lambda: rig.lit, 60.0, "the first map")
        struck = time.time()
        queue.stop()
        time.sleep(2.5)
        dark = seen.dark_after_s = rig.lit_after(struck, time.time())
        if dark > 2.0:
            seen.wrong.append(f"beam lit for {dark:.1f} s, not 2 s")
        rig.put("Beam:Blank", 1)
        queue.start()
        waiting = [item.get("args") for item in queue.do("queue_get")["items"]]
        if ["two"] not in waiting:
            seen.wrong.append(f"the queue holds {waiting}, not the second map")
        queue.do("queue_clear")
        queue.do("queue_item_add", item={"item_type": "plan", "name": "resume_map", "args": ["-1"]},
                 user="bench", user_group="primary")  # fmt: skip
        queue.do("queue_start")
        queue.wait(manager_state="idle", items_in_queue=0)
        results = [item["result"]["exit_status"] for item in queue.do("history_get")["items"]]
        seen.ended = ", ".join(results)
        from ...record.runs import map_runs

        chain = map_runs(find_run("-1", queue.record), queue.record)
        _compare(load_map([run.documents for run in chain]), reference, seen)
        queue.stop()


SERVICES: dict[str, tuple[str, Callable[[Rig, SessionPool, RunData, Seen], None]]] = {
    "second session on the microscope": ("refused by name; the first map is undisturbed", _second_session),
    "Tiled server gone in mid-map": ("the map is whole, the server catches up", _tiled_gone),
    "Tiled server 0.5 s slow": ("points take as long as ever, the catalog is whole", _tiled_slow),
    "queue server restarted in mid-map": (
        "blanked, the queue kept, resumed to the same map",
        _queue_restarted,
    ),
}
"""Name to what is promised and the scene."""


def _compare(data: RunData, reference: RunData, seen: Seen) -> None:
    for name in ("pixels", "labels", "reconstruction"):
        if not np.array_equal(getattr(data, name), getattr(reference, name)):
            seen.wrong.append(f"{name} differ from those of the undisturbed map")
            return


def _point_s(run: Any) -> float:
    """Median time from one event to the next, s."""
    times = [doc["time"] for _, doc in final_events(run.documents(), ("primary",))]
    return float(np.median(np.diff(times)))


def _in_catalog(record: Path, run: Any, seen: Seen) -> None:
    expected = len(final_events(run.documents(), ("primary",)))
    try:
        found = run_module(record_steps.__name__, "read", str(record), run.uid)["shape"][0]
    except InstrumentError as error:
        seen.wrong.append(f"the run is not in the catalog: {error}")
        return
    if found != expected:
        seen.wrong.append(f"the catalog holds {found} events of {expected}")


class _Server:
    """``slads-bluesky serve`` in a process of its own, on a port that stays."""

    def __init__(self, record: Path, key: str) -> None:
        self.port = free_port()
        self._record, self._environment = record, {**os.environ, "TILED_SINGLE_USER_API_KEY": key}
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = ["serve", "--catalog", str(self._record), "--port", str(self.port)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "slads_bluesky", *command], env=self._environment, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        _until(lambda: _answers(self.port), START_S, "the Tiled server")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def _tiled(rig: Rig, name: str) -> Iterator[tuple[Path, _Server, NetworkProxy, str]]:
    """A Tiled server over a record of its own, behind a network; with the URI, and the key in the environment."""
    key = secrets.token_hex(24)
    record = rig.folder / name / "record"
    record.mkdir(parents=True)
    server = _Server(record, key)
    before = os.environ.get("TILED_API_KEY")
    os.environ["TILED_API_KEY"] = key
    server.start()
    try:
        with NetworkProxy(server.port) as network:
            yield record, server, network, f"http://127.0.0.1:{network.port}"
    finally:
        server.stop()
        os.environ.pop("TILED_API_KEY", None)
        if before is not None:
            os.environ["TILED_API_KEY"] = before


def _session_with(rig: Rig, name: str, uri: str) -> Any:
    return rig.session(name, uri=uri)


@contextlib.contextmanager
def _redis(folder: Path) -> Iterator[str]:
    server = shutil.which("redis-server")
    if server is None:
        raise InstrumentError("redis-server is not installed")
    port = free_port()
    command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as process:
        try:
            _until(lambda: _answers(port), 20.0, "redis")
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()


class _Queue:
    """An RE manager over a session on the rig."""

    def __init__(self, rig: Rig, redis: str) -> None:
        folder = rig.folder / "queue"
        startup = folder / "startup"
        startup.mkdir(parents=True)
        rig.write_instrument(folder)
        (startup / "00-session.py").write_text(
            "from slads_bluesky.instrument import open_session\n"
            "from slads_bluesky.plans.queue import queue_plans\n"
            f"session = open_session({str(folder / 'instrument.yml')!r})\n"
            "RE, db = session.RE, session.db\n"
            "map_sample, resume_map, raster_map, collect_spectra = queue_plans(session)\n"
        )
        (folder / "permissions.yaml").write_text(
            "user_groups:\n"
            "  root: {allowed_plans: [':.*'], allowed_devices: [':.*']}\n"
            "  primary: {allowed_plans: [':.*'], allowed_devices: [':.*']}\n"
        )
        self.record = folder / "record"
        self._control, info = free_port(), free_port()
        self._command = [
            str(Path(sys.executable).with_name("start-re-manager")), "--startup-dir", str(startup),
            "--redis-addr", redis, "--user-group-permissions", str(folder / "permissions.yaml"),
            "--zmq-control-addr", f"tcp://127.0.0.1:{self._control}", "--zmq-info-addr", f"tcp://127.0.0.1:{info}",
        ]  # fmt: skip
        self._environment, self._log = rig.environment(), folder / "manager.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the manager and open the environment."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        _until(lambda: self._status().get("manager_state") == "idle", START_S, "the RE manager")
        self.do("environment_open")
        self.wait(manager_state="idle", worker_environment_state="idle")

    def stop(self) -> None:
        """Terminate the manager and its worker, as a service manager does."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One request by the manager's protocol, JSON-RPC over 0MQ; InstrumentError if it is refused."""
        answer = self._ask(method, **parameters)
        if not answer.get("success", True):
            raise InstrumentError(f"queue server, {method}: {answer['msg']}")
        return answer

    def wait(self, **wanted: Any) -> None:
        """Wait until the manager is in a state."""
        _until(
            lambda: all(self._status().get(key) == value for key, value in wanted.items()),
            START_S,
            f"{wanted} of the queue server",
        )

    def _status(self) -> dict[str, Any]:
        with contextlib.suppress(Exception):
            return self._ask("status")
        return {}

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        import zmq

        with zmq.Context() as context, context.socket(zmq.REQ) as client:
            client.linger, client.rcvtimeo = 0, 10000
            client.connect(f"tcp://127.0.0.1:{self._control}")
            client.send_json({"method": method, "params": parameters})
            answer = client.recv_json()
            return dict(answer) if isinstance(answer, dict) else {}


def _answers(port: int) -> bool:
    import socket

    with contextlib.closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _until(condition: Callable[[], bool], limit_s: float, what: str) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            raise InstrumentError(f"{what}: not within {limit_s:g} s")
        time.sleep(0.05)
