"""Documents from a 0MQ proxy into a record's journal, for a page on another machine than the instrument's."""

from __future__ import annotations

import contextlib
import logging
import threading
from pathlib import Path

from ..callbacks.publish.zmq import ZMQListener
from ..errors import DataError, RecordError
from ..record.journal.writing import SUFFIX, Journal
from ..record.location import journal_directory

__all__ = ["Receiver"]

_log = logging.getLogger(__name__)
POLL_S = 0.5


class Receiver:
    """Writes what a proxy sends into the journal of a record; a run that is there already is left alone.

    Of a run that had begun before, nothing is written: without its start document it is no run.

    Parameters
    ----------
    address : str
        Outgoing side of the proxy.
    record : Path
        Directory of the record.
    """

    def __init__(self, address: str, record: Path) -> None:
        self._listener = ZMQListener(address)
        self._folder = journal_directory(record)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="watch-receiver", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._closing.set()
        self._thread.join(10)

    def _work(self) -> None:
        with Journal(self._folder) as journal, self._listener:
            while not self._closing.is_set():
                try:
                    pair = self._listener.next(POLL_S)
                    if pair is None:
                        continue
                    name, doc = pair
                    if name == "start" and (self._folder / f"{doc['uid']}{SUFFIX}").exists():
                        continue  # the session's own record is watched, or the run was sent twice
                    with contextlib.suppress(RecordError):  # of a run whose start was not received
                        journal(name, doc)
                except DataError as error:
                    _log.warning("%s", error)
