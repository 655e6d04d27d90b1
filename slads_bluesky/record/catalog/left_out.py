"""Why a run is in the journal only: a note beside its journal, which the next success removes."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from slads_bluesky.errors import SladsError
from slads_bluesky.files import atomic_write

from .owed import forget_owed

__all__ = ["first_line", "note_left_out", "note_written", "reason_left_out"]

_MOST = 2000  # characters of a reason


def first_line(error: BaseException) -> str:
    """Kind and first line of an error; of one of ours the text alone."""
    lines = str(error).strip().splitlines()
    if isinstance(error, SladsError) and lines:
        return lines[0]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def note_left_out(journal: Path, reason: str) -> bool:
    """Note why the catalog does not hold a run; whether that is new."""
    if reason_left_out(journal) == reason:
        return False
    with contextlib.suppress(SladsError), atomic_write(_note(journal)) as partial:
        partial.write_text(reason[:_MOST] + "\n", encoding="utf-8")
    return True


def note_written(journal: Path) -> None:
    """Note that the catalog holds a run."""
    with contextlib.suppress(OSError):
        _note(journal).unlink(missing_ok=True)
    forget_owed(journal)


def reason_left_out(journal: Path) -> str | None:
    """Why the catalog does not hold a run; None if it does, or was not asked to."""
    note = _note(journal)
    if not os.path.isfile(note):
        return None
    with contextlib.suppress(OSError):
        return note.read_text("utf-8", "replace")[:_MOST].strip()
    return None


def _note(journal: Path) -> Path:
    return journal.with_suffix(".left-out")
