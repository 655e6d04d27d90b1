"""The number that people call a run by: one higher each time, whichever process takes the run."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import RecordError

__all__ = ["scan_id_source"]


def scan_id_source(record: str | Path) -> Callable[[Any], int]:
    """Return what a RunEngine takes as its ``scan_id_source``: numbers that are kept in a record's directory.

    Parameters
    ----------
    record : path
        Directory of the record; its file ``scan_id`` holds the last number given out.

    Returns
    -------
    callable
        Takes the RunEngine's metadata (and leaves it alone), gives the next number, from 1. RecordError if the
        file cannot be written or holds something else.
    """
    path = Path(record) / "scan_id"

    def following(_: Any) -> int:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            with os.fdopen(handle, "r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                number = int(file.read() or 0) + 1
                file.seek(0)
                file.write(str(number))
                file.truncate()
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RecordError(f"{path}: {error.strerror}") from error
        except ValueError as error:
            raise RecordError(f"{path}: holds no scan_id ({error})") from None
        return number

    return following
