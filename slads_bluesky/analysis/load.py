"""Gathering a map from the documents of its runs: documents in, arrays out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..documents import reading
from ..errors import RecordError, SladsError
from ..grid import ScanGrid
from ..metadata import typed_start
from ..protocols import UNCLASSIFIED, EventKeys
from ..streams import events_by_stream
from .run_data import HasDocuments, ListDecision, RunData, Source, json_of

__all__ = ["POINTS", "event_keys", "load_map"]


POINTS = ("primary", "failed")
"""Streams whose events are points of the map."""

_Place = tuple[int, str, int]  # run, stream, seq_num


class _Gathered:
    """Scalars and the place of each event that counts, over all runs of a map; spectra stay where they are."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.starts: list[dict[str, Any]] = []
        self.stop: dict[str, Any] | None = None
        self.configuration: dict[str, Any] = {}
        self.devices: dict[str, None] = {}
        self.streams: dict[str, dict[tuple[int, int], dict[str, Any]]] = {}
        self.points: dict[_Place, dict[str, Any]] = {}  # of all runs, in the order of their measurement
        spectrum = ""
        for run, source in enumerate(sources):
            self.stop = None
            for name, stream, doc in events_by_stream(source()):
                if name == "start":
                    self.starts.append(typed_start(doc))
                    spectrum = event_keys(doc).spectrum
                elif name == "descriptor":
                    self.streams.setdefault(stream, {})
                    self.devices |= dict.fromkeys(
                        [*doc.get("object_keys", {}), *doc.get("configuration", {})]
                    )
                    for device in doc.get("configuration", {}).values():
                        self.configuration.update(device.get("data", {}))
                elif name == "event":
                    kept = {key: value for key, value in doc["data"].items() if key != spectrum}
                    event = {"time": doc["time"], "data": kept}
                    self.streams[stream][run, doc["seq_num"]] = event
                    if stream in POINTS:
                        self.points[run, stream, doc["seq_num"]] = event
                elif name == "stop":
                    self.stop = doc


def load_map(
    sources: HasDocuments | Source | Sequence[HasDocuments | Source], spectra: bool = True
) -> RunData:
    """Gather a map from the documents of its runs.

    Parameters
    ----------
    sources : recorded run, callable, or a sequence of these
        A run, as `slads_bluesky.find_run` returns it, or a callable that gives the documents of a run from the first
        one each time it is called. A map that was resumed is several runs, the oldest first:
        `slads_bluesky.record.runs.map_runs` returns them.
    spectra : bool
        Whether to keep the spectra (4 bytes a channel and pixel).

    Raises
    ------
    RecordError
        If there is no run, or a run is not of a map: another program's, or one without a pixel to its events.

    Examples
    --------
    From the folder ``record``, which the example of `slads_bluesky.adaptive_map` writes:

    >>> from slads_bluesky import find_run, load_map
    >>> data = load_map(find_run("-1", "record"))
    >>> data.n_measured, data.phases
    (51, ('Pb-Sn', 'Sn'))
    >>> data.reconstruction.shape, data.spectra.shape
    ((32, 32), (51, 2040))
    """
    several = sources if isinstance(sources, Sequence) else [sources]
    every = [one if callable(one) else one.documents for one in several]
    with reading("no map of ours"):
        gathered = _Gathered(every)
        if not gathered.starts:
            raise RecordError("no documents of a run")
        run = f"run {str(gathered.starts[0]['uid'])[:8]}"
        try:
            with reading(f"{run} is no map of ours"):
                return _load_map(gathered, every, spectra)
        except SladsError as error:  # of the grid, say, which does not know whose it is
            if str(error).startswith("run "):
                raise
            raise RecordError(f"{run}: {error}") from error


