"""Documents to a Kafka broker, by bluesky-kafka; an optional extra, ``pip install 'slads-bluesky[kafka]'``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgpack

from ...codec import pack
from ...errors import ConfigError
from .base import QUEUED, Publisher

__all__ = ["KafkaPublisher"]


class KafkaPublisher(Publisher):
    """Document callback that publishes ``(name, document)`` in msgpack, as ``BlueskyConsumer`` reads it.

    Parameters
    ----------
    servers : str
        ``host:port`` of the brokers, with commas between.
    topic : str
        All documents go to it; those of one run in their order.
    queued, on_problem
        See `Publisher`.

    Raises
    ------
    ConfigError
        If servers or topic are missing, or bluesky-kafka is not installed.
    """

    def __init__(
        self,
        servers: str,
        topic: str,
        *,
        queued: int = QUEUED,
        on_problem: Callable[[str], None] | None = None,
    ) -> None:
        if not servers or not topic:
            raise ConfigError("a Kafka publisher needs its broker and its topic: kafka://host:port/topic")
        self.servers, self.topic = servers, topic
        self._make = _bluesky_kafka_publisher()
        super().__init__(queued, on_problem)

    def __str__(self) -> str:
        return f"Kafka topic {self.topic} at {self.servers}"

    def _open(self) -> None:
        self._producer = self._make(
            topic=self.topic,
            bootstrap_servers=self.servers,
            key=self.topic,
            producer_config={"error_cb": self._failed, "log_level": 2, "enable.idempotence": True},
            on_delivery=self._delivered,
            serializer=pack,
        )

    def _send(self, name: str, doc: Mapping[str, Any]) -> bool:
        self._producer(name, dict(doc))
        return True

    def _failed(self, error: Any) -> None:
        self._problem("absent", f"{self}: {error}")

    def _delivered(self, error: Any, _: Any) -> None:
        if error is not None:
            self.n_sent -= 1
            self.n_dropped += 1
            self._problem("delivery", f"{self}: {error}")

    def _shut(self) -> None:
        self._producer.flush()


def _bluesky_kafka_publisher() -> Any:
    # Importing bluesky_kafka replaces msgpack's functions, in the whole process, by ones that pickle what they do
    # not know; here nothing is ever pickled.
    kept = {name: getattr(msgpack, name) for name in _PATCHED}
    try:
        from bluesky_kafka import Publisher as KafkaProducer
    except ImportError as error:
        raise ConfigError(
            f"publishing to Kafka takes bluesky-kafka: pip install 'slads-bluesky[kafka]' ({error})"
        ) from None
    finally:
        for name, value in kept.items():
            setattr(msgpack, name, value)
    return KafkaProducer


_PATCHED = ("Packer", "Unpacker", "load", "loads", "dump", "dumps", "pack", "packb", "unpack", "unpackb")
