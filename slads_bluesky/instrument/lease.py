"""A lock file beside the record: one process at a time uses an instrument that cannot tell its users apart.

The kernel gives the lock back when its owner ends, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import os
import re
import socket
from pathlib import Path
from typing import IO

from ..errors import InstrumentError

__all__ = ["FileLease"]


class FileLease:
    """The use of one instrument.

    Parameters
    ----------
    directory : path
        Of the record.
    instrument : str
        Names the instrument among those that share the record, such as the prefix of its beam's PVs.
    """

    def __init__(self, directory: Path, instrument: str) -> None:
        self.path = directory / f"instrument-{re.sub(r'[^A-Za-z0-9.-]+', '_', instrument)}.lock"
        self._instrument = instrument
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take it; again does no harm.

        Raises
        ------
        InstrumentError
            Naming the process that has it.
        """
        if self._file is not None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = self.path.open("a+", encoding="utf-8")
        except OSError as error:
            raise InstrumentError(f"{self.path}: {error.strerror}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            owner = file.read(200).strip() or "another process"
            file.close()
            raise InstrumentError(f"{self._instrument}: the instrument is in use by {owner}") from None
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()} of {_user()} on {socket.gethostname()}\n")
        file.flush()
        self._file = file

    def release(self) -> None:
        """Give it back; without having it does no harm."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.seek(0)
                file.truncate()
            file.close()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