def _load_map(gathered: _Gathered, every: Sequence[Source], spectra: bool) -> RunData:
    start = gathered.starts[0]
    keys = event_keys(start)
    grid = _grid(start)
    events = gathered.points
    for (run, stream, seq_num), event in events.items():
        if keys.pixel not in event["data"] or keys.label not in event["data"]:
            raise RecordError(
                f"run {gathered.starts[run]['uid'][:8]} by plan '{start.get('plan_name')}' is no map of ours: "
                f"event {seq_num} of '{stream}' has no '{keys.pixel}' with a '{keys.label}'"
            )

    def visit(event: Mapping[str, Any]) -> tuple[Any, Any]:
        return event["data"][keys.pixel], event["data"].get(keys.visit, 0)

    last = {visit(event): place for place, event in events.items()}  # a pixel measured again
    kept = {place: event for place, event in events.items() if last[visit(event)] == place}
    rows = [event["data"] for event in kept.values()]

    def column(key: str, dtype: Any, missing: Any) -> NDArray[Any]:
        values = [row.get(key, missing) for row in rows]
        try:
            found = np.array(values, dtype)
        except (TypeError, ValueError, OverflowError) as error:
            raise RecordError(
                f"run {start['uid'][:8]}: '{key}' is not of its type in every event ({error})"
            ) from None
        if found.shape != (len(rows),):
            raise RecordError(f"run {start['uid'][:8]}: '{key}' is not one value in every event")
        return found

    pixels = column(keys.pixel, np.int64, -1)
    if pixels.size and (pixels.min() < 0 or pixels.max() >= grid.shape[0] * grid.shape[1]):
        raise RecordError(
            f"run {start['uid'][:8]}: pixels {pixels.min()} … {pixels.max()} lie outside its grid {grid.shape}"
        )
    configuration = gathered.configuration
    motors = start.get("motors") or ["beam"]
    at_grid = np.array([grid.position(int(pixel)) for pixel in pixels]).reshape(-1, 2)
    position = np.column_stack(
        [column(f"{motors[0]}_{axis}", np.float64, np.nan) for axis in ("x", "y")]
    ).reshape(-1, 2)
    detector = (start.get("detectors") or ["eds"])[0]
    labels, verdicts = column(keys.label, np.int64, UNCLASSIFIED), column(keys.verdict, np.str_, "ok")
    phases = tuple(start.get("phases") or start.get("agent", {}).get("phases") or ())
    latest: dict[str, Any] | None = None
    if found := gathered.streams.get("phases"):
        latest = {key.removeprefix("phases_"): v for key, v in list(found.values())[-1]["data"].items()}
        labels, verdicts = _found(latest, pixels, verdicts)
        highest = int(np.flatnonzero(latest["n_spectra"]).max(initial=-1)) + 1
        names = json_of(latest, "names", {})
        phases = tuple(names.get(str(i + 1)) or f"phase {i + 1}" for i in range(highest))
    return RunData(
        starts=tuple(gathered.starts),
        stop=gathered.stop,
        grid=grid,
        phases=phases,
        keys=keys,
        pixels=pixels,
        erd=column(keys.erd, np.float64, np.nan),
        labels=labels,
        probabilities=column(keys.probability, np.float64, np.nan),
        verdicts=verdicts,
        spectra=_spectra(every, keys.spectrum, list(kept)) if spectra else None,
        live_time_s=column(keys.live_time, np.float64, np.nan),
        real_time_s=column(keys.real_time, np.float64, np.nan),
        dose_nc=column(keys.dose, np.float64, np.nan),
        position_um=np.where(np.isnan(position), at_grid, position),
        times=np.array([event["time"] for event in kept.values()], np.float64),
        failed=np.array([stream == "failed" for _, stream, _ in kept], bool),
        energy_offset_kev=float(configuration.get(f"{detector}_energy_offset", np.nan)),
        energy_width_kev=float(configuration.get(f"{detector}_energy_width", np.nan)),
        configuration=configuration,
        settings=_first(gathered.streams.get("baseline", {})),
        maps=tuple(_unprefixed(event["data"]) for event in gathered.streams.get("map", {}).values()),
        ledger=_first(gathered.streams.get("ledger", {})),
        visits=column(keys.visit, np.int64, 0) if any(keys.visit in row for row in rows) else None,
        counts=column(keys.counts, np.float64, np.nan),
        log_likelihoods=_vectors(rows, keys.log_likelihood),
        majority=column(keys.majority, np.int64, 0) if any(keys.majority in row for row in rows) else None,
        abundances=_vectors(rows, keys.abundances),
        abundance_sd=_vectors(rows, keys.abundance_sd),
        unbounded=_vectors(rows, keys.unbounded),
        unbounded_sd=_vectors(rows, keys.unbounded_sd),
        image=_image(gathered.streams.get("image", {}), keys.image, grid, start),
        lists=tuple(_lists(gathered.streams.get("lists", {}))),
        found=latest,
        devices=tuple(gathered.devices),
    )


