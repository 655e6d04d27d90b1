"""A publisher from one line of ``instrument.yml``."""

from __future__ import annotations

from collections.abc import Callable

from .base import Publisher

__all__ = ["make_publisher"]


def make_publisher(where: str, on_problem: Callable[[str], None] | None = None) -> Publisher:
    """Make a publisher from one line of configuration.

    Parameters
    ----------
    where : str
        ``host:port``, ``tcp://host:port`` or ``ipc://path`` of a bluesky 0MQ proxy's incoming side;
        ``kafka://host:port/topic`` of a Kafka broker.
    on_problem : callable, optional
        See `Publisher`.

    Raises
    ------
    ConfigError
        If the line is neither, or what it needs is not installed.
    """
    if where.startswith("kafka://"):
        from .kafka import KafkaPublisher

        servers, _, topic = where.removeprefix("kafka://").partition("/")
        return KafkaPublisher(servers, topic, on_problem=on_problem)
    from .zmq import ZMQPublisher

    return ZMQPublisher(where, on_problem=on_problem)
