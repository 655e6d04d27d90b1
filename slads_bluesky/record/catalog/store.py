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

import asyncio
import atexit
import json
import logging
import os
import secrets
import shutil
import socket
import sqlite3
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from slads_bluesky.errors import RecordError
from slads_bluesky.progress import Progress, no_progress

__all__ = ["catalog_directory", "close_catalog", "default_directory", "journal_directory", "open_catalog"]

LAYOUT = 1
"""Version of the layout of ``catalog/``; in ``catalog/layout.json``."""

_open: dict[Path | str, Any] = {}  # one client a directory or server and process: opening takes seconds
_KEY = secrets.token_hex(32)  # tiled keeps one key a process, so all embedded catalogs of a process share it


def default_directory() -> Path:
    """Directory of the user's own record, by the conventions of the platform."""
    import platformdirs

    return Path(platformdirs.user_data_dir("slads-bluesky", appauthor=False)) / "record"


def journal_directory(record: str | Path) -> Path:
    """Where a record keeps its journal."""
    return Path(record) / "journal"


def catalog_directory(record: str | Path) -> Path:
    """Where a record keeps its embedded catalog."""
    return Path(record) / "catalog"


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
    if isinstance(where, str) and "://" in where:
        return _from_server(where)
    if isinstance(where, str) and _is_profile(where):
        return _from_profile(where)
    record = Path(where).expanduser().absolute() if where is not None else default_directory()
    catalog = _embedded(record, create)
    if catch_up:
        from .writer import catch_up as write_missing

        write_missing(catalog, journal_directory(record), progress=progress)
    return catalog


def close_catalog(catalog: Any) -> None:
    """Close a catalog that `open_catalog` gave; twice does no harm."""
    for record, client in list(_open.items()):
        if client is catalog:
            del _open[record]
    catalog.context.close()


def catalog_app(record: Path, api_key: str | None = None, database: str | None = None) -> Any:
    """ASGI application that serves a catalog; one embedded in a record's directory must exist.

    Parameters
    ----------
    record : path
        Directory of the record: its arrays are in ``catalog/data``, HDF5 spectra in ``spectra``.
    api_key : str, optional
        Key that clients must show; by default one that this process alone knows.
    database : str, optional
        ``postgresql://…``: keep runs and tables there instead of in SQLite files; tables are made if there are none.
    """
    from tiled.config import Config, construct_build_app_kwargs
    from tiled.server.app import build_app

    logging.getLogger("tiled.server.app").setLevel(logging.WARNING)
    folder = catalog_directory(record)
    if database is None:
        where: dict[str, Any] = {"uri": f"sqlite:///{folder}/catalog.db"}
        tables = f"sqlite:///{folder}/storage.db"
    else:
        where = {
            "uri": database.replace("postgresql://", "postgresql+asyncpg://", 1),
            "init_if_not_exists": True,
        }
        tables = database
    config = {
        "authentication": {"single_user_api_key": api_key or _KEY},
        "catalog": {
            **where,
            "writable_storage": [f"file://localhost{folder}/data", tables],
            "readable_storage": [f"file://localhost{record}/spectra"],
            "specs": [{"name": "CatalogOfBlueskyRuns", "version": "3.0"}],
        },
        # Without these two, run.documents() and run.validate() are refused.
        "media_types": {
            "BlueskyRun": {"application/json-seq": "bluesky_tiled_plugins.exporters:json_seq_exporter"}
        },
        "routers": ["bluesky_tiled_plugins.routers.validator:router"],
    }
    return build_app(**construct_build_app_kwargs(Config.model_validate(config)))


def _embedded(record: Path, create: bool) -> Any:
    if record in _open:
        return _open[record]
    folder = catalog_directory(record)
    if not folder.exists():
        if not create and not journal_directory(record).is_dir():
            raise RecordError(f"{record} holds no record of runs")
        _create(record)
    _check_layout(folder)
    from tiled.client import from_context
    from tiled.client.context import Context

    try:
        with warnings.catch_warnings():
            # tiled 0.2 reaches its application through a client that Starlette is replacing
            warnings.filterwarnings("ignore", message="Using `httpx` with `starlette.testclient`")
            catalog = from_context(Context.from_app(catalog_app(record)))
        # Nothing leaves the process, so packing and unpacking it would only take time.
        catalog.context.http_client.headers["Accept-Encoding"] = "identity"
        # by time, not by the order of writing: a run that was caught up late is not the latest
        catalog = catalog.sort(("start.time", 1))
    except Exception as error:
        raise RecordError(
            f"catalog {folder} cannot be opened: {_first_line(error)}; without that folder it is rebuilt from the "
            "journal beside it"
        ) from error
    _open[record] = catalog
    return catalog


