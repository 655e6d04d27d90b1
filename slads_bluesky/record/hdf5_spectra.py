"""Spectra in HDF5 instead of inline: a switch between the RunEngine and the journal, and the way back.

The file is written in SWMR mode, so that others read it while it grows and it opens after a kill; documents point
into it by StreamResource and StreamDatum, as a detector that writes files itself would do it.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import event_model
import h5py
import numpy as np

from slads_bluesky.errors import RecordError

from .journal.writing import Document
from .location import spectra_directory

__all__ = ["SpectraToFiles", "filled", "own_file"]

MIMETYPE = "application/x-hdf5"
LEAST = 64
"""Elements from which a one-dimensional array goes to a file."""
CHUNK = 8
"""Spectra to a chunk of the file: each is flushed as it comes, so few."""


class SpectraToFiles:
    """Document callback that moves long one-dimensional arrays of events into HDF5 files and passes on the rest.

    One file for each run and stream, ``spectra/<run>-<stream>.h5``, row ``seq_num - 1`` of the data set named like
    the data key; an event that is emitted again overwrites its row.

    Parameters
    ----------
    directory : path
        Of the record.
    emit : callable
        Takes the documents that come out, such as a `Journal`.

    Raises
    ------
    RecordError
        If a file cannot be written.
    """

    def __init__(self, directory: str | Path, emit: Callable[[str, Any], Any]) -> None:
        self._folder = spectra_directory(directory)
        self._emit = emit
        self._streams: dict[str, _Stream] = {}

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take one document."""
        if name == "descriptor":
            self._descriptor(doc)
        elif name == "event" and doc["descriptor"] in self._streams:
            self._event(doc)
        elif name == "event_page" and doc["descriptor"] in self._streams:
            for event in event_model.unpack_event_page(cast(event_model.EventPage, doc)):
                self._event(event)
        else:
            if name == "stop":
                self._close(doc["run_start"])
            self._emit(name, doc)

    def close(self) -> None:
        """Close all files."""
        for run in {stream.run for stream in self._streams.values()}:
            self._close(run)

    def _descriptor(self, doc: Mapping[str, Any]) -> None:
        long = {
            key: about
            for key, about in doc["data_keys"].items()
            if "external" not in about
            and about["dtype"] == "array"
            and len(about["shape"]) == 1
            and (about["shape"][0] or 0) >= LEAST
        }
        if not long:
            self._emit("descriptor", doc)
            return
        changed = copy.deepcopy(dict(doc))
        for key in long:
            changed["data_keys"][key]["external"] = "STREAM:"
        path = self._folder / f"{doc['run_start']}-{str(doc['name']).replace('/', '_')}.h5"
        stream = _Stream(path, doc["run_start"], doc["uid"], long)
        self._streams[doc["uid"]] = stream
        self._emit("descriptor", changed)
        for resource in stream.resources.values():
            self._emit("stream_resource", resource)

    def _event(self, doc: Mapping[str, Any]) -> None:
        stream = self._streams[doc["descriptor"]]
        new = stream.write(doc["seq_num"] - 1, doc["data"])
        inline = dict(doc)
        for part in ("data", "timestamps", "filled"):
            inline[part] = {
                key: value for key, value in doc.get(part, {}).items() if key not in stream.resources
            }
        self._emit("event", inline)
        if new:
            for resource in stream.resources.values():
                self._emit("stream_datum", stream.datum(resource, doc["seq_num"]))

    def _close(self, run: str) -> None:
        for descriptor, stream in list(self._streams.items()):
            if stream.run == run:
                stream.file.close()
                del self._streams[descriptor]


class _Stream:
    """The file of one stream."""

    def __init__(self, path: Path, run: str, descriptor: str, keys: Mapping[str, Any]) -> None:
        self.run, self._descriptor, self._rows = run, descriptor, 0
        self.resources: dict[str, dict[str, Any]] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.file = h5py.File(path, "x", libver="latest")
            for key, about in keys.items():
                n = int(about["shape"][0])
                self.file.create_dataset(
                    key,
                    (0, n),
                    np.dtype(about.get("dtype_numpy", "<f8")),
                    maxshape=(None, n),
                    chunks=(CHUNK, n),
                )
            self.file.swmr_mode = True
        except (OSError, ValueError) as error:
            raise RecordError(f"spectra file {path}: {error}") from error
        self._path = path
        for key in keys:
            self.resources[key] = {
                "uid": str(uuid.uuid4()),
                "run_start": run,
                "data_key": key,
                "mimetype": MIMETYPE,
                "uri": f"file://localhost{path.absolute()}",
                "parameters": {"dataset": f"/{key}", "swmr": True, "chunk_shape": [CHUNK]},
            }

    def write(self, row: int, data: Mapping[str, Any]) -> bool:
        """Write a row of each data set and flush; whether it is a new one."""
        new = row >= self._rows
        try:
            for key in self.resources:
                dataset = self.file[key]
                if new:
                    dataset.resize(row + 1, axis=0)
                dataset[row] = data[key]
                dataset.flush()
        except (OSError, TypeError, ValueError) as error:
            raise RecordError(f"spectra file {self._path}: {error}; all spectra before are safe") from error
        self._rows = max(self._rows, row + 1)
        return new

    def datum(self, resource: Mapping[str, Any], seq_num: int) -> dict[str, Any]:
        """StreamDatum of one row."""
        return {
            "uid": f"{resource['uid']}/{seq_num - 1}",
            "stream_resource": resource["uid"],
            "descriptor": self._descriptor,
            "indices": {"start": seq_num - 1, "stop": seq_num},
            "seq_nums": {"start": seq_num, "stop": seq_num + 1},
        }


