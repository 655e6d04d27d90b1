"""A run that is no map, such as a count, for scripts: the columns of its events."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, RecordError
from ..files import atomic_write
from ..metadata import json_text
from ..streams import final_events

__all__ = ["export_run"]


def export_run(
    documents: Iterable[tuple[str, dict[str, Any]]], path: Path, stream: str = "primary"
) -> list[Path]:
    """Write the events of a stream: ``.csv``, a line an event, without arrays; ``.npz``, an array a data key.

    Parameters
    ----------
    documents : iterable of (name, document)
        Of one run.
    path : Path
    stream : str
        Name of the stream.

    Returns
    -------
    list of Path
        The file.

    Raises
    ------
    ConfigError
        If the format is for maps only.
    RecordError
        If there is no event.
    """
    if path.suffix not in (".csv", ".npz"):
        raise ConfigError(f"the run is no map: '{path.name}' must end in .csv or .npz")
    kept = list(documents)
    start = next((doc for name, doc in kept if name == "start"), {})
    events = [doc for _, doc in final_events(kept, (stream,))]
    if not events:
        raise RecordError(f"run {str(start.get('uid'))[:8]} has no event in the stream '{stream}' to export")
    keys = list(dict.fromkeys(key for event in events for key in event["data"]))
    with atomic_write(path) as partial:
        if path.suffix == ".csv":
            flat = [key for key in keys if not any(np.ndim(event["data"].get(key)) for event in events)]
            with partial.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(["seq_num", "time", *flat])
                for event in events:
                    writer.writerow(
                        [event["seq_num"], event["time"], *(event["data"].get(key) for key in flat)]
                    )
        else:
            columns = {key: _column([event["data"].get(key) for event in events]) for key in keys}
            columns |= {
                "seq_num": np.array([event["seq_num"] for event in events]),
                "time": np.array([event["time"] for event in events]),
                "start": np.array(json_text(start)),
            }
            np.savez_compressed(partial, allow_pickle=False, **columns)
    return [path]


def _column(values: list[Any]) -> np.ndarray[Any, Any]:
    """One array; of values that make none, their texts."""
    try:
        column = np.array(values)
    except ValueError:  # arrays of several shapes
        column = np.array([], object)
    return np.array([str(value) for value in values]) if column.dtype.hasobject else column
