"""Documents over bluesky's 0MQ proxy, as ``bluesky.callbacks.zmq`` has them on the wire, in msgpack.

On the other side::

    from bluesky.callbacks.zmq import RemoteDispatcher
    from slads_bluesky.callbacks.publish_zmq import unpack

    dispatcher = RemoteDispatcher("localhost:5578", deserializer=unpack)

bluesky's own default is pickle, with which whoever reaches the proxy can run code in every listener.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import msgpack
import msgpack_numpy
import zmq
import zmq.auth

from ..errors import ConfigError, DataError
from .publish import QUEUED, Publisher

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


def pack(doc: Mapping[str, Any]) -> bytes:
    """Encode a document: msgpack, arrays by msgpack-numpy; DataError for what only pickle could carry."""

    def encode(obj: Any) -> Any:
        if getattr(getattr(obj, "dtype", None), "kind", "") == "O":
            raise DataError("an array of Python objects has no place in a document")
        return msgpack_numpy.encode(obj)

    return bytes(msgpack.packb(dict(doc), default=encode, use_bin_type=True))


def unpack(data: bytes) -> Any:
    """Decode what `pack` made, arrays with their dtype, read-only; DataError for pickled objects."""

    def decode(obj: dict[Any, Any]) -> Any:
        if obj.get(b"kind") == b"O":
            raise DataError("an array of pickled Python objects, which is never read")
        return msgpack_numpy.decode(obj)

    return msgpack.unpackb(data, object_hook=decode, raw=False, strict_map_key=False)


class ZMQPublisher(Publisher):
    """Document callback that publishes to a bluesky 0MQ proxy: ``RE.subscribe(ZMQPublisher("localhost:5577"))``.

    Unlike bluesky's own it never blocks, encodes in a thread of its own, holds the first documents until the proxy
    has answered (0MQ would drop a start document that is sent too early), and says when nobody is there.

    Parameters
    ----------
    address : str
        Incoming side of the proxy, see `proxy_address`.
    prefix : bytes
        Tells publishers that share a proxy apart; without spaces.
    serializer : callable
        Makes bytes of a document.
    patience_s : float
        How long documents wait for a proxy that has not answered yet, s.
    client_key, server_key : path, optional
        Certificates for CURVE: this publisher's secret one, and the proxy's public one.
    queued, on_problem
        See `Publisher`.

    Raises
    ------
    ConfigError
        If address, prefix or certificates cannot be.
    """

    def __init__(
        self,
        address: str,
        *,
        prefix: bytes = b"",
        serializer: Callable[[Mapping[str, Any]], bytes] = pack,
        patience_s: float = PATIENCE_S,
        client_key: Path | None = None,
        server_key: Path | None = None,
        queued: int = QUEUED,
        on_problem: Callable[[str], None] | None = None,
    ) -> None:
        self.address = proxy_address(address)
        if not isinstance(prefix, bytes) or b" " in prefix:
            raise ConfigError(f"a prefix is bytes without spaces, not {prefix!r}")
        self._prefix, self._serializer, self._patience_s = prefix, serializer, patience_s
        self._keys = _certificates(client_key, server_key)
        self._there = False
        self._ever_there = False
        super().__init__(queued, on_problem)

    def __str__(self) -> str:
        return f"0MQ proxy at {self.address}"

    def _open(self) -> None:
        self._context = zmq.Context()
        # XPUB is a PUB that hears of subscriptions: the proxy's is the sign that it is there. IMMEDIATE makes 0MQ
        # take it back when the connection is lost.
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.IMMEDIATE, 1)
        self._socket.setsockopt(zmq.LINGER, 1000)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 2000)
        if self._keys is not None:
            self._socket.curve_publickey, self._socket.curve_secretkey, self._socket.curve_serverkey = (
                self._keys
            )
        self._socket.connect(self.address)
        self._opened = time.monotonic()

    def _send(self, name: str, doc: Mapping[str, Any]) -> bool:
        self._look()
        while not self._ever_there and self._waits():  # only the first documents do
            self._look(100)
        if not self._there:
            lost = "lost; documents are dropped until it is back" if self._ever_there else "nobody is there"
            self._problem("lost" if self._ever_there else "absent", f"{self}: {lost}")
            return False
        self._socket.send(b" ".join([self._prefix, name.encode(), self._serializer(doc)]))
        return True

    def _waits(self) -> bool:
        return time.monotonic() < self._opened + self._patience_s and not self._closing.is_set()

    def _look(self, wait_ms: int = 0) -> None:
        """Hear of the proxy's coming and going."""
        while self._socket.poll(wait_ms):
            self._there = self._socket.recv(zmq.NOBLOCK)[:1] == b"\x01"
            self._ever_there = self._ever_there or self._there
            wait_ms = 0

    def _shut(self) -> None:
        self._socket.close()
        self._context.term()


class ZMQListener:
    """Documents from a bluesky 0MQ proxy, one by one, in the thread that asks for them.

    bluesky's RemoteDispatcher, which does the same with callbacks, wants a thread and an event loop of its own.

    Parameters
    ----------
    address : str
        Outgoing side of the proxy, see `proxy_address`.
    prefix : bytes
        Only documents of publishers with this prefix; empty for all.
    """

    def __init__(self, address: str, *, prefix: bytes = b"") -> None:
        self.address, self._prefix = proxy_address(address), prefix
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.SUBSCRIBE, prefix)
        self._socket.connect(self.address)

    def next(self, timeout_s: float) -> tuple[str, dict[str, Any]] | None:
        """Return the next document, None if none comes in `timeout_s`; DataError if it is not in msgpack."""
        if not self._socket.poll(int(timeout_s * 1e3)):
            return None
        message = self._socket.recv()
        try:
            prefix, name, data = message.split(b" ", 2)
            if self._prefix and prefix != self._prefix:
                return None
            doc = unpack(data)
            if not isinstance(doc, dict):
                raise ValueError("no document")
            return name.decode(), doc
        except ValueError as error:  # msgpack's errors, and ours, are ValueErrors
            raise DataError(
                f"{self.address} sends something other than documents in msgpack: {error}"
            ) from error

    def close(self) -> None:
        """Hear no more."""
        self._socket.close(0)
        self._context.term()

    def __enter__(self) -> ZMQListener:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _certificates(client: Path | None, server: Path | None) -> tuple[bytes, bytes, bytes] | None:
    if client is None and server is None:
        return None
    if client is None or server is None:
        raise ConfigError(
            "CURVE takes both certificates: the client's secret one and the server's public one"
        )
    try:
        public, secret = zmq.auth.load_certificate(client)
        server_public, _ = zmq.auth.load_certificate(server)
    except (OSError, ValueError) as error:
        raise ConfigError(f"CURVE certificate: {error}") from error
    if secret is None:
        raise ConfigError(f"{client} holds no secret key")
    return public, secret, server_public
