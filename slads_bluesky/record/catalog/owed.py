"""Which runs a catalog elsewhere is still to get: a note beside each journal until its run is written there.

An embedded catalog is compared with the journal whenever it is opened. A facility's server is not given what it was
not asked to take; so each run of a session that records into it says so, and the next session with the same server
writes what the last one could not: a server that was away, a process that was killed.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from slads_bluesky.errors import SladsError
from slads_bluesky.files import atomic_write

from ..journal.writing import SUFFIX
from ..location import without_secrets

__all__ = ["forget_owed", "note_owed", "owed_to", "runs_owed"]

NOTE = ".owed"


def note_owed(journal: Path, where: str) -> None:
    """Note that the catalog at an address, or of a profile, is to get the run of a journal; keys are not kept."""
    with contextlib.suppress(SladsError, OSError), atomic_write(journal.with_suffix(NOTE)) as partial:
        partial.write_text(without_secrets(where) + "\n", encoding="utf-8")


def forget_owed(journal: Path) -> None:
    """Note that the run of a journal is in its catalog."""
    with contextlib.suppress(OSError):
        journal.with_suffix(NOTE).unlink(missing_ok=True)


def owed_to(journal: Path) -> str | None:
    """Return the address of the catalog that is still to get the run of a journal; None if there is none."""
    with contextlib.suppress(OSError):
        return journal.with_suffix(NOTE).read_text("utf-8", "replace")[:2000].strip() or None
    return None


def runs_owed(journal_dir: Path, where: str) -> list[Path]:
    """Return the journals of the runs that a catalog is to get, the oldest first."""
    wanted = without_secrets(where)
    notes = [note for note in journal_dir.glob(f"*{NOTE}") if owed_to(note) == wanted]
    journals = [path for note in notes if (path := note.with_suffix(SUFFIX)).is_file()]
    return sorted(journals, key=lambda path: path.stat().st_mtime)
