"""Events by the name of their stream, pages as single events: `event_model.DocumentRouter` with one step more."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import Any

import event_model

__all__ = ["StreamRouter", "events_by_stream", "final_events"]


class StreamRouter(event_model.DocumentRouter):
    """Document callback whose subclasses take each event with the name of its stream.

    A subclass defines any of ``start(doc)``, ``stream_descriptor(stream, doc)``, ``stream_event(stream, doc)`` and
    ``stop(doc)``. Event pages come as single events; events of an unknown descriptor are passed over.

    Examples
    --------
    >>> class Counter(StreamRouter):
    ...     n = 0
    ...     def stream_event(self, stream, doc):
    ...         self.n += stream == "primary"
    >>> counter = Counter()
    >>> _ = counter("descriptor", {"uid": "d", "run_start": "r", "name": "primary"})
    >>> _ = counter("event", {"descriptor": "d", "seq_num": 1})
    >>> counter.n
    1
    """

    def __init__(self) -> None:
        super().__init__()
        self._stream_of: dict[str, tuple[str, str]] = {}  # descriptor -> stream, run

    def __call__(self, name: str, doc: Any, validate: bool = False) -> tuple[str, Any]:
        """Take one document."""
        routed: tuple[str, Any] = super().__call__(name, doc, validate)
        if name == "stop":
            run = doc.get("run_start")
            self._stream_of = {uid: of for uid, of in self._stream_of.items() if of[1] != run}
        return routed

    def descriptor(self, doc: Any) -> None:
        """Note which stream the descriptor is of."""
        stream = str(doc.get("name", ""))
        self._stream_of[doc["uid"]] = (stream, str(doc.get("run_start", "")))
        self.stream_descriptor(stream, doc)

    def event(self, doc: Any) -> Any:
        """Pass an event on with its stream."""
        known = self._stream_of.get(doc["descriptor"])
        if known is not None:
            self.stream_event(known[0], doc)
        return doc

    def event_page(self, doc: Any) -> Any:
        """Pass each event of a page on."""
        if doc["descriptor"] in self._stream_of:
            for event in event_model.unpack_event_page(doc):
                self.event(event)
        return doc

    def stream_descriptor(self, stream: str, doc: dict[str, Any]) -> None:
        """Take a descriptor of `stream`."""

    def stream_event(self, stream: str, doc: dict[str, Any]) -> None:
        """Take an event of `stream`."""


class _Collected(StreamRouter):
    """Keeps what the last document gave."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[str, str, dict[str, Any]]] = []

    def stream_descriptor(self, stream: str, doc: dict[str, Any]) -> None:
        self.given.append(("descriptor", stream, doc))

    def stream_event(self, stream: str, doc: dict[str, Any]) -> None:
        self.given.append(("event", stream, doc))


def events_by_stream(documents: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield ``(name, stream, document)`` of each document.

    Parameters
    ----------
    documents : iterable of (name, document)

    Yields
    ------
    (str, str, dict)
        Name, stream and document; the stream is empty for all but descriptors and events. Pages come as single
        events, those of an unknown descriptor not at all.
    """
    router = _Collected()
    for name, doc in documents:
        router(name, doc)
        if name in ("descriptor", "event", "event_page"):
            yield from router.given
            router.given.clear()
        else:
            yield name, "", doc


def final_events(
    documents: Iterable[tuple[str, Any]], streams: Container[str] | None = None
) -> list[tuple[str, dict[str, Any]]]:
    """Return ``(stream, event)`` for each event that counts: of a ``seq_num`` that was emitted again, the last.

    Parameters
    ----------
    documents : iterable of (name, document)
        Of one run.
    streams : container of str, optional
        Only these.

    Returns
    -------
    list of (str, dict)
        In the order in which the sequence numbers first came.
    """
    kept: dict[tuple[str, int], dict[str, Any]] = {}
    for name, stream, doc in events_by_stream(documents):
        if name == "event" and (streams is None or stream in streams):
            kept[stream, doc["seq_num"]] = doc
    return [(stream, doc) for (stream, _), doc in kept.items()]
