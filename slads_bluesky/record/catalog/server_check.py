"""Whether a facility's Tiled server can take and give our runs: its specs, its media types, its storage."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from slads_bluesky.errors import RecordError

from ..location import without_secrets
from .left_out import first_line
from .store import connected

__all__ = ["ServerCheck", "check_server"]

SPECS_HINT = (
    "in the server's configuration, below the tree or catalog: "
    "specs: [{name: CatalogOfBlueskyRuns, version: '3.0'}]"
)
MEDIA_HINT = (
    "in the server's configuration: media_types: {BlueskyRun: {application/json-seq: "
    "'bluesky_tiled_plugins.exporters:json_seq_exporter'}}; the server needs the package bluesky-tiled-plugins"
)
STORAGE_HINT = (
    "in the server's configuration: writable_storage with a folder and a database; and a key that may write"
)


class ServerCheck(NamedTuple):
    """Result of one check."""

    name: str
    passed: bool
    message: str
    hint: str = ""


def check_server(where: str) -> list[ServerCheck]:
    """Check a Tiled server, or the one of a profile, for what recording and reading runs takes.

    Parameters
    ----------
    where : str
        Address, with its key in ``TILED_API_KEY``, or the name of a profile. A container is made in
        it and removed.
    """
    shown = without_secrets(where)
    try:
        catalog = connected(where)
    except RecordError as error:
        return [ServerCheck("server", False, str(error), "is it running, and TILED_API_KEY its key?")]
    try:
        return [ServerCheck("server", True, f"{shown} answers"), *_checks(catalog, shown)]
    finally:
        with contextlib.suppress(Exception):
            catalog.context.close()


def _checks(catalog: Any, shown: str) -> Iterator[ServerCheck]:
    names = [spec.name for spec in getattr(catalog, "specs", ())]
    ours = "CatalogOfBlueskyRuns" in names
    yield ServerCheck(
        "server specs", ours, f"{shown} is {'a catalog of Bluesky runs' if ours else 'no catalog of Bluesky runs'}",
        "" if ours else SPECS_HINT,
    )  # fmt: skip
    try:
        about = catalog.context.http_client.get(catalog.context.api_uri).json()
        formats = about.get("formats", {}).get("BlueskyRun", [])
    except Exception as error:  # whatever httpx raises, or an answer of another kind
        yield ServerCheck("server media types", False, f"{shown}: {first_line(error)}", MEDIA_HINT)
    else:
        given = "application/json-seq" in formats
        yield ServerCheck(
            "server media types", given, f"documents() of a run is {'given' if given else 'refused (406)'}",
            "" if given else MEDIA_HINT,
        )  # fmt: skip
    yield _storage(catalog, shown)


def _storage(catalog: Any, shown: str) -> ServerCheck:
    """Write and remove a container with an array and a table."""
    import pyarrow

    key = f"slads-bluesky-doctor-{uuid.uuid4().hex[:8]}"
    try:
        container = catalog.create_container(key)
        try:
            container.write_array(np.arange(3), key="array")
            container.create_appendable_table(pyarrow.schema([("n", pyarrow.int64())]), key="table")
        finally:
            catalog.delete_contents(key, recursive=True, external_only=False)
    except Exception as error:  # refused, no storage of that kind, or a server that is read only
        return ServerCheck(
            "server storage", False, f"{shown} takes no runs: {first_line(error)}", STORAGE_HINT
        )
    return ServerCheck("server storage", True, f"{shown} takes arrays and tables")
