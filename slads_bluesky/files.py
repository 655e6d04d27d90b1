"""Files that appear whole: written under another name in the same folder, then renamed into place."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import ConfigError

__all__ = ["atomic_write", "check_writable", "finite", "locked", "write_json"]


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name to write to; on success it takes the place of `path`, else it is removed.

    The temporary name has the same ending as `path`, in a folder of its own beside it, so that libraries which choose
    a format by the ending, or write a folder, work unchanged.

    Parameters
    ----------
    path : path
        File or folder to write; an existing one is replaced.

    Yields
    ------
    Path
        The temporary name.

    Raises
    ------
    ConfigError
        Naming `path`, if its folder cannot be written or the disk is full.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> target = Path(tempfile.mkdtemp()) / "figures.txt"
    >>> with atomic_write(target) as partial:
    ...     _ = partial.write_text("0.0015")
    >>> target.read_text()
    '0.0015'
    """
    path = Path(path)
    try:
        folder = Path(tempfile.mkdtemp(prefix=".partial-", dir=path.absolute().parent))
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
    partial = folder / path.name
    try:
        yield partial
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        os.replace(partial, path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, made if it is not there, so that one process at a time does what is inside.

    The kernel releases it when its process ends, however it ends.

    Raises
    ------
    OSError
        If the file or its folder cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def check_writable(path: Path | None) -> None:
    """Raise ConfigError now, not after an hour's run, if `path` cannot be written; None is accepted."""
    if path is None:
        return
    parent = path.resolve().parent
    if path.is_dir() or not parent.is_dir() or not os.access(path if path.exists() else parent, os.W_OK):
        raise ConfigError(f"cannot write {path}")


def finite(value: Any) -> Any:
    """Return the same lists, tuples and mappings with None in place of numbers that are not finite.

    Examples
    --------
    >>> finite({"dose": float("nan"), "counts": [1.0, float("inf")]})
    {'dose': None, 'counts': [1.0, None]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def write_json(path: Path | None, figures: dict[str, Any]) -> None:
    """Write `figures` to `path` atomically, or do nothing for None; NaN and infinity become null."""
    if path is None:
        return
    text = json.dumps(finite(figures), indent=2, allow_nan=False) + "\n"
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")
