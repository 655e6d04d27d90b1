"""A Tiled profile of a record, by which ``databroker.catalog``, ``Broker.named`` and ``from_profile`` find it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import yaml

from slads_bluesky.errors import ConfigError, RecordError
from slads_bluesky.files import atomic_write

from ..location import without_secrets
from .embedded import catalog_configuration
from .store import borrowed_catalog

__all__ = ["profile_directory", "write_profile"]


def profile_directory() -> Path:
    """Where Tiled looks for the user's profiles: ``$TILED_PROFILES``, or by the conventions of the platform."""
    import platformdirs

    named = os.environ.get("TILED_PROFILES")
    return Path(named) if named else Path(platformdirs.user_config_dir("tiled")) / "profiles"


def write_profile(name: str, where: Path | str, *, replace: bool = False) -> Path:
    """Write a profile and return its file.

    Parameters
    ----------
    name : str
        Of the profile: letters, digits, ``-``, ``_`` and dots.
    where : Path or str
        Directory of a record, whose embedded catalog is then opened without a server; or the address of a
        Tiled server. A key in the address is not written: it belongs in ``TILED_API_KEY``.
    replace : bool
        Replace a profile of that name.

    Raises
    ------
    ConfigError
        If the name is not usable or taken, or the file cannot be written.
    RecordError
        If there is no record.
    """
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*", name) is None:
        raise ConfigError(f"a profile is named by letters, digits, '-', '_' and dots, not '{name}'")
    file = profile_directory() / f"{name}.yml"
    _check_free(name, file, replace)
    if isinstance(where, str) and "://" in where:
        content: dict[str, Any] = {"uri": without_secrets(where)}
    else:
        record = Path(where)
        if not (record / "journal").is_dir() and not (record / "catalog").is_dir():
            raise RecordError(f"{record} holds no record of runs")
        with borrowed_catalog(record):  # made, and caught up with the journal
            pass
        content = {"direct": catalog_configuration(record)}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as partial:
            partial.write_text(
                "# written by `slads-bluesky profile`\n" + yaml.safe_dump({name: content}, sort_keys=False),
                "utf-8",
            )
    except OSError as error:
        raise ConfigError(f"profile {file}: {error.strerror}") from error
    _forget()
    return file


def _forget() -> None:
    """Let this process find what was written: Tiled reads the profiles once."""
    from tiled import profiles

    for function in vars(profiles).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()


def _check_free(name: str, file: Path, replace: bool) -> None:
    from tiled.profiles import load_profiles

    try:
        known = load_profiles()
    except Exception as error:
        raise ConfigError(
            f"the profiles that are there cannot be read: {str(error).splitlines()[0]}"
        ) from None
    if name not in known:
        return
    there = Path(known[name][0])
    if there != file:
        raise ConfigError(f"there is a profile '{name}' already, in {there}")
    if not replace:
        raise ConfigError(f"there is a profile '{name}' already, in {there}: replace it with --replace")
