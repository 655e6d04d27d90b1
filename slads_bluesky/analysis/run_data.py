"""The documents of a map as arrays: what exports, reports and comparisons start from. Pure: documents in, arrays out.

A map may be several runs, each resuming its parent; of an event that was emitted again (a pause
rewinds), and of a pixel that was measured again, the last counts. Of a map whose sampler visits pixels again, each
visit is a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..documents import reading
from ..errors import RecordError
from ..grid import ScanGrid
from ..metadata import typed_start
from ..protocols import UNCLASSIFIED, UNMEASURED, EventKeys
from ..streams import events_by_stream

__all__ = ["POINTS", "ListDecision", "RunData", "event_keys", "load_map"]

Documents = Iterable[tuple[str, dict[str, Any]]]
Source = Callable[[], Documents]


class HasDocuments(Protocol):
    """A recorded run, such as `find_run` returns."""

    @property
    def documents(self) -> Source:
        """Gives its documents, from the first one each time it is called."""


@dataclass(frozen=True)
class ListDecision:
    """Pixels that were chosen at once, for a list of points."""

    run: int
    """Index of its run in the map."""
    seen: int
    """Pixels that the agent knew then."""
    asked: int
    """Pixels that it was asked for."""
    pixels: NDArray[np.int64]
    """(n,) flat indices, in the agent's order."""


