"""Results of finished trials, one file each, so that an interrupted reproduction resumes where it stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError
from ..files import atomic_write, finite

__all__ = ["TrialStore"]


class TrialStore:
    """A directory of results.

    Parameters
    ----------
    directory : Path
        Made if it is missing.
    version : str
        Results of another version of the program are not loaded.

    Raises
    ------
    ConfigError
        If the directory cannot be written.
    """

    def __init__(self, directory: Path, version: str) -> None:
        self.directory, self._version = directory, version
        try:
            directory.mkdir(parents=True, exist_ok=True)
            probe = directory / ".writable"
            probe.touch()
            probe.unlink(missing_ok=True)  # another process may keep its results there too
        except OSError as error:
            raise ConfigError(f"{directory}: cannot be written ({error.strerror})") from error

    def load(self, name: str) -> dict[str, Any] | None:
        """Result of that name, with its maps; None if it is missing, damaged or of another version."""
        try:
            result = json.loads((self.directory / f"{name}.json").read_text())
            if not isinstance(result, dict) or result.get("program_version") != self._version:
                return None
            if result.get("has_maps"):
                with np.load(self.directory / f"{name}.npz", allow_pickle=False) as arrays:
                    result["maps"] = {**result["maps"], **{key: arrays[key] for key in arrays.files}}
        except (OSError, ValueError, KeyError):
            return None
        return result

    def save(self, name: str, result: dict[str, Any]) -> None:
        """Keep a result; the JSON comes last, so that a half-written one does not count."""
        plain = {**result, "program_version": self._version}
        maps = plain.get("maps")
        if maps is not None:
            arrays = {key: value for key, value in maps.items() if isinstance(value, np.ndarray)}
            with atomic_write(self.directory / f"{name}.npz") as partial:
                np.savez_compressed(partial, allow_pickle=False, **arrays)
            plain["maps"] = {key: value for key, value in maps.items() if key not in arrays}
            plain["has_maps"] = True
        with atomic_write(self.directory / f"{name}.json") as partial:
            partial.write_text(json.dumps(finite(plain), indent=1, allow_nan=False))
