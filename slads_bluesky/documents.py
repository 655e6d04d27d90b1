"""What each kind of document must have before anything reads it: a short check of names and types.

Journals and messages may come from anywhere. event-model's JSON schemas say the same at a millisecond a document;
this takes microseconds, so that every document that is read is checked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .errors import DataError, RecordError, SladsError, in_one_line

__all__ = ["check_document", "reading"]

_UID = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z_.-]{0,199}")
_LATEST = 1e11  # seconds since 1970: a date that datetime can show
_REQUIRED: dict[str, dict[str, str]] = {
    "start": {"uid": "text", "time": "time"},
    "descriptor": {"uid": "text", "run_start": "text", "name": "text", "data_keys": "mapping"},
    "event": {
        "descriptor": "text", "seq_num": "number of an event", "time": "time", "data": "mapping",
        "timestamps": "mapping",
    },
    "event_page": {
        "descriptor": "text", "seq_num": "list", "time": "list", "data": "mapping", "timestamps": "mapping",
        "uid": "list",
    },
    "stop": {"run_start": "text", "exit_status": "text", "time": "time"},
    "resource": {"uid": "text", "resource_path": "text"},
    "datum": {"resource": "text", "datum_id": "text", "datum_kwargs": "mapping"},
    "datum_page": {"resource": "text", "datum_id": "list", "datum_kwargs": "mapping"},
    "stream_resource": {"uid": "text", "data_key": "text", "uri": "text", "parameters": "mapping"},
    "stream_datum": {"stream_resource": "text", "descriptor": "text"},
}  # fmt: skip


def check_document(name: Any, doc: Any) -> None:
    """Check that a document has what its kind must have.

    Parameters
    ----------
    name : str
        Kind of document, such as ``event``.
    doc : dict
        Its content.

    Raises
    ------
    DataError
        Naming the key that is missing or of a wrong type.

    Examples
    --------
    >>> check_document("stop", {"run_start": "u", "exit_status": "success", "time": 1.0})
    >>> check_document("stop", {"run_start": "u", "time": 1.0})
    Traceback (most recent call last):
    ...
    slads_bluesky.errors.DataError: a stop document without 'exit_status'
    """
    if not isinstance(name, str) or name not in _REQUIRED or not isinstance(doc, dict):
        raise DataError("a record that is no document of a run")
    for key, kind in _REQUIRED[name].items():
        if key not in doc:
            raise DataError(f"a {name} document without '{key}'")
        if not _IS[kind](doc[key]):
            raise DataError(f"a {name} document whose '{key}' is not a {kind}")
    if name == "start" and not _UID.fullmatch(doc["uid"]):
        raise DataError("a start document whose 'uid' is no name of a file")
    if name == "descriptor":
        _check_descriptor(doc)
    elif name in ("event_page", "datum_page"):
        _check_page(name, doc)
    elif name == "stop" and not _are_counts(doc.get("num_events", {})):
        raise DataError("a stop document whose 'num_events' is not a mapping of numbers")


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Report whatever values of a wrong type or size cause in the block as a RecordError that begins with `what`.

    Examples
    --------
    >>> with reading("run 1234"):
    ...     float("many")
    Traceback (most recent call last):
    ...
    slads_bluesky.errors.RecordError: run 1234: could not convert string to float: 'many'
    """
    try:
        yield
    except SladsError:
        raise
    except (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError) as error:
        raise RecordError(f"{what}: {in_one_line('', error)}") from error


def _check_descriptor(doc: Mapping[str, Any]) -> None:
    for key, about in doc["data_keys"].items():
        if not (
            isinstance(key, str)
            and isinstance(about, dict)
            and isinstance(about.get("dtype"), str)
            and isinstance(about.get("shape", []), list | tuple)
        ):
            raise DataError(f"a descriptor whose data key '{key}' has no dtype and shape")
    configuration = doc.get("configuration", {})
    if not isinstance(configuration, dict) or not all(
        isinstance(about, dict) and isinstance(about.get("data", {}), dict)
        for about in configuration.values()
    ):
        raise DataError("a descriptor whose 'configuration' is not a mapping of mappings")


def _check_page(name: str, doc: Mapping[str, Any]) -> None:
    columns = [doc[key] for key, kind in _REQUIRED[name].items() if kind == "list"]
    for key in ("data", "timestamps", "datum_kwargs", "filled"):
        if not isinstance(doc.get(key, {}), dict):
            raise DataError(f"an {name} whose '{key}' is not a mapping")
        columns += doc.get(key, {}).values()
    if not all(hasattr(column, "__len__") for column in columns) or len({len(c) for c in columns}) > 1:
        raise DataError(f"an {name} whose columns differ in length")
    if name == "event_page" and not all(map(_is_event_number, doc["seq_num"])):
        raise DataError("an event_page whose 'seq_num' are not numbers of events")
    if name == "event_page" and not all(map(_is_time, doc["time"])):
        raise DataError("an event_page whose 'time' are not times")


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.fabs(value) < _LATEST


def _is_event_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 53


def _are_counts(value: Any) -> bool:
    return isinstance(value, dict) and all(type(n) is int for n in value.values())


_IS = {
    "text": lambda value: isinstance(value, str),
    "mapping": lambda value: isinstance(value, dict),
    "list": lambda value: isinstance(value, list | tuple),
    "time": _is_time,
    "number of an event": _is_event_number,
}
