"""Ports for IOCs that share a machine."""

from __future__ import annotations

import socket

from ...errors import InstrumentError

__all__ = ["free_port"]


def free_port(port: int = 0) -> int:
    """Find a port on loopback that is free for TCP and UDP alike.

    Parameters
    ----------
    port : int
        The wanted one; 0 for any.

    Raises
    ------
    InstrumentError
        If it, or every one of a hundred, is taken.
    """
    for _ in range(1 if port else 100):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp, \
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:  # fmt: skip
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tcp.bind(("127.0.0.1", port))
                found = int(tcp.getsockname()[1])
                udp.bind(("127.0.0.1", found))
                tcp.listen()
            except OSError:
                continue
            return found
    raise InstrumentError(f"no free port: {port} is taken" if port else "no free port on 127.0.0.1")
