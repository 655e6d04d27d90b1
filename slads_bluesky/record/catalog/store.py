"""The databroker catalog: embedded in a directory, on a Tiled server, or a facility's profile.

A record is a directory with two parts: ``journal/`` (the truth, one file a run) and ``catalog/`` (SQLite and zarr
by Tiled, no server and no socket), which can be rebuilt from the journal at any time::

    from slads_bluesky.record import open_catalog

    db = open_catalog()                     # or a directory, "https://…", or the name of a profile
    run = db[-1]                            # or db["3f0c8a"] (uid), db[42] (scan_id)
    run["primary"]["eds_spectrum"].read()   # (events, channels)

What it gives is databroker's own client, `databroker.client.CatalogOfBlueskyRuns`, with all it can do.
"""

from __future__ import annotations

import atexit
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from slads_bluesky.errors import RecordError
from slads_bluesky.progress import Progress, no_progress

from ..location import catalog_directory, journal_directory, record_path, without_secrets
from .embedded import embedded_client, identity, make_whole
from .left_out import first_line
from .run_clients import restore_run_clients

__all__ = ["borrowed_catalog", "close_catalog", "connected", "is_elsewhere", "is_profile", "open_catalog"]

_opened_as: dict[Path | str, Any] = {}  # which file the client of a directory was opened on
_open: dict[Path | str, Any] = {}  # one client a directory or server and process: opening takes seconds


def open_catalog(
    where: str | Path | None = None,
    *,
    create: bool = True,
    catch_up: bool = True,
    progress: Progress = no_progress,
) -> Any:
    """Open a catalog of runs.

    Parameters
    ----------
    where : path or str, optional
        A directory (the record in it, embedded), a URI with ``://`` (a Tiled server; its key in the environment
        variable ``TILED_API_KEY`` or in the URI), or the name of a Tiled profile. By default the user's own
        record, `default_directory`.
    create : bool
        Make an empty catalog in a directory that has none; otherwise that is an error.
    catch_up : bool
        Write what the journal of the directory has and the catalog lacks or holds in part: runs whose process
        was killed, or that were taken while the catalog was away. Runs in progress are left to their writers.
    progress : callable
        Called as ``progress("catalog", fraction)`` while catching up, with the fraction of the runs.

    Returns
    -------
    databroker.client.CatalogOfBlueskyRuns
        To be closed by `close_catalog`, or by the end of the process. A directory or server that is open already
        in this process gives the same client again.

    Raises
    ------
    RecordError
        In one line: the directory is not writable or holds no record, the server does not answer or refuses,
        there is no such profile, or the catalog is of another version. Nothing half-created is left behind.

    Examples
    --------
    The catalog of the folder ``record``, which the example of `slads_bluesky.adaptive_map` writes:

    >>> from slads_bluesky import open_catalog
    >>> from slads_bluesky.record import close_catalog
    >>> db = open_catalog("record")
    >>> run = db[-1]
    >>> run.metadata["start"]["sample"]
    'solder'
    >>> run["primary"]["eds_spectrum"].read().shape
    (51, 2040)
    >>> close_catalog(db)
    """
    restore_run_clients()
    if isinstance(where, str) and "://" in where:
        return _from_server(where)
    if isinstance(where, str) and is_profile(where):
        return _from_profile(where)
    record = record_path(where)
    catalog = _embedded(record, create)
    if catch_up:
        from .writer import catch_up as write_missing

        write_missing(catalog, journal_directory(record), progress=progress)
    return catalog


@contextmanager
def borrowed_catalog(where: str | Path, **options: Any) -> Iterator[Any]:
    """Give a catalog for a while, as `open_catalog` opens it; one that was open before stays open for its user."""
    before = list(_open.values())
    catalog = open_catalog(where, **options)
    try:
        yield catalog
    finally:
        if not any(catalog is client for client in before):
            close_catalog(catalog)


def close_catalog(catalog: Any) -> None:
    """Close a catalog that `open_catalog` gave; twice does no harm."""
    for record, client in list(_open.items()):
        if client.context is catalog.context:  # or a view of it
            del _open[record]
            _opened_as.pop(record, None)
    catalog.context.close()


def _embedded(record: Path, create: bool) -> Any:
    folder = catalog_directory(record)
    opened = _open.get(record)
    if opened is not None:
        if identity(folder) == _opened_as.get(record):
            return opened
        close_catalog(opened)  # its folder was removed or exchanged meanwhile
    make_whole(record, create)
    if not os.access(folder, os.W_OK | os.X_OK) or not os.access(folder / "catalog.db", os.W_OK):
        raise RecordError(f"catalog {folder} is not writable")
    try:
        catalog = embedded_client(record)
    except Exception as error:
        raise RecordError(
            f"catalog {folder} cannot be opened: {first_line(error)}; without that folder it is rebuilt from the "
            "journal beside it"
        ) from error
    _open[record], _opened_as[record] = catalog, identity(folder)
    return catalog


def _from_server(uri: str) -> Any:
    if uri not in _open:
        _open[uri] = _checked(connected(uri), without_secrets(uri))
    return _open[uri]


def connected(where: str) -> Any:
    """Return a client of a Tiled server or profile, whatever it holds; RecordError if it does not answer."""
    return _of_server(where) if "://" in where else _of_profile(where)


def _of_server(uri: str) -> Any:
    from tiled.client import from_context
    from tiled.client.context import Context

    parts = urlsplit(uri)
    try:
        # tiled would try for half a minute to reach what is not there
        address = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        socket.create_connection(address, timeout=10).close()
        context, path = Context.from_any_uri(uri)
        try:
            return from_context(context, node_path_parts=path)
        except Exception:
            context.close()
            raise
    except Exception as error:
        reason = first_line(error)
        for secret in filter(None, (parts.query, parts.password)):  # libraries quote the address
            reason = reason.replace(secret, "…")
        raise RecordError(f"catalog server {without_secrets(uri)}: {reason}") from None


def _from_profile(name: str) -> Any:
    return _checked(_of_profile(name), name)


def _of_profile(name: str) -> Any:
    from tiled.client import from_profile

    try:
        return from_profile(name)
    except Exception as error:
        raise RecordError(f"catalog profile {name}: {first_line(error)}") from error


def _checked(catalog: Any, where: str) -> Any:
    if not any(spec.name == "CatalogOfBlueskyRuns" for spec in getattr(catalog, "specs", ())):
        raise RecordError(f"{where} is a Tiled catalog, but not one of Bluesky runs")
    return catalog


def is_profile(name: str) -> bool:
    """Whether there is a Tiled profile of that name."""
    if os.sep in name or name.startswith((".", "~")) or Path(name).exists():
        return False
    from tiled.profiles import list_profiles

    return name in list_profiles()


def is_elsewhere(where: str) -> bool:
    """Whether a catalog is a server's or a profile's, not the embedded one of a directory."""
    return "://" in where or is_profile(where)


@atexit.register
def _close_all() -> None:
    for catalog in list(_open.values()):
        close_catalog(catalog)