def _create(record: Path) -> None:
    """Make an empty catalog beside its place and move it there whole."""
    try:
        record.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".catalog-", dir=record))
    except OSError as error:
        raise RecordError(f"catalog directory {record} is not writable: {error.strerror}") from error
    try:
        # A notebook's thread has an event loop already, hence another; tiled's alembic.ini is of an older kind.
        with warnings.catch_warnings(), ThreadPoolExecutor(1) as worker:
            warnings.filterwarnings("ignore", message="No path_separator found")
            worker.submit(_init_database, f"sqlite+aiosqlite:///{partial}/catalog.db").result()
        (partial / "data").mkdir()
        # A reader beside the writer: both databases in write-ahead mode, which is kept in the file.
        with sqlite3.connect(partial / "storage.db") as storage:
            storage.execute("PRAGMA journal_mode=WAL")
        storage.close()
        _write_layout(partial, catalog_directory(record))
        partial.chmod(record.stat().st_mode & 0o7777)  # mkdtemp keeps all others out
        try:
            partial.rename(catalog_directory(record))
        except OSError:
            if not catalog_directory(record).exists():  # else another process was quicker, and as good
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _init_database(uri: str) -> None:
    """Do what ``tiled catalog init`` does, without the seconds that a process takes to start."""
    from sqlalchemy.ext.asyncio import create_async_engine
    from tiled.alembic_utils import stamp_head
    from tiled.catalog.alembic_constants import ALEMBIC_DIR, ALEMBIC_INI_TEMPLATE_PATH
    from tiled.catalog.core import initialize_database

    async def create() -> None:
        engine = create_async_engine(uri)
        try:
            await initialize_database(engine)
        finally:
            await engine.dispose()

    asyncio.run(create())
    stamp_head(ALEMBIC_INI_TEMPLATE_PATH, ALEMBIC_DIR, uri)


def _write_layout(folder: Path, location: Path) -> None:
    (folder / "layout.json").write_text(json.dumps({"layout": LAYOUT, "location": str(location)}) + "\n")


def _check_layout(folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK) or not os.access(folder / "catalog.db", os.W_OK):
        raise RecordError(f"catalog {folder} is not writable, or not a catalog")
    try:
        layout = json.loads((folder / "layout.json").read_text())
        version, location = int(layout["layout"]), str(layout["location"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{folder} is not a catalog of this program: layout.json {error}") from error
    if version != LAYOUT:
        raise RecordError(
            f"catalog {folder} has layout {version}, this program reads {LAYOUT}; remove that folder and it is "
            "rebuilt from the journal beside it"
        )
    if location != str(folder):
        _relocate(folder, location)


def _relocate(folder: Path, old: str) -> None:
    """Correct the absolute paths that Tiled keeps, in a record that was moved or copied here."""
    with sqlite3.connect(folder / "catalog.db") as catalog:
        catalog.execute(
            "UPDATE assets SET data_uri = replace(replace(data_uri, ?, ?), ?, ?)",
            (f"{old}/", f"{folder}/", f"{Path(old).parent}/spectra/", f"{folder.parent}/spectra/"),
        )
    catalog.close()
    _write_layout(folder, folder)


def _from_server(uri: str) -> Any:
    from tiled.client import from_context
    from tiled.client.context import Context

    if uri in _open:
        return _open[uri]
    parts = urlsplit(uri)
    try:
        # tiled would try for half a minute to reach what is not there
        address = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        socket.create_connection(address, timeout=10).close()
        context, path = Context.from_any_uri(uri)
        try:
            catalog = from_context(context, node_path_parts=path)
        except Exception:
            context.close()
            raise
    except Exception as error:
        raise RecordError(f"catalog server {_without_key(uri)}: {_first_line(error)}") from error
    _open[uri] = _checked(catalog, _without_key(uri))
    return _open[uri]


def _from_profile(name: str) -> Any:
    from tiled.client import from_profile

    try:
        catalog = from_profile(name)
    except Exception as error:
        raise RecordError(f"catalog profile {name}: {_first_line(error)}") from error
    return _checked(catalog, name)


def _checked(catalog: Any, where: str) -> Any:
    if not any(spec.name == "CatalogOfBlueskyRuns" for spec in getattr(catalog, "specs", ())):
        raise RecordError(f"{where} is a Tiled catalog, but not one of Bluesky runs")
    return catalog


def _is_profile(name: str) -> bool:
    if os.sep in name or name.startswith((".", "~")) or Path(name).exists():
        return False
    from tiled.profiles import list_profiles

    return name in list_profiles()


def _without_key(uri: str) -> str:
    return uri.split("?", 1)[0]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@atexit.register
def _close_all() -> None:
    for catalog in list(_open.values()):
        close_catalog(catalog)
