"""A network on loopback that can be slow or cut: between a session and its IOC, or a client and a Tiled server.

Channel Access begins with a search over UDP whose answer names the TCP port of the server; the proxy puts its own
there (Channel Access Protocol Specification, "CA_PROTO_SEARCH"), so that the connection goes through it as well.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType

from ...devices.sim.ports import free_port

__all__ = ["NetworkProxy", "with_port"]

SEARCH = 6
"""Command of a search and of its answer."""
HEADER = struct.Struct(">HHHHII")
CHUNK = 1 << 16


def with_port(datagram: bytes, port: int) -> bytes:
    """Return an answer of a Channel Access server with the TCP port of every search response replaced.

    Parameters
    ----------
    datagram : bytes
        Messages with headers of 16 bytes: command, payload size, data type, count, two parameters.
    port : int
        New port; it stands where the data type would.
    """
    out, at = bytearray(datagram), 0
    while at + HEADER.size <= len(out):
        command, size, _, _, _, _ = HEADER.unpack_from(out, at)
        if command == SEARCH:
            struct.pack_into(">H", out, at + 4, port)
        at += HEADER.size + size
    return bytes(out)


@dataclass
class _Pipe:
    """One direction of a TCP connection: bytes read, each chunk to be written not before its time."""

    source: socket.socket
    target: socket.socket
    waiting: deque[tuple[float, bytes]] = field(default_factory=deque)


class NetworkProxy:
    """Forwards one TCP port, and the UDP port of the same number, to a server on loopback; a context manager.

    Parameters
    ----------
    target : int
        Port of the server.
    port : int
        Port of the proxy; 0 for a free one.

    Attributes
    ----------
    delay_s : float
        Everything arrives this much later, in both directions.
    """

    def __init__(self, target: int, port: int = 0) -> None:
        self.target, self.port = target, port or free_port()
        self.delay_s = 0.0
        self._cut = False
        self._ending = False
        self._tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._pipes: list[_Pipe] = []
        self._clients: dict[socket.socket, tuple[str, int]] = {}
        self._datagrams: deque[tuple[float, socket.socket, bytes, tuple[str, int]]] = deque()
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="network-proxy", daemon=True)

    def __enter__(self) -> NetworkProxy:
        self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._tcp.bind(("127.0.0.1", self.port))
        self._tcp.listen(16)
        self._udp.bind(("127.0.0.1", self.port))
        for listening in (self._tcp, self._udp):
            listening.setblocking(False)
            self._selector.register(listening, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ending = True
        self._thread.join(10)

    def cut(self) -> None:
        """Drop every datagram and every byte, and accept no connection, until `restore`; connections stay open."""
        self._cut = True

    def restore(self) -> None:
        """Let everything pass again; connections that were open are closed, as after a cable was pulled."""
        with self._lock:
            for pipe in list(self._pipes):
                self._close(pipe)
        self._cut = False

    def _run(self) -> None:
        while not self._ending:
            for key, _ in self._selector.select(timeout=self._wait_s()):
                with self._lock, contextlib.suppress(OSError):
                    self._read(key.fileobj)  # type: ignore[arg-type]
            with self._lock:
                self._write()
        for sock in [self._tcp, self._udp, *self._clients, *(pipe.source for pipe in self._pipes)]:
            sock.close()
        self._selector.close()

    def _wait_s(self) -> float:
        """Seconds until the next chunk is due, at most 50 ms."""
        due = [pipe.waiting[0][0] for pipe in self._pipes if pipe.waiting]
        due += [self._datagrams[0][0]] if self._datagrams else []
        return min(0.05, max(0.0, min(due, default=1e9) - time.monotonic()))

    def _read(self, sock: socket.socket) -> None:
        if sock is self._tcp:
            self._accept()
        elif sock is self._udp:
            datagram, client = sock.recvfrom(CHUNK)
            if not self._cut:
                server = self._server_of(client)
                self._datagrams.append((time.monotonic() + self.delay_s, server, datagram, self._address))
        elif sock in self._clients:
            datagram = sock.recv(CHUNK)
            if not self._cut:
                answer = with_port(datagram, self.port)
                client = self._clients[sock]
                self._datagrams.append((time.monotonic() + self.delay_s, self._udp, answer, client))
        else:
            pipe = next((pipe for pipe in self._pipes if pipe.source is sock), None)
            if pipe is None:
                return
            try:
                data = sock.recv(CHUNK)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if self._cut:
                return
            if data:
                pipe.waiting.append((time.monotonic() + self.delay_s, data))
            else:
                self._close(pipe)

    @property
    def _address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.target)

    def _server_of(self, client: tuple[str, int]) -> socket.socket:
        """Socket towards the server on which the answers for one client arrive."""
        for sock, known in self._clients.items():
            if known == client:
                return sock
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        self._clients[sock] = client
        self._selector.register(sock, selectors.EVENT_READ)
        return sock

    def _accept(self) -> None:
        client, _ = self._tcp.accept()
        if self._cut:
            client.close()
            return
        try:
            server = socket.create_connection(self._address, timeout=2)
        except OSError:
            client.close()
            return
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
            self._selector.register(sock, selectors.EVENT_READ)
        self._pipes += [_Pipe(client, server), _Pipe(server, client)]

    def _write(self) -> None:
        now = time.monotonic()
        while self._datagrams and self._datagrams[0][0] <= now:
            _, sock, datagram, address = self._datagrams.popleft()
            with contextlib.suppress(OSError):
                sock.sendto(datagram, address)
        for pipe in list(self._pipes):
            while pipe.waiting and pipe.waiting[0][0] <= now:
                due, data = pipe.waiting.popleft()
                try:
                    sent = pipe.target.send(data)
                except BlockingIOError:
                    sent = 0
                except OSError:
                    self._close(pipe)
                    break
                if sent < len(data):
                    pipe.waiting.appendleft((due, data[sent:]))
                    break

    def _close(self, pipe: _Pipe) -> None:
        """Close a connection, both directions."""
        for sock in (pipe.source, pipe.target):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(sock)
            sock.close()
        self._pipes = [other for other in self._pipes if other.source not in (pipe.source, pipe.target)]
