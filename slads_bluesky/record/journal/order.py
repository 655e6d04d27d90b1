"""The order in which the runs of a record began, whatever the clock said: file ``order`` in the journal's folder.

One uid a line, appended at the start document. A clock that was set back puts no run before an earlier one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

__all__ = ["append_to_order", "order_of_runs"]

_NAME = "order"


def append_to_order(directory: Path, uid: str) -> None:
    """Note that the run `uid` begins now; without room on the disk it is not noted, and its time decides."""
    with contextlib.suppress(OSError):
        handle = os.open(directory / _NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            os.write(handle, uid.encode() + b"\n")
        finally:
            os.close(handle)


def order_of_runs(directory: Path) -> dict[str, int]:
    """Number of each run, 0 the first; runs that were recorded before there was such a file are not in it."""
    try:
        lines = (directory / _NAME).read_text("utf-8", "replace").split("\n")[:-1]
    except OSError:
        return {}
    return {uid: number for number, uid in reversed(list(enumerate(lines)))}
