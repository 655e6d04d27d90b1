"""A map that is followed: its documents from the journal, as they are written, into what the page shows."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import event_model

from ..callbacks.live.state import MapState, is_map
from ..errors import RecordError, SladsError
from ..metadata import typed_start
from ..protocols import UNCLASSIFIED, EventKeys
from ..record.journal.reading import JournalTail, read_start
from ..record.journal.writing import SUFFIX, is_being_taken
from ..record.location import journal_directory, spectra_directory
from .points import PointColumns
from .spectrum import SpectrumReader

__all__ = ["FollowedMap", "MapFollower"]

_log = logging.getLogger(__name__)
POLL_S = 0.1
"""How often the journal of a growing run is looked at."""


class FollowedMap(MapState):
    """What is known of a map, with each point's time, dose and place in the journal.

    Parameters
    ----------
    start : mapping
        Start document of the map's first run.
    """

    def __init__(self, start: Mapping[str, Any]) -> None:
        super().__init__(start)
        self.points = PointColumns(self.grid.shape[0] * self.grid.shape[1])
        self.record = (0, 0, 0)
        """Journal, begin and length of the record that is taken now."""
        self.actions: list[dict[str, Any]] = []
        """What operators did: ``time``, ``who``, ``action``, ``detail``."""
        self.first_time = self.run_time = float(self.start_doc["time"])
        self.active_s = 0.0
        """Duration of the earlier runs of the map, s."""
        self.last_time = self.first_time
        self._dose = 0.0
        self._page_row = 0

    def start(self, doc: Any) -> None:
        """Take the start of the run that resumes this one."""
        self.active_s += max(self.last_time - self.run_time, 0.0)
        super().start(doc)
        self.run_time = self.last_time = float(doc["time"])

    def event(self, doc: Any) -> Any:
        """Take an event with its time; of a page, see `event_page`."""
        self.last_time = max(self.last_time, float(doc["time"]))
        self._event_time, self._seq_num = float(doc["time"]), int(doc["seq_num"])
        return super().event(doc)

    def event_page(self, doc: Any) -> Any:
        """Take each event of a page, and note which one it is."""
        for row, event in enumerate(event_model.unpack_event_page(doc)):
            self._page_row = row
            self.event(event)
        self._page_row = 0
        return doc

    def stream_event(self, stream: str, doc: dict[str, Any]) -> None:
        """Take a point, a map, or what an operator did."""
        super().stream_event(stream, doc)
        if stream == "primary":
            self._note(doc["data"], None)
        elif stream == "failed":
            self._note(doc["data"], "failed")
        elif stream == "operator":
            data = doc["data"]
            self.actions.append(
                {key: data.get(f"operator_{key}", "") for key in ("time", "who", "action", "detail")}
            )

    def _note(self, data: Mapping[str, Any], verdict: str | None) -> None:
        keys, (row, column) = self.keys, self.place_of(data)
        pixel = row * self.grid.shape[1] + column
        label = int(data.get(keys.label, 1)) if verdict is None else UNCLASSIFIED
        said = str(data.get(keys.verdict, "ok")) if verdict is None else verdict
        known = self.points.row_of(pixel)
        self._dose += float(data.get(keys.dose, 0.0) or 0.0)
        if known is not None and verdict == "failed":
            return
        journal, begin, length = self.record
        self.points.put(
            pixel,
            label=label,
            vote=label if said == "ok" else UNCLASSIFIED,
            verdict=said,
            probability=float(data.get(keys.probability, float("nan"))),
            erd=float(data.get(keys.erd, float("nan"))),
            seconds=self.active_s + self._event_time - self.run_time,
            dose_nc=self._dose,
            live_time_s=float(data.get(keys.live_time, 0.0) or 0.0),
            counts=float(data.get(keys.counts, 0.0) or 0.0),
            file=journal,
            begin=begin,
            length=length if verdict is None else 0,
            row=self._seq_num - 1 if self.spectra_outside else self._page_row,
        )

    spectra_outside = False
    """Whether the spectra of the run that is taken now are in an HDF5 file."""


class MapFollower:
    """Follows one map, from its first run to the one that is named, in a thread of its own.

    Parameters
    ----------
    record : Path
        Directory of the record.
    uid : str
        Of the map's last run.

    Raises
    ------
    RecordError
        If the run is no map, or a run that it resumes is missing.
    """

    def __init__(self, record: Path, uid: str) -> None:
        folder = journal_directory(record)
        self.uid = uid
        self._paths = _chain(folder, uid)
        start = typed_start(read_start(self._paths[0]))
        if not is_map(start):
            raise RecordError(f"run {uid[:8]} by plan '{start.get('plan_name')}' is no map: it has no grid")
        self.state = FollowedMap(start)
        self.reader = SpectrumReader(self.state.keys.spectrum)
        self.reader.journals, self.reader.folder = self._paths, spectra_directory(record)
        self.reader.datasets = [None] * len(self._paths)
        self.version = 0
        """Rises with each document."""
        self.problem = ""
        """Why the map is no longer followed; empty while it is."""
        self.over = False
        """Whether the last run has ended, or its process is gone."""
        self.caught_up_at = 0.0
        """When the end of the journal was last seen, ``time.time()``."""
        self._tail: JournalTail | None = None
        self._index = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"watch-{uid[:8]}", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(5)
        if self._tail is not None:
            self._tail.close()

    @property
    def status(self) -> str:
        """``measuring``, ``interrupted``, or how the run ended."""
        if self.state.stop_doc and self._index == len(self._paths) - 1:
            status = str(self.state.stop_doc.get("exit_status", ""))
            ours = "max_failed_points" in self.state.start_doc.get("plan_args", {})
            return (
                "stopped"
                if ours and status == "success" and not self.state.stop_doc.get("reason")
                else status
            )
        return "interrupted" if self.over else "measuring"

    def step(self) -> bool:
        """Take what is new; whether the map may still grow."""
        while True:
            path = self._paths[self._index]
            if self._tail is None:
                self._tail = JournalTail(path, _log.warning)
            taken = is_being_taken(path)  # before reading: what is written meanwhile is read, too
            for name, doc in self._tail.read():
                self._take(name, doc)
                if self._closing.is_set():
                    return False
            self.caught_up_at = time.time()
            if self._index + 1 == len(self._paths):
                self.over = self._tail.stopped or not taken
                return not self.over
            self._tail.close()
            self._tail, self._index = None, self._index + 1

    def _take(self, name: str, doc: dict[str, Any]) -> None:
        assert self._tail is not None
        self.state.record = (self._index, *self._tail.last_record)
        if name == "stream_resource" and doc.get("data_key") == self.state.keys.spectrum:
            self.reader.datasets[self._index] = (
                str(doc["uri"]),
                str(doc["parameters"].get("dataset")),
            )
        self.state.spectra_outside = self.reader.datasets[self._index] is not None
        if name not in ("stream_resource", "stream_datum"):
            self.state.take(name, doc)
        self.version += 1

    def _work(self) -> None:
        try:
            while self.step() and not self._closing.wait(POLL_S):
                pass
        except (SladsError, OSError) as error:
            self.problem, self.over = str(error), True
            self.version += 1
        except Exception as error:  # a document as no plan of ours writes it
            _log.exception("run %s can no longer be followed", self.uid)
            self.problem, self.over = f"{type(error).__name__}: {error}", True
            self.version += 1

    @property
    def keys(self) -> EventKeys:
        """Where the events hold what is shown."""
        return self.state.keys


def _chain(folder: Path, uid: str) -> list[Path]:
    """Journals of a run and those that it resumes, the oldest first; RecordError if one is missing."""
    paths: list[Path] = []
    current: str | None = uid
    while current is not None:
        path = folder / f"{current}{SUFFIX}"
        if path in paths:
            raise RecordError(f"run {uid[:8]} resumes itself")
        if not path.is_file():
            raise RecordError(f"run {str(current)[:8]} is not on record in {folder}")
        paths.insert(0, path)
        found = read_start(path).get("resumes")
        current = None if found is None else str(found)
    return paths