def filled(documents: Iterable[Document], folder: Path) -> Iterator[Document]:
    """Put arrays back into the events, and leave out what pointed to them: documents as the RunEngine emitted them.

    Parameters
    ----------
    documents : iterable of (name, document)
        Of one run; without external arrays they pass unchanged.
    folder : Path
        Where the record keeps the files: no other is read, whatever a document says.

    Raises
    ------
    RecordError
        If a file is missing, damaged or shorter than its events.
    """
    sources: dict[str, dict[str, Any]] = {}  # descriptor -> data key -> data set
    external: dict[str, list[str]] = {}
    resources: dict[str, dict[str, Any]] = {}  # data key -> document
    files: dict[Path, h5py.File] = {}
    try:
        for name, doc in documents:
            if name == "descriptor":
                external[doc["uid"]] = [key for key, about in doc["data_keys"].items() if _ours(about)]
                if external[doc["uid"]]:
                    doc = copy.deepcopy(doc)
                    for key in external[doc["uid"]]:
                        del doc["data_keys"][key]["external"]
                yield name, doc
            elif name == "stream_resource":
                resources[doc["data_key"]] = doc
            elif name == "event" and external.get(doc["descriptor"]):
                descriptor = doc["descriptor"]
                if descriptor not in sources:
                    sources[descriptor] = {
                        key: _dataset(resources, key, files, folder) for key in external[descriptor]
                    }
                yield name, _with(doc, sources[descriptor])
            elif name != "stream_datum":
                yield name, doc
    finally:
        for file in files.values():
            file.close()


def _ours(about: Mapping[str, Any]) -> bool:
    return str(about.get("external", "")).startswith("STREAM:")


def _dataset(
    resources: Mapping[str, Mapping[str, Any]], key: str, files: dict[Path, h5py.File], folder: Path
) -> Any:
    if key not in resources:
        raise RecordError(f"the record does not say where '{key}' is")
    resource = resources[key]
    path = own_file(resource["uri"], folder)
    try:
        if path not in files:
            files[path] = h5py.File(path, "r", swmr=True)
        dataset = files[path][str(resource["parameters"].get("dataset"))]
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise RecordError(f"spectra file {path}: {error}") from error
    if not isinstance(dataset, h5py.Dataset) or dataset.ndim == 0:
        raise RecordError(
            f"spectra file {path}: {resource['parameters'].get('dataset')} is no data set of rows"
        )
    if dataset.external or dataset.is_virtual or Path(dataset.file.filename) != path:
        raise RecordError(f"spectra file {path}: {dataset.name} is in another file")
    return dataset


def own_file(uri: str, folder: Path) -> Path:
    """File of a record that a document names by its address; one of the same name in `folder` after a move.

    Parameters
    ----------
    uri : str
        ``file://localhost/…``.
    folder : Path
        Where the record keeps such files.

    Raises
    ------
    RecordError
        If it is not a file of this record: a document may come from anywhere, and what it names is read and exported.
    """
    try:
        named = Path(unquote(urlsplit(uri).path))
        path, root = folder / named.name, folder.resolve()
        for candidate in (named, Path(urlsplit(uri).path), path):
            if candidate.resolve().parent == root and candidate.is_file():
                return candidate
    except (OSError, ValueError, RuntimeError) as error:
        raise RecordError(f"spectra file {uri!r}: {error}") from error
    if path.exists() or path.is_symlink():
        raise RecordError(f"spectra file {path} is not a file of this record")
    raise RecordError(f"spectra file {path} is missing")


def _with(doc: Mapping[str, Any], datasets: Mapping[str, Any]) -> dict[str, Any]:
    out = {**doc, "data": dict(doc["data"]), "timestamps": dict(doc["timestamps"])}
    for key, dataset in datasets.items():
        if doc["seq_num"] > len(dataset):
            dataset.refresh()
        if doc["seq_num"] > len(dataset):
            raise RecordError(
                f"spectra file {dataset.file.filename}: has {len(dataset)} rows, event {doc['seq_num']} has none"
            )
        out["data"][key] = dataset[doc["seq_num"] - 1]
        out["timestamps"][key] = doc["time"]
    return out
