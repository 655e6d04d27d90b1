"""A Tiled server for a record: for the web page, for other machines, for PostgreSQL. Needs an API key, always."""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slads_bluesky.errors import ConfigError, RecordError

from ..location import catalog_directory, without_secrets
from .embedded import catalog_app
from .store import close_catalog, open_catalog

__all__ = ["key_in", "serve"]


def key_in(file: Path) -> str:
    """Return the API key that a file holds; one that is missing is made, for its owner's eyes only.

    Raises
    ------
    ConfigError
        If it can be read by others, or cannot be read or made.
    """
    try:
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "w") as out:
                out.write(secrets.token_hex(24) + "\n")
        if file.stat().st_mode & 0o077:
            raise ConfigError(f"{file} can be read by others: chmod 600")
        return file.read_text("ascii", "replace").strip()
    except OSError as error:
        raise ConfigError(f"API key {file}: {error.strerror}") from error


def serve(
    record: Path,
    *,
    api_key: str,
    host: str = "127.0.0.1",
    port: int = 8000,
    database: str | None = None,
    on_ready: Callable[[str], Any] | None = None,
) -> None:
    """Serve a record until the process is interrupted.

    Parameters
    ----------
    record : path
        Its directory; the embedded catalog is made, and caught up with the journal, if it is served.
    api_key : str
        Letters and digits, 16 at least. Every request must show it.
    host : str
        Address to listen on.
    port : int
        0 for any free one.
    database : str, optional
        ``postgresql://user:password@host/database`` for a catalog there; arrays stay in the record's directory.
    on_ready : callable, optional
        Called with the server's address (without the key) when it answers.

    Raises
    ------
    ConfigError
        If the key is too weak, the port taken, or the database no PostgreSQL.
    RecordError
        If the catalog cannot be opened.
    """
    import uvicorn

    if not re.fullmatch(r"[A-Za-z0-9]{16,}", api_key):
        raise ConfigError("the API key must be at least 16 letters and digits")
    if database is not None and not database.startswith("postgresql://"):
        raise ConfigError(f"the database must be postgresql://…, not '{without_secrets(database)}'")
    listener = _listen(host, port)
    try:
        if database is None:
            close_catalog(open_catalog(record))
        else:
            (catalog_directory(record) / "data").mkdir(parents=True, exist_ok=True)
        app = _app(record, api_key, database)
        address = "http://{}:{}".format(*listener.getsockname()[:2])
        server = _server(uvicorn.Config(app, log_level="warning"), address, on_ready)
        server.run(sockets=[listener])
    finally:
        listener.close()


def _app(record: Path, api_key: str, database: str | None) -> Any:
    import platformdirs

    from .listing import page_settings

    settings = page_settings(Path(platformdirs.user_cache_dir("slads-bluesky", appauthor=False)))
    if settings is not None:
        os.environ.setdefault("TILED_UI_SETTINGS", str(settings))  # tiled reads it while the app is made
    try:
        return catalog_app(record, api_key, database)
    except Exception as error:
        # whatever SQLAlchemy says of it, the password is not in our line
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise RecordError(f"database {without_secrets(database or '')}: {reason}") from None


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConfigError(f"cannot listen on {host}:{port}: {error}") from error
    return listener


def _server(config: Any, address: str, on_ready: Callable[[str], Any] | None) -> Any:
    """Return a uvicorn server that reports when it answers; made here so that uvicorn is imported late."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started and on_ready is not None:
                on_ready(address)

    return Server(config)