@dataclass(frozen=True)
class RunData:
    """A map, N measured pixels in the order in which they were measured."""

    starts: tuple[dict[str, Any], ...]
    """Start documents, the oldest run first."""
    stop: dict[str, Any] | None
    """Stop document of the last run, None if it was cut off."""
    grid: ScanGrid
    phases: tuple[str, ...]
    """Names; label l is ``phases[l - 1]``."""
    keys: EventKeys
    pixels: NDArray[np.int64]
    """(N,) flat pixel indices."""
    erd: NDArray[np.float64]
    """(N,) expected reduction in distortion that was predicted; NaN in the initial mask."""
    labels: NDArray[np.int64]
    """(N,) labels as classified, `UNCLASSIFIED` where there is none."""
    probabilities: NDArray[np.float64]
    """(N,)."""
    verdicts: NDArray[np.str_]
    """(N,)."""
    spectra: NDArray[Any] | None
    """(N, channels) counts; None if they were not asked for."""
    live_time_s: NDArray[np.float64]
    """(N,)."""
    real_time_s: NDArray[np.float64]
    """(N,)."""
    dose_nc: NDArray[np.float64]
    """(N,) NaN where it was not recorded."""
    position_um: NDArray[np.float64]
    """(N, 2): (x, y), as the beam read back; the grid's where it did not."""
    times: NDArray[np.float64]
    """(N,) seconds since 1970."""
    failed: NDArray[np.bool_]
    """(N,) points that failed: measured without a label, their spectra all zero."""
    energy_offset_kev: float
    energy_width_kev: float
    """Channel i is centred at offset + i × width; both NaN if not recorded."""
    configuration: dict[str, Any]
    """Configuration of all devices, by their data keys."""
    settings: dict[str, Any]
    """The microscope's settings, the first reading of the stream ``baseline``, by their data keys."""
    maps: tuple[dict[str, Any], ...]
    """Events of the stream ``map`` without the prefix of their keys, in their order."""
    ledger: dict[str, Any]
    """What the stream ``ledger`` holds; empty without one."""
    log_likelihoods: NDArray[np.float64] | None = None
    """(N, L + 1): of each spectrum under each phase and under none of them, NaN where it was not recorded; None if it
    never was."""
    visits: NDArray[np.int64] | None = None
    """(N,) how often each pixel was visited before; None of a map that visits no pixel again."""
    counts: NDArray[np.float64] | None = None
    """(N,) sums of the spectra as recorded; NaN where they were not; None of data that was made without them."""
    majority: NDArray[np.int64] | None = None
    """(N,): phase with the largest part in the interaction volume, 0 where it was not read; None if it never was."""
    abundances: NDArray[np.float64] | None = None
    """(N, L): part of each phase, NaN where it was not read; None if it never was."""
    abundance_sd: NDArray[np.float64] | None = None
    """(N, L): their standard deviations, likewise."""
    image: NDArray[np.float32] | None = None
    """(rows, columns): the grey-level frame that the map was guided by; None without one."""
    lists: tuple[ListDecision, ...] = ()
    """Decisions of a map by point lists, in their order; empty for a map by points."""
    devices: tuple[str, ...] = ()
    """Names of all devices that were read or configured: a data key is a device's name, "_" and its own word."""

    def setting(self, word: str) -> Any:
        """Value of a device's own word in ``settings``, such as ``high_voltage``; None if no device has it."""
        return next((self.settings[key] for key in self._keys(word) if key in self.settings), None)

    def configured(self, word: str) -> Any:
        """Value of a device's own word in ``configuration``, such as ``elevation_angle``; None if none has it."""
        return next((self.configuration[key] for key in self._keys(word) if key in self.configuration), None)

    def _keys(self, word: str) -> list[str]:
        return [f"{device}_{word}" for device in self.devices]

    def __repr__(self) -> str:
        rows, columns = self.grid.shape
        sample = f" of {self.start['sample']}" if self.start.get("sample") else ""
        return f"<RunData: run {self.uid[:8]}{sample}, {self.n_measured} of {rows} × {columns} pixels>"

    @property
    def uid(self) -> str:
        """Uid of the last run."""
        return str(self.starts[-1]["uid"])

    @property
    def start(self) -> dict[str, Any]:
        """Start document of the first run, which says what is mapped and how."""
        return self.starts[0]

    @property
    def n_measured(self) -> int:
        """Different pixels; visits of a map whose sampler visits pixels again."""
        return int(self.pixels.size)

    @property
    def votes(self) -> NDArray[np.int64]:
        """(N,) labels that take part in the reconstruction: `UNCLASSIFIED` for every verdict but ``ok``."""
        return np.where(self.verdicts == "ok", self.labels, UNCLASSIFIED)

    @property
    def measured(self) -> NDArray[np.int16]:
        """(rows, columns): label of each measured pixel, 0 where it does not vote, -1 where unmeasured."""
        out = np.full(self.grid.shape, UNMEASURED, np.int16)
        out.ravel()[self.pixels] = self.votes
        return out

    @property
    def reconstruction(self) -> NDArray[np.uint8] | None:
        """(rows, columns): the last recorded map, None if there is none."""
        for recorded in reversed(self.maps):
            if "labels" in recorded:
                return np.asarray(recorded["labels"], np.uint8)
        return None

    def teach(self, agent: Any) -> None:
        """Let a fresh agent ingest the map: the image that it was guided by, then each point in order."""
        self.teach_image(agent)
        for event in self.events():
            agent.ingest(event)

    def teach_image(self, agent: Any) -> None:
        """Let a fresh agent take the image that the map was guided by, if there is one."""
        if self.image is not None and hasattr(agent, "ingest_image"):
            agent.ingest_image({"seq_num": 1, "data": {self.keys.image: self.image}})

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield for each pixel, in order, an Event of what an agent looks at, with its spectrum if it is kept."""
        keys = self.keys
        for i in range(self.n_measured):
            data = {
                keys.pixel: int(self.pixels[i]),
                keys.erd: float(self.erd[i]),
                keys.label: int(self.labels[i]),
                keys.probability: float(self.probabilities[i]),
                keys.verdict: str(self.verdicts[i]),
            }
            if self.spectra is not None and not self.failed[i]:
                data[keys.spectrum] = self.spectra[i]
            if self.log_likelihoods is not None and not np.isnan(self.log_likelihoods[i]).any():
                data[keys.log_likelihood] = self.log_likelihoods[i]
            if self.visits is not None:
                data[keys.visit] = int(self.visits[i])
            if self.counts is not None and np.isfinite(self.counts[i]):
                data[keys.counts] = float(self.counts[i])
            if self.abundances is not None and not np.isnan(self.abundances[i]).any():
                assert self.majority is not None
                assert self.abundance_sd is not None
                data[keys.majority] = int(self.majority[i])
                data[keys.abundances] = self.abundances[i]
                data[keys.abundance_sd] = self.abundance_sd[i]
            yield {"seq_num": i + 1, "time": float(self.times[i]), "data": data}

    def spectra_of(self, n_channels: int | None = None) -> NDArray[Any]:
        """(N, channels) counts; RecordError if there are none, or of another number of channels."""
        if self.spectra is None:
            raise RecordError(f"run {self.uid[:8]} has no spectra")
        if n_channels is not None and self.spectra.shape[1] != n_channels:
            raise RecordError(
                f"run {self.uid[:8]} has spectra of {self.spectra.shape[1]} channels, "
                f"the classifier takes {n_channels}"
            )
        return self.spectra

    def calibrated_spectra(self) -> NDArray[Any]:
        """(N, channels) counts; RecordError if there are none, or without an energy calibration."""
        spectra = self.spectra_of()
        if not (np.isfinite(self.energy_offset_kev) and np.isfinite(self.energy_width_kev)):
            raise RecordError(f"run {self.uid[:8]} has no energy calibration")
        return spectra

    @property
    def energies_kev(self) -> NDArray[np.float64]:
        """(channels,) middle of each channel."""
        n = 0 if self.spectra is None else self.spectra.shape[1]
        return np.float64(self.energy_offset_kev) + self.energy_width_kev * np.arange(n, dtype=np.float64)


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
        return _load_map(every, spectra)


def _load_map(every: Sequence[Source], spectra: bool) -> RunData:
    gathered = _Gathered(every)
    if not gathered.starts:
        raise RecordError("no documents of a run")
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
    if found := gathered.streams.get("phases"):
        latest = {key.removeprefix("phases_"): v for key, v in list(found.values())[-1]["data"].items()}
        labels, verdicts = _found(latest, pixels, verdicts)
        highest = int(np.flatnonzero(latest["n_spectra"]).max(initial=-1)) + 1
        phases = tuple(f"phase {i + 1}" for i in range(highest))
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
        image=_image(gathered.streams.get("image", {}), keys.image, grid, start),
        lists=tuple(_lists(gathered.streams.get("lists", {}))),
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
