"""Metadata of a run: made plain when it starts, and read by type afterwards, whatever a user's words mean."""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from datetime import date, time, timedelta
from pathlib import PurePath
from typing import Any
from uuid import UUID

import numpy as np

from .errors import ConfigError

__all__ = ["json_text", "plain_metadata", "typed_start"]

_MOST = 10_000_000  # characters of a value as JSON: more is data
_DEEPEST = 50


def plain_metadata(metadata: Mapping[Any, Any]) -> dict[str, Any]:
    """Convert metadata to what JSON can hold.

    Scalars and arrays of numpy become numbers and lists, dates and paths text, tuples and sets lists, NaN is None.

    Parameters
    ----------
    metadata : mapping
        As a Python session holds it.

    Returns
    -------
    dict

    Raises
    ------
    ConfigError
        Naming the key whose value is something else, or too large.

    Examples
    --------
    >>> import numpy as np
    >>> from pathlib import Path
    >>> plain_metadata({"holder": np.int64(3), "file": Path("/a/b"), "tags": {"x"}})
    {'holder': 3, 'file': '/a/b', 'tags': ['x']}
    >>> plain_metadata({"holder": {"stage": object}})
    Traceback (most recent call last):
    ...
    slads_bluesky.errors.ConfigError: metadata 'holder.stage': a type has no place in a document
    """
    out = {}
    for key, value in metadata.items():
        name = _key(key, "")
        if "/" in name or "." in name or not name:
            raise ConfigError(f"metadata '{name}': a key must be text without '.' and '/'")
        out[name] = _plain(value, name, 0)
        if len(json.dumps(out[name])) > _MOST:
            raise ConfigError(f"metadata '{name}' is larger than {_MOST} characters: it belongs into a file")
    return out


def _plain(value: Any, where: str, depth: int) -> Any:
    if depth > _DEEPEST:
        raise ConfigError(f"metadata '{where}': nested deeper than {_DEEPEST} levels")
    if value is None or isinstance(value, bool | str):
        return _text(value, where) if isinstance(value, str) else value
    if isinstance(value, enum.Enum):
        return _plain(value.value, where, depth + 1)
    if isinstance(value, np.generic):
        return _plain(value.item() if value.dtype.kind not in "mMV" else str(value), where, depth + 1)
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 64:
            raise ConfigError(f"metadata '{where}': {value} has more than 64 bits")
        return int(value)
    if isinstance(value, float):
        if math.isinf(value):
            raise ConfigError(f"metadata '{where}': {value} has no place in a document")
        return None if math.isnan(value) else float(value)
    if isinstance(value, Mapping):
        return {
            name: _plain(of, f"{where}.{name}", depth + 1)
            for name, of in ((_key(key, where), of) for key, of in value.items())
        }
    if isinstance(value, list | tuple):
        return [_plain(of, f"{where}[{i}]", depth + 1) for i, of in enumerate(value)]
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biufUSmM" or value.size > _MOST:
            raise ConfigError(f"metadata '{where}': an array of {value.size} × {value.dtype} is no metadata")
        as_text = value.astype(str) if value.dtype.kind in "SmM" else value
        return _plain(as_text.tolist(), where, depth + 1)
    if isinstance(value, AbstractSet):
        return sorted((_plain(of, where, depth + 1) for of in value), key=lambda of: (str(type(of)), str(of)))
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, PurePath | UUID):
        return _text(str(value), where)
    if isinstance(value, timedelta):
        return value.total_seconds()
    raise ConfigError(f"metadata '{where}': a {type(value).__name__} has no place in a document")


def _text(value: str, where: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"metadata '{where}': text that is not Unicode") from None
    return str(value)


def _key(key: Any, where: str) -> str:
    if isinstance(key, str | int | np.integer | PurePath) and not isinstance(key, bool):
        return _text(str(key), where or "key")
    raise ConfigError(f"metadata '{where or key}': {key!r} is no key")


def json_text(document: Mapping[str, Any]) -> str:
    """Return a document as JSON, for an export; values that JSON does not know become text, and none is refused.

    Examples
    --------
    >>> json_text({"holder": np.int64(3), "temperature": float("nan")})
    '{"holder": 3, "temperature": null}'
    """

    def lenient(value: Any, depth: int = 0) -> Any:
        if isinstance(value, Mapping) and depth < _DEEPEST:
            return {str(key): lenient(of, depth + 1) for key, of in value.items()}
        if isinstance(value, list | tuple) and depth < _DEEPEST:
            return [lenient(of, depth + 1) for of in value]
        try:
            return _plain(value, "", 0)
        except ConfigError:
            return ascii(value)

    return json.dumps(lenient(document), allow_nan=False)


def typed_start(start: Mapping[str, Any]) -> dict[str, Any]:
    """Return a start document without the values of ours that are not of their type: a user's, of another meaning.

    Parameters
    ----------
    start : mapping

    Returns
    -------
    dict
        A copy. ``agent``, ``grid``, ``phases`` and others (see `TYPES`) are what this program wrote, or not there.

    Examples
    --------
    >>> typed_start({"uid": "u", "time": 1.0, "agent": "Smith", "phases": "all", "sample": "Smith"})
    {'uid': 'u', 'time': 1.0, 'sample': 'Smith'}
    """
    return {key: value for key, value in start.items() if key not in TYPES or TYPES[key](value)}


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(of, str) for of in value)


def _is_text_mapping(value: Any) -> bool:
    return _is_mapping(value) and all(isinstance(of, str | None) for of in value.values())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_grid(value: Any) -> bool:
    return _is_mapping(value) and {"shape", "step_um", "centre_um"} <= value.keys()


def _is_agent(value: Any) -> bool:
    """Whether it is the configuration of an agent, its parts of their types."""
    return (
        _is_mapping(value)
        and _is_mapping(value.get("sampler", {}))
        and _is_text_mapping(value.get("keys", {}))
        and _is_texts(value.get("phases") or [])
        and _is_text_mapping(value.get("model_hashes", {}))
    )


TYPES: dict[str, Callable[[Any], bool]] = {
    "agent": _is_agent,
    "derived_from": lambda value: isinstance(value, str),
    "detectors": lambda value: _is_texts(value) and bool(value),
    "elements": _is_texts,
    "elevation_angle": _is_number,
    "energy_resolution": _is_number,
    "grid": _is_grid,
    "model_hashes": _is_text_mapping,
    "motors": lambda value: _is_texts(value) and bool(value),
    "phases": _is_texts,
    "plan_args": _is_mapping,
    "resumes": lambda value: isinstance(value, str),
    "sequential": _is_mapping,
    "shape": lambda value: isinstance(value, list | tuple) and all(type(n) is int for n in value),
    "versions": _is_text_mapping,
}
"""Keys of a start document that this program writes, and what tells its own values from a user's."""
