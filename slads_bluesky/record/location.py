"""Where a record is: its folder and the folders in it, by the conventions of the platform unless named."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from slads_bluesky.errors import RecordError

__all__ = [
    "catalog_directory",
    "default_directory",
    "journal_directory",
    "record_path",
    "spectra_directory",
    "without_secrets",
]

_REFUSED = re.compile(r"[#?\x00-\x1f\x7f]")


def default_directory() -> Path:
    """Directory of the user's own record, by the conventions of the platform."""
    import platformdirs

    return Path(platformdirs.user_data_dir("slads-bluesky", appauthor=False)) / "record"


def record_path(where: str | Path | None = None) -> Path:
    """Absolute directory of a record; it need not exist.

    Parameters
    ----------
    where : path or str, optional
        With ``~`` and ``..``, if that is shorter; by default the user's own record.

    Returns
    -------
    Path

    Raises
    ------
    RecordError
        If Tiled, which keeps addresses of files, cannot find anything under that name: one with ``#``, ``?``, control
        characters, or bytes that are not UTF-8.

    Examples
    --------
    >>> record_path("/data/../records").name
    'records'
    >>> record_path("/data/run#7")
    Traceback (most recent call last):
    ...
    slads_bluesky.errors.RecordError: a record cannot be in '/data/run#7': '#' in the name of a folder
    """
    path = (Path(where) if where is not None else default_directory()).expanduser()
    path = Path(os.path.realpath(path)) if ".." in path.parts else path.absolute()
    text = str(path)
    found = _REFUSED.search(text)
    if found:
        raise RecordError(f"a record cannot be in {text!r}: {found[0]!r} in the name of a folder")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RecordError(f"a record cannot be in {text!r}: the name is not in UTF-8") from None
    return path


def journal_directory(record: str | Path) -> Path:
    """Where a record keeps its journal."""
    return Path(record) / "journal"


def catalog_directory(record: str | Path) -> Path:
    """Where a record keeps its embedded catalog."""
    return Path(record) / "catalog"


def spectra_directory(record: str | Path) -> Path:
    """Where a record keeps spectra that are not inline."""
    return Path(record) / "spectra"


def without_secrets(uri: str) -> str:
    """Address without user, password and query, where keys are; other text as it is.

    Examples
    --------
    >>> without_secrets("https://me:word@host:8000/a?api_key=secret")
    'https://host:8000/a'
    >>> without_secrets("/data/record")
    '/data/record'
    """
    if "://" not in uri:
        return uri
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
