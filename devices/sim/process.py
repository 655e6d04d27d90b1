"""The simulated microscope's IOC as a process of its own: found a port, started, waited for, watched, stopped.

Nothing here imports ophyd: the environment that tells Channel Access clients where to look must be set before
ophyd makes its first connection.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Literal

from ...errors import ConfigError, InstrumentError
from ..caproto_client import keep_client
from .ports import free_port

__all__ = ["SimulatedMicroscope", "point_clients_at", "reserve_ports"]

_served: dict[int, str] = {}
"""Port to prefix of every simulated microscope that this process has running."""

_home_port = 0
"""The port that the first one had: libca looks nowhere else, so later ones are given it again."""


_reserved: list[int] = []


def reserve_ports(n: int) -> None:
    """Choose the ports of the next `n` simulated microscopes that run at the same time, and name them to clients now.

    libca reads its address list once, at the first connection; whoever starts more microscopes afterwards under the
    control layer pyepics says so before.
    """
    while len(_reserved) < n:
        if (port := free_port()) not in _reserved:
            _reserved.append(port)
    point_clients_at(_reserved[0])


def point_clients_at(port: int, control_layer: Literal["caproto", "pyepics"] | None = None) -> None:
    """Let this process's Channel Access clients look for PVs on a port of loopback, and nowhere else.

    Parameters
    ----------
    port : int
        Of the IOC. Ports of others that this process runs stay in the list.
    control_layer : {"caproto", "pyepics"}, optional
        ophyd's; by default what ``OPHYD_CONTROL_LAYER`` says, else caproto, which takes a new address at any
        time and needs a fifth less time a point.

    Raises
    ------
    InstrumentError
        If it is too late: libca reads its addresses once, and has.
    """
    listed = {port, *_served, *_reserved}
    known = os.environ.get("EPICS_CA_ADDR_LIST", "").split()
    os.environ["EPICS_CA_ADDR_LIST"] = " ".join(f"127.0.0.1:{p}" for p in sorted(listed))
    os.environ["EPICS_CA_AUTO_ADDR_LIST"] = "NO"
    os.environ.setdefault("EPICS_CA_REPEATER_PORT", str(free_port()))
    wanted = control_layer or os.environ.get("OPHYD_CONTROL_LAYER") or "caproto"
    ophyd = sys.modules.get("ophyd")
    if ophyd is None:
        os.environ["OPHYD_CONTROL_LAYER"] = wanted
        return
    if ophyd.cl.name != wanted:
        ophyd.set_cl(wanted)
    if wanted == "pyepics" and f"127.0.0.1:{port}" not in known and _libca_is_up():
        raise InstrumentError(
            f"too late for the simulated microscope on port {port}: libca has read its address list already; "
            "start it before any EPICS device is made, or use OPHYD_CONTROL_LAYER=caproto"
        )


def _libca_is_up() -> bool:
    library = sys.modules.get("epics.ca")
    return library is not None and getattr(library, "libca", None) is not None


def _search_at_once() -> None:
    """Let caproto's client look for lost PVs now, and not when it next does.

    It keeps looking for the PVs of a microscope that has left, at intervals that grow to seconds and after some
    minutes to one; whoever makes a device with the same names meanwhile is given the same PVs, and waits as long.
    """
    keep_client()
    compat = sys.modules.get("caproto.threading.pyepics_compat")
    ophyd = sys.modules.get("ophyd")
    if compat is not None and ophyd is not None and ophyd.cl.name == "caproto":
        compat.PV.default_context().broadcaster.search_now()


class SimulatedMicroscope:
    """A simulated microscope's IOC in a process of its own; a context manager.

    Entering starts it, waits until it serves and points this process's Channel Access clients at it. Leaving stops
    it; it also ends with this process, however that ends.

    Parameters
    ----------
    object_name : str
        A simulated object such as ``pbsn-128``, or a path of an ``.npy`` label image.
    seed : int
        Of the object.
    prefix : str
        Of every PV.
    time_scale : float
        0: acquisitions end at once; 1: real time.
    port : int
        0 for a free one.
    log : Path, optional
        The IOC appends a line of JSON to it for each acquisition.
    open_beam : bool
        Whether a stand-in for an Open Beam Interface scans the same specimen, at the port `open_beam_port`.
    control_layer : {"caproto", "pyepics"}, optional
        See `point_clients_at`.
    start_timeout_s : float
        How long making the object and starting may take.
    imperfections : mapping, optional
        Of the object, as `slads_bluesky.phantom.Imperfections.to_json` gives them.

    Raises
    ------
    InstrumentError
        On entering: no free port, the process died (with the end of its standard error) or did not serve in time.
    """

    def __init__(
        self,
        object_name: str,
        seed: int = 0,
        prefix: str = "SEM:",
        time_scale: float = 0.0,
        *,
        port: int = 0,
        log: Path | None = None,
        open_beam: bool = False,
        control_layer: Literal["caproto", "pyepics"] | None = None,
        start_timeout_s: float = 120.0,
        imperfections: Mapping[str, float] | None = None,
    ) -> None:
        if not prefix or any(c.isspace() for c in prefix):
            raise ConfigError(f"PV prefix must be a word, not {prefix!r}")
        self.object_name, self.seed, self.prefix, self.time_scale = object_name, seed, prefix, time_scale
        self.port, self.log = port, log
        self.open_beam_port = free_port() if open_beam else 0
        self.imperfections = dict(imperfections or {})
        self._control_layer = control_layer
        self._timeout_s = start_timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None

    def __enter__(self) -> SimulatedMicroscope:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self.running and self._process is not None else None

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and wait until it serves; again after `stop`, on the same port."""
        global _home_port
        if self.running:
            return
        clash = [port for port, prefix in _served.items() if prefix == self.prefix]
        if clash:
            raise InstrumentError(f"a simulated microscope serves {self.prefix} already, on port {clash[0]}")
        port = self.port
        if not port:
            unused = (p for p in (_home_port, *_reserved) if p and p not in _served)
            port = next(unused, 0)
            try:
                port = free_port(port)
            except InstrumentError:
                port = free_port()
        point_clients_at(port, self._control_layer)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        command = [
            sys.executable, "-m", "slads_bluesky.devices.sim.ioc", "--object", self.object_name,
            "--seed", str(self.seed), "--prefix", self.prefix, "--port", str(port),
            "--time-scale", str(self.time_scale), "--open-beam", str(self.open_beam_port), "--until-eof",
        ]  # fmt: skip
        if self.imperfections:
            command += ["--imperfections", json.dumps(self.imperfections)]
        if self.log is not None:
            command += ["--log", str(self.log)]
        environment = {
            **{
                key: value
                for key, value in os.environ.items()
                if not key.startswith(("EPICS_CA_", "EPICS_CAS_"))
            },
            "EPICS_CAS_BEACON_PORT": os.environ["EPICS_CA_REPEATER_PORT"],
            "OMP_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            start_new_session=True,  # Ctrl-C at the terminal is for the plan; the microscope must live to be blanked
        )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        self.port = port
        _home_port = _home_port or port
        _served[port] = self.prefix
        _search_at_once()

    def _wait_until_ready(self) -> None:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        limit = time.monotonic() + self._timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while not selector.select(timeout=max(0.0, limit - time.monotonic())):
                if time.monotonic() >= limit:
                    raise InstrumentError(
                        f"the simulated microscope did not serve {self.prefix} within {self._timeout_s:g} s"
                    )
        line = process.stdout.readline().decode()
        if not line.startswith("ready"):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            raise InstrumentError(f"the simulated microscope died at start: {self.last_errors()}")

    def last_errors(self, lines: int = 5) -> str:
        """Return what it last wrote to its standard error."""
        if self._errors is None:
            return ""
        self._errors.seek(0)
        return "\n".join(deque((raw.decode(errors="replace").rstrip() for raw in self._errors), lines))

    def check(self) -> None:
        """Raise InstrumentError if the process has died."""
        if self._process is not None and self._process.poll() is not None:
            raise InstrumentError(
                f"the simulated microscope has exited with code {self._process.returncode}: {self.last_errors()}"
            )

    def stop(self) -> None:
        """Stop it, and wait until it is gone."""
        process, self._process = self._process, None
        _served.pop(self.port, None)
        if process is not None:
            assert process.stdin is not None
            assert process.stdout is not None
            with contextlib.suppress(OSError):
                process.stdin.close()  # it ends at the end of its input
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
        if self._errors is not None:
            self._errors.close()
            self._errors = None
