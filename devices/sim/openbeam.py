"""A stand-in for the Open Beam Interface: its server's bytes on loopback, its scan over the simulated specimen.

It executes commands one after the other in the hardware's own time, answers each pixel command with a sample (the x
code, as the gateware does in loopback), and its blanking line is the gate of the simulated X-ray processor.
"""

from __future__ import annotations

import asyncio
import contextlib

from ...errors import InstrumentError
from .. import openbeam_protocol as wire
from .driver import Driver
from .listgroup import ListGroup

__all__ = ["OpenBeamServer"]

TICK_S = 2e-3
"""How far the commands may run ahead of the wall's time, s."""
READ_BYTES = 65536


class OpenBeamServer:
    """The server of one interface, for one client at a time.

    Parameters
    ----------
    driver : Driver
        Its microscope is scanned; the DACs' full range is its field.
    lists : ListGroup
        Its X-ray processor is gated.
    """

    def __init__(self, driver: Driver, lists: ListGroup) -> None:
        self._driver, self._lists = driver, lists
        self._blanked, self._inline = True, False
        self._next_blanked = True
        self._electrons = False
        self._gate_open = False
        self._owed_s = 0.0
        self._time = 0.0
        self._busy = False
        driver.on_change.append(self._catch_up)

    async def serve(self, port: int) -> int:
        """Listen on a port of loopback, 0 for a free one; return which."""
        self._server = await asyncio.start_server(self._client, "127.0.0.1", port)
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Listen no more."""
        self._server.close()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._busy:
            writer.close()
            return
        self._busy = True
        commands, self._time = wire.CommandReader(), _now()
        try:
            while data := await reader.read(READ_BYTES):
                for command in commands.feed(data):
                    writer.write(await self._execute(command))
                await writer.drain()
        except (ConnectionError, InstrumentError):
            pass  # what is on its way has been executed; the lines stay as they are, as the gateware's do
        finally:
            self._busy = False
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _execute(self, command: wire.Command) -> bytes:
        kind, flags, numbers = command
        if kind is wire.Kind.SYNCHRONIZE:
            await self._wait()
            return b"\xff\xff" + numbers[0].to_bytes(2, "big")
        if kind is wire.Kind.EXTERNAL_CONTROL:
            self._driver.external = bool(flags & 1)
        elif kind is wire.Kind.BEAM_SELECT:
            self._electrons = flags & 3 == 1
        elif kind is wire.Kind.BLANK:
            if flags & 2:
                self._inline, self._next_blanked = True, bool(flags & 1)
            else:
                self._inline = False
                await self._set_line(bool(flags & 1))
        elif kind is wire.Kind.VECTOR_PIXEL:
            return await self._pixel(*numbers)
        return b""

    async def _pixel(self, x_code: int, y_code: int, number: int) -> bytes:
        if self._inline:
            self._inline = False
            await self._set_line(self._next_blanked)
        seconds = (number + 1) * wire.CYCLE_S
        driver = self._driver
        if driver.external:
            (y0, y1), (x0, x1) = driver.sem.limits_um
            x, y = (low + (high - low) * code / (wire.CODES - 1) for low, high, code in
                    ((x0, x1, x_code), (y0, y1, y_code)))  # fmt: skip
            driver.sem.move(x_um=x, y_um=y)
            if not self._blanked and self._electrons:
                self._gate_open = True
                self._owed_s += seconds
        self._time += seconds * driver.time_scale
        if driver.time_scale and self._time - _now() > TICK_S:
            await self._wait()
        return x_code.to_bytes(2, "big")

    async def _wait(self) -> None:
        """Let the wall's time come to where the commands are."""
        ahead = self._time - _now()
        if ahead > 0:
            await asyncio.sleep(ahead)
        else:  # it waited for commands
            self._time = _now()

    async def _set_line(self, blanked: bool) -> None:
        self._blanked = blanked
        if blanked and self._gate_open:
            self._catch_up()
            self._gate_open = False
            await self._lists.gate_closed()

    def _catch_up(self) -> None:
        """Expose with the beam as it was until now: the gate closes, or the microscope changes."""
        owed, self._owed_s = self._owed_s, 0.0
        if owed > 0:
            self._lists.gate.expose(owed)


def _now() -> float:
    return asyncio.get_running_loop().time()
