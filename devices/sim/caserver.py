"""caproto's server as this IOC needs it: no delay, beacons that may go unheard, clients that can be dropped.

The one place that leans on how caproto's asyncio server is made inside; `CAPROTO_VERSION` is the version it was
read in, and a test fails when another one is installed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

import caproto as ca
import caproto.asyncio.server as ca_server

__all__ = ["CAPROTO_VERSION", "LoopbackContext"]

CAPROTO_VERSION = "1.3.0"


class LoopbackContext(ca_server.Context):  # type: ignore[misc]
    """A Channel Access server on loopback."""

    async def server_accept_loop(self, sock: socket.socket) -> None:
        """Listen, with connections that send at once: Nagle's algorithm costs 18 ms a put.

        Linux gives an accepted connection the options of the socket that listened.
        """
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await super().server_accept_loop(sock)

    async def broadcast_beacon_loop(self) -> None:
        """Announce the server: often at first, then every 15 s, as Channel Access wants it.

        On loopback there may be no repeater; that nobody hears a beacon is no error.
        """
        period = 0.02
        while True:
            for interface, sock in self.beacon_socks.values():
                beacon = ca.Beacon(13, self.port, self.beacon_count, interface)
                with contextlib.suppress(OSError, ca.CaprotoNetworkError):
                    await sock.send(self.broadcaster.send(beacon))
            self.beacon_count += 1
            await asyncio.sleep(period)
            period = min(15.0, 2 * period)

    def drop_clients(self) -> None:
        """Close the connection of every client, once."""
        for circuit in list(self.circuits):
            circuit.client.close()
