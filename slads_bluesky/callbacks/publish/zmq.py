"""Documents over bluesky's 0MQ proxy, in the format of ``bluesky.callbacks.zmq``, but in msgpack.

To receive them::

    from bluesky.callbacks.zmq import RemoteDispatcher
    from slads_bluesky.codec import unpack

    dispatcher = RemoteDispatcher("localhost:5578", deserializer=unpack)

bluesky's own default is pickle, with which whoever reaches the proxy can run code in every listener.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import zmq

from ...codec import pack, unpack
from ...documents import check_document
from ...errors import ConfigError, DataError
from .base import QUEUED, Publisher

__all__ = ["ZMQListener", "ZMQPublisher", "pack", "proxy_address", "proxy_answers", "unpack"]

PATIENCE_S = 2.0
"""How long the first documents wait for the proxy, s; connecting takes a moment."""


def proxy_address(where: str) -> str:
    """``host:port``, ``tcp://host:port`` or ``ipc://path`` as 0MQ wants it; ConfigError if it is none of these."""
    address = where if "://" in where else f"tcp://{where}"
    found = re.fullmatch(r"tcp://(?:[^\s:/\[\]]+|\[[^\s\]]+\]):(\d{1,5})", address)
    if found is None and re.fullmatch(r"ipc://\S+", address) is None:
        raise ConfigError(f"a 0MQ proxy is at host:port, tcp://host:port or ipc://path, not '{where}'")
    if found is not None and not 0 < int(found[1]) < 65536:
        raise ConfigError(f"'{where}': a port is 1 to 65535, not {found[1]}")
    return address


def proxy_answers(where: str, timeout_s: float) -> bool:
    """Whether a proxy takes documents at `where`; ConfigError if that is no address."""
    address = proxy_address(where)
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(address)
        return bool(socket.poll(int(timeout_s * 1e3)))


class ZMQPublisher(Publisher):
    """Document callback that publishes to a bluesky 0MQ proxy: ``RE.subscribe(ZMQPublisher("localhost:5577"))``.

    Unlike bluesky's own it never blocks, encodes in a thread of its own, holds the first documents until the proxy
    has answered (0MQ would drop a start document that is sent too early), and reports when no proxy answers.

    Parameters
    ----------
    address : str
        Incoming side of the proxy, see `proxy_address`.
    patience_s : float
        How long documents wait for a proxy that has not answered yet, s.
    queued, on_problem
        See `Publisher`.

    Raises
    ------
    ConfigError
        If the address is not one.
    """

    def __init__(
        self,
        address: str,
        *,
        patience_s: float = PATIENCE_S,
        queued: int = QUEUED,
        on_problem: Callable[[str], None] | None = None,
    ) -> None:
        self.address = proxy_address(address)
        self._patience_s = patience_s
        self._there = False
        self._ever_there = False
        super().__init__(queued, on_problem)

    def __str__(self) -> str:
        return f"0MQ proxy at {self.address}"

    def _open(self) -> None:
        self._context = zmq.Context()
        # XPUB is a PUB that receives subscriptions: the proxy's shows that it is there. IMMEDIATE makes 0MQ
        # withdraw it when the connection is lost.
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.IMMEDIATE, 1)
        self._socket.setsockopt(zmq.LINGER, 1000)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 2000)
        self._socket.connect(self.address)
        self._opened = time.monotonic()

    def _send(self, name: str, doc: Mapping[str, Any]) -> bool:
        self._look()
        while not self._ever_there and self._waits():  # only the first documents do
            self._look(100)
        if not self._there:
            lost = "lost; documents are dropped until it is back" if self._ever_there else "no proxy answers"
            self._problem("lost" if self._ever_there else "absent", f"{self}: {lost}")
            return False
        self._socket.send(b" ".join([b"", name.encode(), pack(doc)]))
        return True

    def _waits(self) -> bool:
        return time.monotonic() < self._opened + self._patience_s and not self._closing.is_set()

    def _look(self, wait_ms: int = 0) -> None:
        """Update whether the proxy is connected."""
        while self._socket.poll(wait_ms):
            self._there = self._socket.recv(zmq.NOBLOCK)[:1] == b"\x01"
            self._ever_there = self._ever_there or self._there
            wait_ms = 0

    def _shut(self) -> None:
        self._socket.close()
        self._context.term()


class ZMQListener:
    """Documents from a bluesky 0MQ proxy, one by one, in the thread that asks for them.

    bluesky's RemoteDispatcher does the same with callbacks, but needs a thread and an event loop of its own.

    Parameters
    ----------
    address : str
        Outgoing side of the proxy, see `proxy_address`.
    """

    def __init__(self, address: str) -> None:
        self.address = proxy_address(address)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"")
        self._socket.connect(self.address)

    def next(self, timeout_s: float) -> tuple[str, dict[str, Any]] | None:
        """Return the next document, None if none comes in `timeout_s`; DataError if it is not in msgpack."""
        if not self._socket.poll(int(timeout_s * 1e3)):
            return None
        message = self._socket.recv()
        try:
            _, name, data = message.split(b" ", 2)
            doc = unpack(data)
            check_document(name.decode(), doc)
            return name.decode(), doc
        except ValueError as error:  # too few parts, a name that is not text, and ours
            raise DataError(
                f"{self.address} sends something other than documents in msgpack: {error}"
            ) from error

    def close(self) -> None:
        """Disconnect."""
        self._socket.close(0)
        self._context.term()

    def __enter__(self) -> ZMQListener:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
