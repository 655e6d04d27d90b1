"""HyperSpy's ZSpy files (version 3.3 of its layout) by zarr 3, since rosettasciio writes them by zarr 2 alone.

The layout: a zarr group of format 2, ``Experiments/TITLE`` in it with the array ``data``, one group ``axis-I`` an
axis and the groups ``metadata`` and ``original_metadata``, whose leaves are attributes, and arrays where they are
arrays or lists (named ``_list_NAME``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr

__all__ = ["write_zspy"]

CHUNK_BYTES = 1 << 20


def write_zspy(path: Path, signal: Mapping[str, Any]) -> None:
    """Write a signal, a dictionary as rosettasciio's writers take it.

    Parameters
    ----------
    path : Path
        Becomes a folder.
    signal : mapping
        ``data`` (numpy or dask array), ``axes``, ``metadata``, ``original_metadata``, ``package_info`` …
    """
    root = zarr.open_group(str(path), mode="w", zarr_format=2)
    root.attrs.update({"file_format": "ZSpy", "file_format_version": "3.3"})
    title = str(signal["metadata"]["General"]["title"]).replace("/", "-") or "__unnamed__"
    experiment = root.require_group("Experiments").require_group(title)
    experiment.attrs.update(dict(signal["package_info"]))
    for i, axis in enumerate(signal["axes"]):
        _tree(experiment.require_group(f"axis-{i}"), axis)
    _data(experiment, signal["data"])
    for part in ("metadata", "original_metadata", "learning_results", "attributes"):
        _tree(experiment.require_group(part), signal[part])


def _data(group: Any, data: Any) -> None:
    row = int(np.prod(data.shape[1:])) * data.dtype.itemsize  # whole rows, about a megabyte a chunk
    chunks = (max(1, min(data.shape[0], CHUNK_BYTES // max(row, 1))), *data.shape[1:])
    array = group.create_array(
        "data", shape=data.shape, dtype=data.dtype, chunks=chunks, chunk_key_encoding=_nested()
    )
    for begin in range(0, data.shape[0], chunks[0]):
        part = data[begin : begin + chunks[0]]
        array[begin : begin + chunks[0]] = part.compute() if hasattr(part, "compute") else part


def _tree(group: Any, values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping):
            _tree(group.require_group(key), value)
        elif isinstance(value, np.ndarray):
            _array(group, key, value)
        elif isinstance(value, list):
            if value:
                _array(group, f"_list_{key}", np.array(value))
            else:
                group.attrs[f"_list_empty_{key}"] = "_None_"
        else:
            group.attrs[key] = value


def _array(group: Any, key: str, value: Any) -> None:
    if value.dtype.kind == "U":
        array = group.create_array(key, shape=value.shape, dtype=str, chunk_key_encoding=_nested())
        array[:] = value.astype(object)
    else:
        group.create_array(key, data=np.ascontiguousarray(value), chunk_key_encoding=_nested())


def _nested() -> dict[str, Any]:
    return {"name": "v2", "separator": "/"}
