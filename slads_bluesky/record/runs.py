"""Runs found in a record's journal or in any catalog, and their documents."""

from __future__ import annotations

import contextlib
import logging
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slads_bluesky.documents import check_document
from slads_bluesky.errors import RecordError
from slads_bluesky.metadata import typed_start
from slads_bluesky.streams import events_by_stream

from .catalog.left_out import reason_left_out
from .catalog.owed import owed_to
from .catalog.store import open_catalog
from .hdf5_spectra import filled
from .journal.order import order_of_runs
from .journal.reading import read_journal, read_start, read_stop
from .journal.writing import SUFFIX, Document, is_being_taken
from .location import (
    catalog_directory,
    default_directory,
    journal_directory,
    record_path,
    spectra_directory,
    without_secrets,
)

__all__ = [
    "RecordedRun",
    "catalog_documents",
    "find_run",
    "list_runs",
    "map_runs",
    "read_array",
    "record_directory",
]


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecordedRun:
    """A run that is on record."""

    start: dict[str, Any]
    stop: dict[str, Any] | None
    """None for a run that was cut off, or is still being written."""
    documents: Callable[[], Iterator[Document]]
    """Gives its documents, from the first each time; of a damaged journal those that are whole; others are logged."""
    source: str
    """The file or the catalog that it comes from."""
    left_out: str | None = None
    """Why the catalog does not hold it; None if it does, or was not asked to."""

    @property
    def uid(self) -> str:
        """Full uid."""
        return str(self.start["uid"])

    @property
    def parent(self) -> str | None:
        """Uid of the run that this one resumes."""
        return self.start.get("resumes")

    @property
    def exit_status(self) -> str:
        """``success``, ``abort``, ``fail``, or ``unfinished`` without a stop document."""
        return str(self.stop["exit_status"]) if self.stop else "unfinished"

    @property
    def ending(self) -> str:
        """How it ended: as `exit_status`, but ``stopped`` where an operator's ``RE.stop()`` ended a plan of ours.

        The RunEngine calls that a success. Our plans say why they ended, that of others may end without a reason.
        """
        ours = "max_failed_points" in self.start.get("plan_args", {})
        if ours and self.exit_status == "success" and not (self.stop or {}).get("reason"):
            return "stopped"
        return self.exit_status

    def count_events(self, stream: str = "primary") -> int:
        """Count the events of a stream by reading them: of a run without a stop document, which has their number."""
        seen = set()
        with contextlib.suppress(RecordError):
            for name, of, doc in events_by_stream(self.documents()):
                if name == "event" and of == stream:
                    seen.add(doc["seq_num"])
        return len(seen)


def list_runs(
    where: str | Path | None = None, on_unreadable: Callable[[str], None] | None = None
) -> list[RecordedRun]:
    """Return all runs, the oldest first.

    Parameters
    ----------
    where : path or str, optional
        As for `open_catalog`. Of a record's directory the journal is read, which takes no database.
    on_unreadable : callable, optional
        Called with a sentence for each journal that cannot be read; such a file hides no other run.

    Raises
    ------
    RecordError
        If there is no record.
    """
    directory = record_directory(where)
    if directory is None:
        return _of_catalog(open_catalog(where), without_secrets(str(where)), on_unreadable)
    if not journal_directory(directory).is_dir():
        if not catalog_directory(directory).is_dir():
            raise RecordError(f"{directory} holds no record of runs")
        return _of_catalog(open_catalog(directory), str(directory), on_unreadable)
    runs = []
    for path in journal_directory(directory).glob(f"*{SUFFIX}"):
        try:
            runs.append(_from_journal(path))
        except RecordError as error:
            if on_unreadable is not None:
                on_unreadable(str(error))
    order = order_of_runs(journal_directory(directory))
    return sorted(runs, key=lambda run: (order.get(run.uid, -1), float(run.start["time"])))


