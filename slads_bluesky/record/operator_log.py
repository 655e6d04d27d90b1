"""What operators do, in a file of the record until a run takes it into its stream ``operator``.

Whoever steers a session from outside (the page of `slads-bluesky watch`, ``slads-bluesky queue``) appends a line; the
RunEngine of the session emits each line once, as an Event of the run that is open then, or of the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from slads_bluesky.errors import RecordError

__all__ = ["OperatorAction", "OperatorLog", "append_action"]

NAME = "operator.jsonl"
TAKEN = "operator.taken"
"""Bytes of the log that runs hold already."""
LONGEST = 2000
"""Characters of a text; longer ones are cut."""


class OperatorAction(NamedTuple):
    """One thing that an operator did."""

    time: float
    """Seconds since 1970."""
    who: str
    action: str
    """Such as ``queue``, ``pause``, ``abort``."""
    detail: str


def append_action(record: Path, who: str, action: str, detail: str = "") -> OperatorAction:
    """Note what an operator does, before it is done.

    Parameters
    ----------
    record : Path
        Directory of the record.
    who : str
        The operator's name.
    action, detail : str

    Raises
    ------
    RecordError
        If it cannot be written.
    """
    done = OperatorAction(time.time(), who[:LONGEST], action[:LONGEST], detail[:LONGEST])
    try:
        record.mkdir(parents=True, exist_ok=True)
        handle = os.open(record / NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            os.write(handle, json.dumps(done._asdict()).encode() + b"\n")
        finally:
            os.close(handle)
    except OSError as error:
        raise RecordError(f"operator log {record / NAME}: {error.strerror}") from error
    return done


class OperatorLog:
    """Reader of a record's operator log; looking for something new costs one ``stat``.

    Parameters
    ----------
    record : Path
        Directory of the record.
    """

    def __init__(self, record: Path) -> None:
        self._path, self._taken = record / NAME, record / TAKEN
        self._at = self._read_taken()

    def take(self) -> list[OperatorAction]:
        """Return the actions that no run holds yet, the oldest first; the next call does not return them again."""
        try:
            if os.stat(self._path).st_size <= self._at:
                return []
        except OSError:
            return []
        with self._alone():
            self._at = max(
                self._at, self._read_taken()
            )  # another session of this record may have been quicker
            with self._path.open("rb") as file:
                file.seek(self._at)
                whole, _, _ = file.read().rpartition(b"\n")
            if not whole:
                return []
            self._at += len(whole) + 1
            self._taken.write_text(f"{self._at}\n")
        return [action for line in whole.split(b"\n") if (action := _action(line)) is not None]

    def _read_taken(self) -> int:
        try:
            return int(self._taken.read_text())
        except (OSError, ValueError):
            return 0

    @contextmanager
    def _alone(self) -> Iterator[None]:
        handle = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _action(line: bytes) -> OperatorAction | None:
    """Read a line; None if it is none of ours."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        found: dict[str, Any] = json.loads(line)
        return OperatorAction(
            float(found["time"]), str(found["who"]), str(found["action"]), str(found["detail"])
        )
    return None
