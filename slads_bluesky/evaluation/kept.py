"""Parts of a long measurement that are kept, so that an interrupted one resumes where it stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..codehash import decisions_hash
from .store import TrialStore

__all__ = ["Kept"]


class Kept:
    """Measures parts by name, or takes them from a directory.

    Parameters
    ----------
    directory : Path or None
        Made if it is missing; None: nothing is kept.
    settings : str
        What the parts depend on; parts of other settings, or of other code that decides, are measured again.
    """

    def __init__(self, directory: Path | None, settings: str = "") -> None:
        version = f"{decisions_hash()} {settings}"
        self._store = None if directory is None else TrialStore(directory, version)

    def __call__(self, name: str, measure: Callable[[], Any]) -> Any:
        """Return a part, a value that JSON can hold."""
        if self._store is None:
            return measure()
        file = f"{name[:40].replace('/', '-')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        found = self._store.load(file)
        if found is None:
            self._store.save(file, {"part": name, "value": measure()})
            found = self._store.load(file)  # as a resumed measurement has it
        assert found is not None
        return found["value"]
