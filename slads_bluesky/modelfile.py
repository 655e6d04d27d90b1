"""Model files: arrays as safetensors, everything else as JSON in the same file's header; never pickle.

`write_file` and `read_file` are for any header of strings; `write_model` and `read_model` for one that holds kind,
version, settings and a hash of it all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ConfigError, ModelFileError
from .files import atomic_write

__all__ = [
    "check_version",
    "model_sha256",
    "read_file",
    "read_kind",
    "read_model",
    "write_file",
    "write_model",
]

Arrays = Mapping[str, NDArray[Any]]
_KEY = "slads_bluesky"


def write_file(path: str | Path, arrays: Arrays, header: Mapping[str, str]) -> None:
    """Write arrays and header in one step: a half-written file never shows.

    Raises
    ------
    ConfigError
        If `path` cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save

    path = Path(path)
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    try:
        # Not save_file, which lets nobody but the owner read: a beamline shares its models.
        content = save(whole, metadata=dict(header))
    except SafetensorError as error:
        raise ConfigError(f"cannot write {path}: {error}") from error
    with atomic_write(path) as partial:
        partial.write_bytes(content)


def read_file(
    path: str | Path, nan_arrays: Collection[str] = ()
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Arrays and header of a file.

    Parameters
    ----------
    path : path
    nan_arrays : collection of str
        Names of the arrays that may hold NaN, for "unknown". In any other, NaN or infinity is refused: a model that
        holds it answers NaN.

    Raises
    ------
    ModelFileError
        Naming the file, if it is missing, truncated or no safetensors file, and the array that is not finite or of a
        type that numpy lacks.
    """
    header, arrays = _open(path)
    for name, array in arrays.items():
        if array.dtype.kind in "fc" and name not in nan_arrays and not np.isfinite(array).all():
            raise ModelFileError(f"{path}: array {name!r} holds NaN or infinity")
    return arrays, header


def _open(path: str | Path, *, arrays: bool = True) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise ModelFileError(f"{path}: there is no such model file")
    try:
        with safe_open(path, framework="np") as file:
            header = dict(file.metadata() or {})
            names = list(file.keys()) if arrays else []
            return header, {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelFileError(f"{path}: truncated, or not a safetensors file ({error})") from error
    except Exception as error:  # types that numpy lacks (BF16, F8_E4M3 …): safetensors raises what numpy says
        raise ModelFileError(f"{path}: holds an array that numpy cannot hold ({error})") from error


def check_version(path: str | Path, stated: object, newest: int) -> None:
    """Raise ModelFileError if `stated`, a number or its digits, is no version that this program reads."""
    text = str(stated)
    if not text.isdecimal():
        raise ModelFileError(f"{path}: field version is {stated!r}, not a number")
    if int(text) > newest:
        raise ModelFileError(
            f"{path}: format {text} is newer than this program ({newest}): update slads-bluesky"
        )


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
    """Write a model as `read_model` reads it; ConfigError if `path` cannot be written."""
    header = {
        "kind": kind,
        "version": version,
        "settings": settings,
        "sha256": model_sha256(kind, arrays, settings),
    }
    write_file(path, arrays, {_KEY: json.dumps(header, sort_keys=True, allow_nan=False)})


def read_kind(path: str | Path) -> str:
    """Kind of model that a file holds; ModelFileError if it is missing, truncated or foreign."""
    plain, _ = _open(path, arrays=False)
    return _header(path, plain)[0]


def read_model(
    path: str | Path, kind: str, newest: int, nan_arrays: Collection[str] = ()
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays and settings of a model file.

    Parameters
    ----------
    path : path
    kind : str
        What it must hold.
    newest : int
        Newest version that can be read.
    nan_arrays : collection of str
        See `read_file`.

    Raises
    ------
    ModelFileError
        Naming the file, if it is missing, truncated, foreign, of another kind, newer than this program, or was
        changed after it was written.
    """
    arrays, plain = read_file(path, nan_arrays)
    found, version, settings, stated = _header(path, plain)
    if found != kind:
        raise ModelFileError(f"{path}: holds a model of kind {found!r}, not {kind!r}")
    check_version(path, version, newest)
    try:
        computed = model_sha256(kind, arrays, settings)
    except (ValueError, RecursionError) as error:  # NaN in the settings, text that cannot be encoded
        raise ModelFileError(f"{path}: settings that no model of this program has ({error})") from error
    if computed != stated:
        raise ModelFileError(
            f"{path}: was changed since it was written (sha256 {computed[:12]}… ≠ {stated[:12]}…)"
        )
    return arrays, settings


def _header(path: str | Path, plain: Mapping[str, str]) -> tuple[str, int, dict[str, Any], str]:
    """Kind, version, settings and stated hash."""
    try:
        header = json.loads(plain[_KEY])
        return str(header["kind"]), int(header["version"]), dict(header["settings"]), str(header["sha256"])
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ModelFileError(f"{path}: not a model of this program (field {error} of its header)") from error
