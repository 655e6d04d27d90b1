"""The runs of a record, newest first, as a list that costs little to look at again: only what changed is read."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ..callbacks.live.state import is_map
from ..errors import DataError, RecordError
from ..metadata import typed_start
from ..record.journal.order import order_of_runs
from ..record.journal.reading import read_start, read_stop
from ..record.journal.writing import SUFFIX, is_being_taken
from ..record.location import journal_directory

__all__ = ["ListedRun", "RunList"]


@dataclass(frozen=True)
class ListedRun:
    """One row of the list."""

    uid: str
    scan_id: int | None
    time: float
    """Seconds since 1970 at its start."""
    sample: str
    plan: str
    shape: tuple[int, ...]
    """Rows and columns of a map; empty for a run that is none."""
    ending: str
    """``measuring``, ``interrupted``, ``success``, ``stopped``, ``abort`` or ``fail``."""
    points: int | None
    """Events of the stream ``primary``, once it is over."""
    parent: str | None
    """Run that it resumes."""

    @property
    def is_map(self) -> bool:
        """Whether it can be drawn."""
        return bool(self.shape)

    def to_json(self) -> dict[str, Any]:
        """Plain values for the page."""
        when = datetime.fromtimestamp(self.time)
        return {
            "uid": self.uid, "scan_id": self.scan_id, "day": f"{when:%Y-%m-%d}", "clock": f"{when:%H:%M}",
            "sample": self.sample, "plan": self.plan, "shape": " × ".join(map(str, self.shape)),
            "ending": self.ending, "points": self.points, "map": self.is_map,
        }  # fmt: skip


class RunList:
    """The runs of a record.

    Parameters
    ----------
    record : Path
        Directory of the record; it need not exist yet.
    """

    def __init__(self, record: Path) -> None:
        self._folder = journal_directory(record)
        self._known: dict[str, ListedRun] = {}
        self._lock = threading.Lock()

    def runs(self) -> list[ListedRun]:
        """Return all runs, the newest first; journals that cannot be read are left out."""
        with self._lock:
            paths = {path.stem: path for path in self._folder.glob(f"*{SUFFIX}")}
            for gone in self._known.keys() - paths.keys():
                del self._known[gone]
            for uid, path in paths.items():
                known = self._known.get(uid)
                if known is None or known.ending in ("measuring", "interrupted"):
                    with contextlib.suppress(
                        RecordError, DataError, OSError, ValueError, KeyError, TypeError
                    ):
                        self._known[uid] = _listed(path, known)
            order = order_of_runs(self._folder)
            return sorted(
                self._known.values(), key=lambda run: (order.get(run.uid, -1), run.time), reverse=True
            )

    def search(self, text: str = "", since: str = "", until: str = "", limit: int = 200) -> list[ListedRun]:
        """Return runs of which sample, plan, scan_id or uid contain a text, and that began in some days.

        Parameters
        ----------
        text : str
            Words, all of which must occur, in any case.
        since, until : str
            First and last day, such as ``2026-03-01``; one that is no day does not count.
        limit : int
            Runs at most.
        """
        words = text.casefold().split()
        first, last = _day(since), _day(until)
        found = []
        for run in self.runs():
            day = f"{datetime.fromtimestamp(run.time):%Y-%m-%d}"
            if (first and day < first) or (last and day > last):
                continue
            about = f"{run.sample} {run.plan} {run.scan_id} {run.uid}".casefold()
            if all(word in about for word in words):
                found.append(run)
                if len(found) == limit:
                    break
        return found

    def newest(self) -> ListedRun | None:
        """Return the newest map; None if there is none."""
        return next((run for run in self.runs() if run.is_map), None)


def _listed(path: Path, known: ListedRun | None) -> ListedRun:
    taken = is_being_taken(path)
    if known is None:
        start = typed_start(read_start(path))
        scan_id = start.get("scan_id")
        known = ListedRun(
            uid=path.stem,
            scan_id=int(scan_id) if isinstance(scan_id, int) else None,
            time=float(start["time"]),
            sample=str(start.get("sample", "")),
            plan=str(start.get("plan_name", "")),
            shape=tuple(int(n) for n in start["grid"]["shape"]) if is_map(start) else (),
            ending="measuring",
            points=None,
            parent=start.get("resumes"),
        )
        ours = "max_failed_points" in start.get("plan_args", {})
    else:
        ours = known.plan == "adaptive_map"
    if taken:
        return known
    stop = read_stop(path)
    if stop is None:
        return replace(known, ending="interrupted")
    status = str(stop.get("exit_status", ""))
    ending = "stopped" if ours and status == "success" and not stop.get("reason") else status
    return replace(known, ending=ending, points=(stop.get("num_events") or {}).get("primary"))


def _day(text: str) -> str:
    try:
        return f"{datetime.fromisoformat(text):%Y-%m-%d}" if text else ""
    except ValueError:
        return ""
