"""A network that can be slow or cut, with an echo server behind it; and Channel Access through it."""

import socket
import struct
import threading
import time

import pytest

from slads_bluesky.evaluation.trust.proxy import NetworkProxy, with_port


@pytest.fixture
def echo():
    """Port of a TCP server that sends back what it is sent."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(client,), daemon=True).start()

    def answer(client):
        with client:
            while data := client.recv(4096):
                client.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    yield listening.getsockname()[1]
    listening.close()


def connected(port):
    client = socket.create_connection(("127.0.0.1", port), timeout=20)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def test_with_port_of_search_answers_replaces_only_their_port():
    version = struct.pack(">HHHHII", 0, 0, 0, 13, 0, 0)
    answer = struct.pack(">HHHHII", 6, 8, 5064, 0, 0xFFFFFFFF, 7) + b"\x00\x0d" + b"\0" * 6
    changed = with_port(version + answer + answer, 4321)
    assert changed == version + 2 * (
        struct.pack(">HHHHII", 6, 8, 4321, 0, 0xFFFFFFFF, 7) + b"\x00\x0d" + b"\0" * 6
    )


def test_proxy_forwards_both_directions_and_delays_when_asked(echo):
    with NetworkProxy(echo) as network, connected(network.port) as client:
        client.sendall(b"one")
        assert client.recv(16) == b"one"
        network.delay_s = 0.2
        began = time.monotonic()
        client.sendall(b"two")
        assert client.recv(16) == b"two"
        assert time.monotonic() - began >= 0.4


def test_proxy_cut_drops_everything_until_it_is_restored(echo):
    with NetworkProxy(echo) as network:
        with connected(network.port) as client:
            client.sendall(b"one")
            assert client.recv(16) == b"one"
            network.cut()
            client.sendall(b"lost")
            network.restore()
            try:
                left = client.recv(16)
            except ConnectionResetError:
                left = b""
            assert left == b""  # closed, and nothing of what was lost has come
        with connected(network.port) as client:
            client.sendall(b"two")
            assert client.recv(16) == b"two"


def test_proxy_of_a_large_message_loses_nothing(echo):
    data = bytes(range(256)) * 4000
    with NetworkProxy(echo) as network, connected(network.port) as client:
        threading.Thread(target=client.sendall, args=(data,)).start()
        found = b""
        while len(found) < len(data):
            found += client.recv(1 << 16)
        assert found == data