def _found(
    latest: Mapping[str, Any], pixels: NDArray[np.int64], verdicts: NDArray[np.str_]
) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Labels and verdicts by the phases that were found in the run, as last recorded in its stream ``phases``."""
    labels = np.maximum(np.asarray(latest["measured"], np.int64).ravel()[pixels], UNCLASSIFIED)
    return labels, np.where(labels > 0, "ok", verdicts)


def event_keys(start: Mapping[str, Any]) -> EventKeys:
    """Where the events of a run hold what an agent needs, by its start document."""
    known = {field.name for field in fields(EventKeys)}
    given = typed_start(start).get("agent", {}).get("keys", {})
    return EventKeys(**{name: key for name, key in given.items() if name in known})


def _grid(start: Mapping[str, Any]) -> ScanGrid:
    if "grid" not in start:
        raise RecordError(
            f"run {str(start.get('uid'))[:8]} by plan '{start.get('plan_name')}' is no map of ours: no grid"
        )
    return ScanGrid.from_json(start["grid"])


def _spectra(sources: Sequence[Source], key: str, places: list[_Place]) -> NDArray[Any] | None:
    """(N, channels): one array, filled on a second pass, so that nothing is held twice."""
    row = {place: i for i, place in enumerate(places)}
    out: NDArray[Any] | None = None
    for run, source in enumerate(sources):
        for name, stream, doc in events_by_stream(source()):
            if name == "event" and key in doc["data"]:
                i = row.get((run, stream, doc["seq_num"]))
                if i is None:
                    continue
                spectrum = np.asarray(doc["data"][key])
                if out is None:
                    out = np.zeros((len(places), spectrum.size), spectrum.dtype)
                if spectrum.shape != out.shape[1:]:
                    raise RecordError(
                        f"event {doc['seq_num']}: a spectrum of {spectrum.size} channels among ones of {out.shape[1]}"
                    )
                out[i] = spectrum
    return out


def _image(
    stream: dict[tuple[int, int], dict[str, Any]], key: str, grid: ScanGrid, start: Mapping[str, Any]
) -> NDArray[np.float32] | None:
    """The frame of the first run that recorded one."""
    for event in stream.values():
        if key in event["data"]:
            frame = np.asarray(event["data"][key])
            if frame.shape != tuple(grid.shape) or frame.dtype.kind not in "buif":
                raise RecordError(
                    f"run {str(start.get('uid'))[:8]}: its image is {frame.dtype} of shape {frame.shape}, its grid "
                    f"{tuple(grid.shape)}"
                )
            return frame.astype(np.float32)
    return None


def _lists(stream: dict[tuple[int, int], dict[str, Any]]) -> Iterator[ListDecision]:
    for (run, _), event in stream.items():
        data = event["data"]
        pixels = np.asarray(data["lists_pixels"], np.int64)[: int(data["lists_n"])]
        yield ListDecision(run, int(data["lists_seen"]), int(data["lists_asked"]), pixels)


def _vectors(rows: Sequence[Mapping[str, Any]], key: str) -> NDArray[np.float64] | None:
    """(N, length) values of a key, NaN for events without; RecordError if they are of several lengths."""
    found = [np.asarray(row[key], np.float64) for row in rows if key in row]
    if not found:
        return None
    if {one.shape for one in found} != {(found[0].size,)}:
        raise RecordError(f"'{key}' is not of one length in every event")
    missing = np.full(found[0].size, np.nan)
    return np.array([row.get(key, missing) for row in rows], np.float64)


def _first(stream: dict[tuple[int, int], dict[str, Any]]) -> dict[str, Any]:
    return dict(next(iter(stream.values()))["data"]) if stream else {}


def _unprefixed(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key.removeprefix("map_"): value for key, value in data.items()}
