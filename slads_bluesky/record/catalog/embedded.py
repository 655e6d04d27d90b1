"""The catalog that is embedded in a record: SQLite and zarr by Tiled in ``catalog/``, made empty and opened.

It can always be rebuilt from the journal, and is where it was moved, or where parts of it are gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import logging
import os
import secrets
import shutil
import sqlite3
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slads_bluesky.errors import ConfigError, RecordError
from slads_bluesky.files import atomic_write

from ..journal.writing import SUFFIX
from ..location import catalog_directory, journal_directory
from .left_out import first_line

__all__ = [
    "LAYOUT",
    "ORDER",
    "catalog_app",
    "catalog_configuration",
    "embedded_client",
    "identity",
    "make_whole",
]

LAYOUT = 1
"""Version of the layout of ``catalog/``; in ``catalog/layout.json``."""

ORDER = "journal_order"
"""Metadata of a run in the catalog: its number in the record, see `slads_bluesky.record.journal.order`."""

_OURS = ("catalog.db", "storage.db", "data", "layout.json")  # and what SQLite puts beside its files
_KEY = secrets.token_hex(32)  # tiled keeps one key a process, so all embedded catalogs of a process share it
_log = logging.getLogger(__name__)


def embedded_client(record: Path) -> Any:
    """Return a client of the catalog of a record, which must be there; raises whatever Tiled raises."""
    from tiled.client import from_context
    from tiled.client.context import Context

    with warnings.catch_warnings():
        # tiled 0.2 reaches its application through a client that Starlette is replacing
        warnings.filterwarnings("ignore", message="Using `httpx` with `starlette.testclient`")
        catalog = from_context(Context.from_app(catalog_app(record)))
    # Nothing leaves the process, so packing and unpacking it would only take time.
    catalog.context.http_client.headers["Accept-Encoding"] = "identity"
    # Not by the order of writing: a run that was caught up late is not the latest. Nor by time alone: a clock may be
    # set back.
    return catalog.sort((ORDER, 1), ("start.time", 1))


def catalog_app(
    record: Path, api_key: str | None = None, database: str | None = None, *, init: bool = False
) -> Any:
    """ASGI application that serves a catalog; one embedded in a record's directory must exist.

    Parameters
    ----------
    record : path
        Directory of the record: its arrays are in ``catalog/data``, HDF5 spectra in ``spectra``.
    api_key : str, optional
        Key that clients must show; by default one that this process alone knows.
    database : str, optional
        ``postgresql://…``: keep runs and tables there instead of in SQLite files; tables are made if there are none.
    init : bool
        Make the tables of an SQLite file that has none.
    """
    from tiled.config import Config, construct_build_app_kwargs
    from tiled.server.app import build_app

    logging.getLogger("tiled.server.app").setLevel(logging.WARNING)
    config = catalog_configuration(record, database, init=init)
    config["routers"].append(
        "slads_bluesky.record.catalog.listing:router"
    )  # not in profiles, which anybody opens
    config["authentication"] = {"single_user_api_key": api_key or _KEY}
    return build_app(**construct_build_app_kwargs(Config.model_validate(config)))


def catalog_configuration(record: Path, database: str | None = None, *, init: bool = False) -> dict[str, Any]:
    """Configuration of a Tiled server for the catalog of a record, without a key; arguments as `catalog_app`."""
    folder = catalog_directory(record)
    if database is None:
        where: dict[str, Any] = {"uri": f"sqlite:///{folder}/catalog.db", "init_if_not_exists": init}
        tables = f"sqlite:///{folder}/storage.db"
    else:
        where = {
            "uri": database.replace("postgresql://", "postgresql+asyncpg://", 1),
            "init_if_not_exists": True,
        }
        tables = database
    return {
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


def identity(folder: Path) -> tuple[int, int] | None:
    """Tell a catalog from another that takes its place."""
    try:
        status = os.stat(folder / "catalog.db")
    except OSError:
        return None
    return status.st_dev, status.st_ino


def make_whole(record: Path, create: bool) -> None:
    """Make the catalog of a record where there is none; one that was moved, or is left in part, is made again.

    Raises
    ------
    RecordError
        If there is no record and none is to be created, or the folder holds something else or cannot be written.
    """
    if _state(catalog_directory(record)) == "whole":
        return
    if not create and not journal_directory(record).is_dir():
        raise RecordError(f"{record} holds no record of runs")
    with _alone(record):
        _prepare(record)


def _state(folder: Path) -> str:
    """``missing``, ``remnant`` (a part of one), ``moved`` or ``whole``; RecordError if it is something else."""
    if not folder.is_dir():
        if folder.exists() or folder.is_symlink():
            raise RecordError(f"catalog {folder} is not a folder")
        return "missing"
    if not (folder / "layout.json").exists() or not (folder / "catalog.db").exists():
        foreign = sorted(path.name for path in folder.iterdir() if path.name.split("-")[0] not in _OURS)
        if foreign:
            raise RecordError(f"{folder} is not a catalog of this program: it holds {foreign[0]}")
        return "remnant"
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
    return "whole" if location == str(folder) else "moved"


@contextmanager
def _alone(record: Path) -> Iterator[None]:
    """Keep other processes from making the same catalog."""
    try:
        record.mkdir(parents=True, exist_ok=True)
        handle = os.open(record / ".catalog.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise RecordError(f"catalog directory {record} is not writable: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _prepare(record: Path) -> None:
    """Make an empty catalog; one that was moved, or is left in part, is rebuilt from the journal."""
    folder = catalog_directory(record)
    state = _state(folder)
    if state == "whole":  # another process was quicker
        return
    try:
        if state == "moved":
            _put_aside(record)
        elif state == "remnant":
            shutil.rmtree(folder)
        (folder / "data").mkdir(parents=True)
        shutil.copyfile(_empty_database(), folder / "catalog.db")
        # A reader beside the writer: both databases in write-ahead mode, which is kept in the file.
        with contextlib.closing(sqlite3.connect(folder / "storage.db")) as storage:
            storage.execute("PRAGMA journal_mode=WAL")
        with atomic_write(folder / "layout.json") as partial:
            partial.write_text(json.dumps({"layout": LAYOUT, "location": str(folder)}) + "\n")
    except (OSError, ConfigError) as error:
        raise RecordError(f"catalog {folder} cannot be made: {first_line(error)}") from error


def _put_aside(record: Path) -> None:
    """Make room for a catalog of a record that was moved or copied here: Tiled keeps absolute paths.

    What the journal has is rebuilt from it. A catalog that holds runs whose journals are gone is kept, under another
    name.
    """
    folder = catalog_directory(record)
    journals = {path.stem for path in journal_directory(record).glob(f"*{SUFFIX}")}
    try:
        catalog = embedded_client(record)
        try:
            only_here = len(set(catalog.keys()) - journals)
        finally:
            catalog.context.close()
    except Exception as error:
        raise RecordError(
            f"catalog {folder} was moved and cannot be opened: {first_line(error)}; without that folder it is "
            "rebuilt from the journal beside it"
        ) from error
    if not only_here:
        shutil.rmtree(folder)
        return
    aside = next(path for n in itertools.count(1) if not (path := record / f"catalog-moved-{n}").exists())
    folder.rename(aside)
    location = json.loads((aside / "layout.json").read_text())["location"]
    _log.warning(
        "%d runs of the catalog have no journal any more: it is kept as %s, to be read where it was made, %s",
        only_here, aside, location,
    )  # fmt: skip


def _empty_database() -> Path:
    """File of an empty catalog, made once a version of Tiled: making one takes Tiled a process of its own."""
    import platformdirs
    import tiled

    cache = Path(platformdirs.user_cache_dir("slads-bluesky", appauthor=False))
    path = cache / f"empty-catalog-{tiled.__version__}.db"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch, atomic_write(path) as partial:
            catalog_directory(scratch).mkdir()
            catalog_app(Path(scratch), init=True)
            shutil.copyfile(catalog_directory(scratch) / "catalog.db", partial)
    return path
