"""What faults are tried on: a simulated microscope in real time, a network to it, and a session in a process."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from ...devices.sim.ports import free_port
from ...devices.sim.process import SimulatedMicroscope
from ...errors import InstrumentError
from .proxy import NetworkProxy

__all__ = ["DrivenSession", "Rig"]

PREFIX = "TRUST:"
OBJECT = "pbsn-32"
DWELL_S = 0.08
SETTLE_S = 0.1
POINTS, INITIAL = 14, 7
PATIENCE_S = 120.0

_YAML = """\
mode: hardware
devices:
  beam: {{class: SEMBeam, prefix: "{prefix}Beam:"}}
  eds: {{class: EDSDetector, prefix: "{prefix}EDS:mca1"}}
  sem: {{class: Microscope, prefix: "{prefix}Beam:"}}
grid: {{shape: [32, 32]}}
sampler: {{name: slads, model: sampler.safetensors, fraction: {fraction}, initial: {initial}, seed: 0}}
classifier: {{file: classifier.safetensors}}
dose: {{dwell_s: {dwell_s}, minimum_na: 0.5}}
catalog: {{directory: {record}{uri}}}
display: {{progress: false, live: false}}
"""


class Rig:
    """The microscope of the bench in a process of its own, seen by the bench directly; a context manager.

    Parameters
    ----------
    folder : Path
        For models, records and logs.
    seed : int
        Of the object and of the training.

    Attributes
    ----------
    network : NetworkProxy
        Between the session and the microscope; the bench itself does not go through it.
    """

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.folder, self.seed = folder, seed
        self.log = folder / "ioc.jsonl"
        self.microscope = SimulatedMicroscope(
            OBJECT, seed, PREFIX, time_scale=1.0, log=self.log, control_layer="caproto"
        )
        self._exits = contextlib.ExitStack()
        self._lit: list[tuple[float, bool]] = []

    def __enter__(self) -> Rig:
        from ...simulation.models import prepare_models

        models = prepare_models(OBJECT, sampler="slads", classifier="likelihood", seed=self.seed)
        models.sampler.save(self.folder / "sampler.safetensors")
        models.classifier.save(self.folder / "classifier.safetensors")  # type: ignore[attr-defined]
        self._exits.enter_context(self.microscope)
        self.network = self._exits.enter_context(NetworkProxy(self.microscope.port))
        from ophyd import EpicsSignal

        make: Any = EpicsSignal
        self._signals: dict[str, Any] = {}
        self._make: Callable[[str], Any] = lambda name: make(PREFIX + name, name=name, put_complete=True)
        self.signal("Beam:Blank_RBV").subscribe(self._note)
        self.put("Beam:SettleTime", SETTLE_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._exits.close()

    def signal(self, name: str) -> Any:
        """Return the bench's own client of a PV."""
        if name not in self._signals:
            self._signals[name] = self._make(name)
            self._signals[name].wait_for_connection(timeout=20)
        return self._signals[name]

    def put(self, name: str, value: Any) -> None:
        """Write a PV and wait until the microscope has done it."""
        self.signal(name).set(value).wait(20)

    def get(self, name: str) -> Any:
        """Read a PV."""
        return self.signal(name).get()

    def fresh(self) -> None:
        """A fresh specimen, no faults, the usual settings, a whole network."""
        self.network.delay_s = 0.0
        self.network.restore()
        self.put("Sim:Reset", 1)
        for name, value in (("Sim:Late", 0.0), ("Sim:Trip", 0), ("Beam:SettleTime", SETTLE_S)):
            self.put(name, value)

    def restart(self) -> None:
        """Kill the microscope's process and start it again, as a power cut does."""
        pid = self.microscope.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        self.microscope.stop()
        self.microscope.start()

    def _note(self, value: Any = None, timestamp: float = 0.0, **_: Any) -> None:
        self._lit.append((time.time(), int(value) == 0))

    @property
    def lit(self) -> bool:
        """Whether the beam is unblanked."""
        return int(self.get("Beam:Blank_RBV")) == 0

    def lit_after(self, since: float, until: float) -> float:
        """Return when the beam was unblanked last between two times, in seconds after `since`, by the monitor."""
        lit, last = False, since
        for at, state in list(self._lit):
            if at > until:
                break
            if at > since:
                last = at if lit or state else last
            lit = state
        return until - since if lit else last - since

    def session(self, name: str, uri: str = "", layer: str = "caproto") -> DrivenSession:
        """Start a session with a record of its own, or with that of an earlier one of the name."""
        folder = self.folder / name
        self.write_instrument(folder, uri)
        return DrivenSession(folder, self.environment(layer))

    def write_instrument(self, folder: Path, uri: str = "") -> None:
        """Write the instrument.yml of a session into a folder, with the models that it names."""
        folder.mkdir(exist_ok=True)
        for model in ("sampler.safetensors", "classifier.safetensors"):
            if not (folder / model).exists():
                (folder / model).hardlink_to(self.folder / model)
        text = _YAML.format(
            prefix=PREFIX, fraction=POINTS / 1024, initial=INITIAL / 1024, dwell_s=DWELL_S, record="record",
            uri=f', uri: "{uri}"' if uri else "",
        )  # fmt: skip
        (folder / "instrument.yml").write_text(text)

    def environment(self, layer: str = "caproto") -> dict[str, str]:
        """Return the environment of a process that sees the microscope through the network."""
        environment = {
            **os.environ, "EPICS_CA_ADDR_LIST": f"127.0.0.1:{self.network.port}", "EPICS_CA_AUTO_ADDR_LIST": "NO",
            "EPICS_CA_REPEATER_PORT": str(free_port()), "OPHYD_CONTROL_LAYER": layer, "MPLBACKEND": "agg",
            "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        environment.pop("SLADS_INSTRUMENT", None)
        return environment


class DrivenSession:
    """A session in a process of its own, driven by lines of JSON; see `session_process`.

    Parameters
    ----------
    folder : Path
        With ``instrument.yml``; the record is ``record`` in it.
    environment : dict
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.record = folder / "record"
        self._log: IO[bytes] = (folder / "session.log").open("ab")
        self._path = folder / "session.log"
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.session_process", str(folder / "instrument.yml")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=environment, text=True,
            start_new_session=True,
        )  # fmt: skip
        self._lines: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.writer = 0
        try:
            self.writer = int(self.expect("ready")["writer"])
        except InstrumentError:
            self.close()
            raise

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with contextlib.suppress(ValueError):
                self._lines.put(json.loads(line))
        self._lines.put(None)

    def do(self, command: str, **more: Any) -> None:
        """Send a command."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps({"do": command, **more}) + "\n")
            self.process.stdin.flush()

    def expect(self, key: str, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """Wait for a report that has `key`; InstrumentError if the session says nothing or dies."""
        found = self.hear(key, patience_s)
        if found is None:
            raise InstrumentError(f"the session ended before '{key}': {self.last_words()}")
        return found

    def hear(self, key: str, patience_s: float = PATIENCE_S) -> dict[str, Any] | None:
        """Wait for a report that has `key`; None if the process ends before."""
        limit = time.monotonic() + patience_s
        while True:
            try:
                said = self._lines.get(timeout=max(0.0, limit - time.monotonic()))
            except queue.Empty:
                raise InstrumentError(f"the session did not report '{key}' within {patience_s:g} s") from None
            if said is None or key in said:
                return said

    def last_words(self, lines: int = 4) -> str:
        """Return what it last wrote to its log."""
        return "\n".join(self._path.read_text(errors="replace").splitlines()[-lines:])

    def exits(self, patience_s: float) -> bool:
        """Wait for the end of the process; if it does not end, say where it hangs in its log, and kill it."""
        try:
            self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.kill(signal.SIGUSR1)
            time.sleep(1.0)
            self.kill(signal.SIGKILL)
            self.process.wait()
            return False
        return True

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return self.process.poll() is None

    def kill(self, signal_: int) -> None:
        """Send the process a signal."""
        os.kill(self.process.pid, signal_)

    def close(self) -> None:
        """End the session, and everything that it started."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(40)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(10)
        assert self.process.stdout is not None
        # closing what a thread reads waits for that thread, and no signal ends the wait
        if not self._reader.is_alive():
            self.process.stdout.close()
        if self.writer:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.writer, signal.SIGKILL)
        self._log.close()