def find_run(key: str, where: str | Path | None = None) -> RecordedRun:
    """Find one run.

    Parameters
    ----------
    key : str
        A uid or the beginning of one (two characters at least), a scan_id, or ``-1`` for the latest run.
    where : path or str, optional
        As for `list_runs`.

    Raises
    ------
    RecordError
        If there is none, or several; those are named.

    Examples
    --------
    The latest run of the folder ``record``, which the example of `slads_bluesky.adaptive_map` writes:

    >>> from slads_bluesky import find_run
    >>> run = find_run("-1", "record")
    >>> run.exit_status, run.start["sample"]
    ('success', 'solder')
    >>> sum(name == "event" for name, _ in run.documents()) > 51
    True
    """
    directory = record_directory(where)
    if directory is not None and len(key) == 36:
        path = journal_directory(directory) / f"{key}{SUFFIX}"
        if path.exists():
            return _from_journal(path)
    broken: list[str] = []
    runs = list_runs(where, broken.append)
    place = without_secrets(str(where if where is not None else default_directory()))
    if key.startswith("-") and key[1:].isdigit() and int(key) < 0:
        if len(runs) < -int(key):
            raise RecordError(f"{place} holds {len(runs)} runs, none is number {key}")
        return runs[int(key)]
    if key.isdigit() and len(key) < 8:
        numbered = [run for run in runs if run.start.get("scan_id") == int(key)]
        if numbered:
            return numbered[-1]  # scan_ids may begin again at 1; the latest is meant, as databroker does it
    if len(key) < 2:
        raise RecordError(f"no run has the scan_id '{key}' in {place}, and for a uid it is too short")
    found = [run for run in runs if run.uid.startswith(key)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(run.uid for run in found[:5]) + (" …" if len(found) > 5 else "")
        raise RecordError(f"'{key}' fits {len(found)} runs in {place}: {names}")
    unreadable = (
        f" ({broken[0]})" if len(broken) == 1 else f" ({len(broken)} files are unreadable)" if broken else ""
    )
    raise RecordError(f"no run '{key}' in {place}{unreadable}")


def map_runs(run: RecordedRun, where: str | Path | None = None) -> list[RecordedRun]:
    """Return the runs that make the map which `run` ends: itself and those that it resumes, oldest first.

    Raises
    ------
    RecordError
        If one of them is not on record: half a map is not shown for the whole.
    """
    chain = [run]
    while (parent := chain[0].parent) is not None:
        if any(parent == known.uid for known in chain):
            raise RecordError(f"run {run.uid[:8]} resumes itself")
        try:
            chain.insert(0, find_run(parent, where))
        except RecordError as error:
            raise RecordError(
                f"run {chain[0].uid[:8]} resumes {parent[:8]}, which is missing: {error}"
            ) from None
    return chain


def catalog_documents(run: Any) -> Iterator[Document]:
    """Yield the documents of a run in a databroker catalog, events of all streams by time.

    Tiled keeps columns, not documents: uids of events are generated (the same each time), all else is as it was
    recorded, arrays with their dtype. A run without a stop document gets none.

    Parameters
    ----------
    run : databroker BlueskyRun
    """
    metadata = run.metadata
    yield "start", dict(metadata["start"])
    events: list[tuple[float, dict[str, Any]]] = []
    for stream in run:
        descriptor = dict(run[stream].descriptors[0])
        for about in descriptor["data_keys"].values():
            about.pop("external", None)  # arrays are in the events, wherever the catalog has them from
        yield "descriptor", descriptor
        events += [(event["time"], event) for event in _events(run[stream], descriptor)]
    for _, event in sorted(events, key=lambda pair: pair[0]):
        yield "event", event
    if metadata.get("stop"):
        yield "stop", dict(metadata["stop"])


def _events(stream: Any, descriptor: dict[str, Any]) -> Iterator[dict[str, Any]]:
    parts = stream.base  # one request a part: the table of all scalars, each array
    columns: dict[str, Any] = {}
    for part in parts:
        client = parts[part]
        if hasattr(client, "columns"):
            table = client.read()
            columns.update((str(key), table[key].to_numpy()) for key in table.columns)
        else:
            columns[part] = read_array(client)
    numbers, times = columns.pop("seq_num"), columns.pop("time")
    stamps = {key[3:]: columns.pop(key) for key in list(columns) if key.startswith("ts_")}
    for i, seq_num in enumerate(numbers):
        yield {
            "uid": str(uuid.uuid5(uuid.UUID(descriptor["uid"]), str(seq_num))),
            "descriptor": descriptor["uid"],
            "seq_num": int(seq_num),
            "time": float(times[i]),
            "data": {key: _plain(values[i]) for key, values in columns.items()},
            "timestamps": {key: float(values[i]) for key, values in stamps.items()},
            "filled": {},
        }


def read_array(client: Any) -> NDArray[Any]:
    """Read an array of a catalog block by block into one array, so that no more than one block is held twice.

    Parameters
    ----------
    client : tiled ArrayClient
        Such as ``run["primary"]["eds_spectrum"]``; its own ``read()`` takes more than twice the array's memory.
    """
    out = np.empty(client.shape, client.dtype)
    begin = 0
    for rows in client.chunks[0] if client.ndim else ():
        out[begin : begin + rows] = client[begin : begin + rows]
        begin += rows
    return out if client.ndim else np.asarray(client.read())


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _from_journal(path: Path) -> RecordedRun:
    spectra = spectra_directory(path.parent.parent)
    said: set[str] = set()  # documents are given more than once, and so is damage met

    def warn(text: str) -> None:
        if text not in said:
            said.add(text)
            _log.warning(text)

    def documents() -> Iterator[Document]:
        return filled(read_journal(path, warn, warn), spectra)

    return RecordedRun(
        typed_start(read_start(path)), read_stop(path), documents, str(path), _reason_left_out(path)
    )


def _reason_left_out(path: Path) -> str | None:
    """Why the catalog does not hold a run; one that is being taken, or written there now, is not named."""
    if (where := owed_to(path)) is None or is_being_taken(path):
        return reason_left_out(path)
    reason = reason_left_out(path)
    return f"{where} is still to get it{f' ({reason})' if reason else ''}; the next session with it writes it"


def _of_catalog(catalog: Any, where: str, on_unreadable: Callable[[str], None] | None) -> list[RecordedRun]:
    """Runs of a catalog; an entry that is no run of Bluesky's hides none."""
    runs = []
    for uid, run in catalog.items():
        with contextlib.suppress(Exception):
            check_document("start", dict(run.start))
            runs.append(_from_catalog(run, where))
            continue
        if on_unreadable is not None:
            on_unreadable(f"{where}: '{uid}' is no run")
    return runs


def _from_catalog(run: Any, where: str) -> RecordedRun:
    stop = run.metadata.get("stop")
    return RecordedRun(
        typed_start(run.start), dict(stop) if stop else None, lambda: catalog_documents(run), where
    )


def record_directory(where: str | Path | None) -> Path | None:
    """Directory of the record that `open_catalog` would open; None for a server or a profile."""
    if where is None:
        return record_path()
    if isinstance(where, Path) or (os.sep in where and "://" not in where) or Path(where).is_dir():
        return record_path(where)
    if "://" in where:
        return None
    from .catalog.store import is_profile

    return None if is_profile(where) else record_path(where)
