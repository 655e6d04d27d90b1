"""A scan generator of the Open Beam Interface: visits a list of points over its server's TCP socket.

The gateware is given a stream of commands and has no list of its own, so what is on its way is kept short: an abort,
or a client that dies, leaves at most `AHEAD_S` of beam, then the blanker closes. Its blanking line is also the gate
that advances the X-ray processor: open for a point's dwell, closed while the beam moves and settles.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, InstrumentError
from ..pointlist import PointList, Settling
from . import openbeam_protocol as wire
from .reading import data_key
from .status import QuickStatus

__all__ = ["AHEAD_S", "OpenBeamScan"]

_log = logging.getLogger(__name__)

CHUNK_S = 10e-3
"""Beam time of what is sent at once, s."""
IN_FLIGHT = 4
"""Chunks that are sent and not answered."""
AHEAD_S = CHUNK_S * (IN_FLIGHT + 1)
"""Beam time that may still come after an abort, s; a microscope's own blanker closes sooner."""
ANSWER_S = 5.0
"""An answer that is later than this, and the time of what it answers, never comes."""


class _Chunk(NamedTuple):
    commands: bytes
    samples: int
    seconds: float
    last: int
    """Points that are over once it is, counted from the start of the list."""


class OpenBeamScan:
    """Scan generator for point lists; satisfies `listscan.ScanGenerator`.

    The blanking output is wired to the microscope's external blanker and to the gate of the X-ray processor; the
    microscope's own blanker is open only while a list runs.

    Parameters
    ----------
    prefix : str
        ``host:port`` of the interface's server.
    name : str
    field_um : float or [float, float]
        Width, or width and height, of the field that the full range of the DACs covers, µm: the microscope's field of
        view at the magnification that the map is made at.
    centre_um : [float, float]
        Position (x, y) of the middle of that field, µm.
    flip_x, flip_y : bool
        Whether codes grow against the position.
    settle_base_s, settle_per_um_s : float
        How long the beam settles after a move, blanked.
    timeout_s : float
        To connect, and for the answer to a synchronisation.

    Raises
    ------
    ConfigError
        If the address or a number is not usable.

    Examples
    --------
    >>> scan = OpenBeamScan("127.0.0.1:2224", field_um=64.0)
    >>> scan.codes(np.array([-32.0, 32.0]), np.array([0.0, 0.0])).tolist()
    [[0, 8192], [16383, 8192]]
    """

    parent = None
    drives_blanker = False
    """Its line does the blanking, in series with the microscope's own blanker, which has to be open meanwhile."""

    def __init__(
        self,
        prefix: str,
        *,
        name: str = "scan",
        field_um: Any,
        centre_um: Any = (0.0, 0.0),
        flip_x: bool = False,
        flip_y: bool = False,
        settle_base_s: float = 50e-6,
        settle_per_um_s: float = 0.0,
        timeout_s: float = 5.0,
    ) -> None:
        self.name, self.prefix = name, prefix
        host, _, port = prefix.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ConfigError(f"{name}: {prefix!r} is not host:port of an Open Beam Interface server")
        self._address = (host, int(port))
        self._field = _pair(name, "field_um", field_um)
        self._centre = _pair(name, "centre_um", centre_um)
        if not (self._field > 0).all():
            raise ConfigError(f"{name}: field_um must be positive, not {field_um}")
        self._flip = np.array([flip_x, flip_y])
        if not (settle_base_s >= 0 and settle_per_um_s >= 0):
            raise ConfigError(f"{name}: settle times must be 0 or more")
        self.settling = Settling(float(settle_base_s), float(settle_per_um_s))
        self._timeout_s = float(timeout_s)
        self._socket: socket.socket | None = None
        self._cookie = 0
        self._listeners: list[Callable[[bool], None]] = []
        self._loaded: PointList | None = None
        self._thread: threading.Thread | None = None
        self._abort = threading.Event()
        self._runs = False
        self.trouble = ""
        self.index = 0
        """Points of the running list that are over."""

    # ---- what an engine calls; see `listscan.ScanGenerator`

    def open(self) -> None:
        """Connect, blank, and take over scan coils and blanker.

        Raises
        ------
        InstrumentError
            Naming the address, if nothing answers there or something else does.
        """
        if self._socket is not None:
            return
        try:
            self._socket = socket.create_connection(self._address, self._timeout_s)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # blanked before control is taken: never a moment of beam in between
            self._send(wire.select_electrons() + wire.blank(True, inline=False) + wire.external_control(True))
            self._synchronize()
        except OSError as error:
            self._drop()
            raise InstrumentError(
                f"{self.name}: no Open Beam Interface server at {self.prefix}: {error}"
            ) from None
        except InstrumentError:
            self._drop()
            raise

    def close(self) -> None:
        """Blank, give scan coils and blanker back to the microscope, and disconnect."""
        self.abort()
        if self._socket is None:
            return
        try:
            self._send(wire.blank(True, inline=False) + wire.external_control(False))
            self._synchronize()
        except InstrumentError as error:
            _log.warning("%s: not given back: %s", self.name, error)
        self._drop()

    def load(self, points: PointList, status: QuickStatus) -> None:
        """Keep the list that `launch` starts."""
        try:
            self.codes(points.x_um, points.y_um)
        except InstrumentError as error:
            status.set_exception(error)
            return
        self._loaded = points
        status.set_finished()

    def launch(self) -> None:
        """Start the loaded list.

        Raises
        ------
        InstrumentError
            If none is loaded, or the connection is lost and cannot be made again.
        """
        if self._loaded is None:
            raise InstrumentError(f"{self.name}: no list is loaded")
        self._join()
        points, self._loaded = self._loaded, None
        self._abort.clear()
        self.trouble, self.index = "", 0
        self.open()
        self._runs = True
        self._notify(True)
        self._thread = threading.Thread(
            target=self._run, args=(points,), name=f"{self.name}-list", daemon=True
        )
        self._thread.start()

    def abort(self) -> None:
        """Send no more of the list; what is on its way is over within `AHEAD_S`, and the beam blanked."""
        self._abort.set()
        self._join()

    def on_running(self, listener: Callable[[bool], None]) -> None:
        """Call `listener` with True at the start of each list and False at its end."""
        self._listeners.append(listener)

    def is_running(self) -> bool:
        """Whether a list runs."""
        return self._runs

    # ---- what bluesky reads

    def read(self) -> dict[str, Any]:
        """Nothing: a list's points are in its event pages."""
        return {}

    def describe(self) -> dict[str, Any]:
        """Nothing: see `read`."""
        return {}

    def read_configuration(self) -> dict[str, Any]:
        """The field that the DACs cover and how the beam settles."""
        now = time.time()
        return {f"{self.name}_{key}": {"value": value, "timestamp": now} for key, value in self._about()}

    def describe_configuration(self) -> dict[str, Any]:
        """Describe the values of `read_configuration`."""
        units = {"settle_base_s": "s", "settle_per_um_s": "s/µm"}
        return {
            f"{self.name}_{key}": data_key(f"OBI:{self.prefix}", "number", "<f8", units=units.get(key, "µm"))
            for key, _ in self._about()
        }

    def _about(self) -> list[tuple[str, float]]:
        (width, height), (x, y) = self._field.tolist(), self._centre.tolist()
        return [
            ("field_width", width), ("field_height", height), ("centre_x", x), ("centre_y", y),
            ("settle_base_s", self.settling.base_s), ("settle_per_um_s", self.settling.per_um_s),
        ]  # fmt: skip

    # ---- points as commands

    def codes(self, x_um: NDArray[Any], y_um: NDArray[Any]) -> NDArray[Any]:
        """Return the DAC codes (n, 2) int64 of positions in µm.

        Raises
        ------
        InstrumentError
            Naming the first point that lies outside the field.
        """
        part = (np.stack([x_um, y_um], 1) - self._centre) / self._field  # -0.5 … 0.5
        outside = np.flatnonzero((np.abs(part) > 0.5 + 1e-9).any(axis=1))
        if outside.size:
            i = int(outside[0])
            raise InstrumentError(
                f"{self.name}: point {i} at ({x_um[i]:g}, {y_um[i]:g}) µm lies outside the field of "
                f"{self._field[0]:g} × {self._field[1]:g} µm"
            )
        part = np.where(self._flip, -part, part)
        codes: NDArray[np.int64] = np.rint((part + 0.5) * (wire.CODES - 1)).astype(np.int64)
        return codes

    def chunks(self, points: PointList) -> Iterator[_Chunk]:
        """Yield the commands of a list in pieces of `CHUNK_S`, the beam blanked after each that ends with a point.

        A dwell that is longer is sent in pieces as well, with the beam lit between them.
        """
        codes = self.codes(points.x_um, points.y_um)
        settle = np.maximum(points.settle_s(self.settling), 0.0)
        parts: list[bytes] = []
        samples, seconds = 0, 0.0
        for i, (x, y) in enumerate(codes.tolist()):
            for lit, time_s in ((False, float(settle[i])), (True, float(points.dwell_s[i]))):
                parts.append(wire.blank(not lit, inline=True))
                for command in wire.dwell(x, y, round(time_s / wire.CYCLE_S)):
                    parts.append(command)
                    samples += 1
                    seconds += min(time_s, wire.MOST_CYCLES * wire.CYCLE_S)
                    if lit and seconds >= CHUNK_S:
                        yield _Chunk(b"".join(parts), samples, seconds, i)
                        parts, samples, seconds = [], 0, 0.0
            parts.append(wire.blank(True, inline=False))
            if seconds >= CHUNK_S or i == len(codes) - 1 or not samples:
                yield _Chunk(b"".join(parts), samples, seconds, i + 1)
                parts, samples, seconds = [], 0, 0.0

    # ---- the thread that a list has

    def _run(self, points: PointList) -> None:
        waiting: deque[_Chunk] = deque()
        try:
            for chunk in self.chunks(points):
                if self._abort.is_set():
                    break
                self._send(chunk.commands + wire.flush())
                waiting.append(chunk)
                while len(waiting) >= IN_FLIGHT:
                    self._answer(waiting.popleft())
            if self._abort.is_set():
                self._send(wire.blank(True, inline=False) + wire.flush())
            while waiting:
                self._answer(waiting.popleft())
            self._synchronize()
        except InstrumentError as error:
            self.trouble = f"{self.name}: {error}"
            _log.warning("%s", self.trouble)
            self._drop()
        self._runs = False  # before whoever hears of the end asks
        self._notify(False)

    def _answer(self, chunk: _Chunk) -> None:
        self._receive(2 * chunk.samples, ANSWER_S + IN_FLIGHT * max(chunk.seconds, CHUNK_S))
        self.index = chunk.last

    def _synchronize(self) -> None:
        """Wait until everything before is done, and know that nothing is left unread.

        Raises
        ------
        InstrumentError
            If the answer is not the one that the protocol asks for.
        """
        self._cookie = (self._cookie + 1) % 0xFFFF
        self._send(wire.synchronize(self._cookie) + wire.flush())
        answer, wanted = self._receive(4, self._timeout_s), b"\xff\xff" + self._cookie.to_bytes(2, "big")
        if answer != wanted:
            raise InstrumentError(
                f"{self.prefix} does not speak the Open Beam Interface's protocol: {answer.hex()} "
                f"for {wanted.hex()}"
            )

    def _send(self, data: bytes) -> None:
        if self._socket is None:
            raise InstrumentError("not connected")
        self._socket.settimeout(self._timeout_s)
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self._lost(error) from error

    def _lost(self, error: OSError) -> InstrumentError:
        """Say which server does not answer, which an error of the socket does not."""
        return InstrumentError(f"no answer of an Open Beam Interface server at {self.prefix}: {error}")

    def _receive(self, n: int, timeout_s: float) -> bytes:
        if self._socket is None:
            raise InstrumentError("not connected")
        self._socket.settimeout(timeout_s)
        parts = bytearray()
        while len(parts) < n:
            try:
                data = self._socket.recv(n - len(parts))
            except OSError as error:
                raise self._lost(error) from error
            if not data:
                raise InstrumentError(f"{self.prefix} closed the connection")
            parts += data
        return bytes(parts)

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _join(self) -> None:
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(2 * ANSWER_S)

    def _notify(self, running: bool) -> None:
        for listener in self._listeners:
            listener(running)


def _pair(name: str, key: str, value: Any) -> NDArray[Any]:
    """Two numbers of one or two."""
    try:
        pair = np.broadcast_to(np.asarray(value, np.float64), (2,)).copy()
    except (TypeError, ValueError):
        pair = np.array([np.nan, np.nan])
    if not np.isfinite(pair).all():
        raise ConfigError(f"{name}: {key} is one number or two (µm), not {value!r}")
    return pair
