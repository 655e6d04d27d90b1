"""Model files: arrays as safetensors, everything else as JSON in the same file's header; never pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..errors import ConfigError, ModelFileError

__all__ = ["model_sha256", "read_model", "write_model"]

Arrays = Mapping[str, NDArray[Any]]
_KEY = "slads_bluesky"


def model_sha256(kind: str, arrays: Arrays, settings: Mapping[str, Any]) -> str:
    """Hash of a model's kind, settings and arrays (names, shapes, dtypes and bytes), the same on every machine."""
    digest = hashlib.sha256()
    digest.update(json.dumps([kind, settings], sort_keys=True, allow_nan=False).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"\n{name} {array.shape} {array.dtype.str}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def write_model(
    path: str | Path, kind: str, version: int, arrays: Arrays, settings: Mapping[str, Any]
) -> None:
    """Write a model in one step: a half-written file never shows. ConfigError if `path` cannot be written."""
    path = Path(path)
    header = {
        "kind": kind,
        "version": version,
        "settings": settings,
        "sha256": model_sha256(kind, arrays, settings),
    }
    partial = path.with_name(path.name + ".partial")
    try:
        save_file(
            {name: np.ascontiguousarray(array) for name, array in arrays.items()},
            partial,
            metadata={_KEY: json.dumps(header, sort_keys=True, allow_nan=False)},
        )
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise ConfigError(f"cannot write {path}: {error}") from error


def read_model(path: str | Path) -> tuple[str, int, dict[str, NDArray[Any]], dict[str, Any]]:
    """Kind, version, arrays and settings of a model file.

    Raises
    ------
    ModelFileError
        Naming the file, if it is missing, truncated, foreign, or was changed after it was written.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"{path}: there is no such model file")
    try:
        with safe_open(path, framework="np") as file:
            header = json.loads((file.metadata() or {})[_KEY])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        kind, version, settings = str(header["kind"]), int(header["version"]), dict(header["settings"])
        stated = str(header["sha256"])
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{path}: truncated, or not a safetensors file ({error})") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{path}: not a model of this program (field {error} of its header)") from error
    found = model_sha256(kind, arrays, settings)
    if found != stated:
        raise ModelFileError(
            f"{path}: was changed since it was written (sha256 {found[:12]}… ≠ {stated[:12]}…)"
        )
    return kind, version, arrays, settings
