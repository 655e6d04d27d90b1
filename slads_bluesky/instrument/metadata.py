"""``RE.md`` that outlives the process: one JSON file, shared by all sessions and workers of a record.

bluesky's own ``PersistentDict`` keeps a file for each key and serves one process only; here an IPython session and
a queue server may be open on the same instrument at the same time.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError, RecordError
from ..files import atomic_write, locked
from ..metadata import plain_metadata

__all__ = ["PersistentMetadata"]


class PersistentMetadata(MutableMapping[str, Any]):
    """A mapping of JSON values in a file; what another process wrote is seen at the next look.

    A value that is changed in place (``RE.md["sample"]["colour"] = "red"``) is not written: assign it again.

    Parameters
    ----------
    path : path
        Of the file; made at the first change.

    Raises
    ------
    RecordError
        Here, or later, if the file cannot be read or written, or holds something else.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._stamp: tuple[int, int] | None = None
        self._values: dict[str, Any] = {}
        self._look()

    def __getitem__(self, key: str) -> Any:
        return self._look()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self._look()))

    def __len__(self) -> int:
        return len(self._look())

    def __repr__(self) -> str:
        return repr(dict(self._look()))

    def __setitem__(self, key: str, value: Any) -> None:
        try:
            ((key, plain),) = plain_metadata({key: value}).items()
        except ConfigError as error:
            raise RecordError(f"RE.md[{key!r}] must be plain data that JSON can hold: {error}") from None
        with self._locked():
            self._look()
            if key not in self._values or self._values[key] != plain:
                self._values[key] = plain
                self._write()

    def __delitem__(self, key: str) -> None:
        with self._locked():
            del self._look()[key]
            self._write()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with locked(self.path.with_suffix(".lock")):
                yield
        except OSError as error:
            raise RecordError(f"{self.path}: {error.strerror}") from error

    def _look(self) -> dict[str, Any]:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return self._values
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp != self._stamp:
            try:
                values = json.loads(self.path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise RecordError(f"{self.path}: holds no metadata ({error})") from None
            if not isinstance(values, dict):
                raise RecordError(f"{self.path}: holds no metadata but {type(values).__name__}")
            self._values, self._stamp = values, stamp
        return self._values

    def _write(self) -> None:
        try:
            with atomic_write(self.path) as partial:
                partial.write_text(json.dumps(self._values, indent=1, ensure_ascii=False) + "\n", "utf-8")
                status = partial.stat()
        except ConfigError as error:
            raise RecordError(str(error)) from error
        self._stamp = (status.st_mtime_ns, status.st_ino)
