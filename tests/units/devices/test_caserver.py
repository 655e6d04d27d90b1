"""The adapter of caproto's server; it leans on the inside of one version."""

from __future__ import annotations

import asyncio
import socket

import caproto

from slads_bluesky.devices.sim.caserver import CAPROTO_VERSION, LoopbackContext


def test_caproto_version_is_the_one_that_the_adapter_was_read_in():
    """If this fails: read `devices/sim/caserver.py` against the new version, then change CAPROTO_VERSION."""
    assert caproto.__version__ == CAPROTO_VERSION


def test_server_accept_loop_gives_connections_without_delay():
    async def option():
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        listening.setblocking(False)
        context = LoopbackContext({})
        found = asyncio.get_running_loop().create_future()

        async def handle(client, address):
            del address
            accepted = client.writer.get_extra_info("socket")
            found.set_result(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            client.writer.close()
            await client.writer.wait_closed()

        context.tcp_handler = handle
        await context.server_accept_loop(listening)
        _, writer = await asyncio.open_connection(*listening.getsockname())
        answer = await found
        writer.close()
        await writer.wait_closed()
        listening.close()
        return answer

    assert asyncio.run(option()) != 0
