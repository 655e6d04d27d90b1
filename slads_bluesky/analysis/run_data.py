"""The documents of a map as arrays: what exports, reports and comparisons start from. Pure: documents in, arrays out.

A map may be several runs, each resuming its parent; of an event that was emitted again (a pause
rewinds), and of a pixel that was measured again, the last counts. Of a map whose sampler visits pixels again, each
visit is a row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import RecordError
from ..grid import ScanGrid
from ..protocols import UNCLASSIFIED, UNMEASURED, EventKeys
from ..spectra.discovery.steps import PhaseStep

__all__ = ["HasDocuments", "ListDecision", "RunData", "Source", "json_of"]

BOUNDARY_MAPS = ("sharp", "sharp_uncertainty", "area_fractions")
"""Keys of a recorded map of mixed boundaries; see `protocols.TakesMixtures`."""
Source = Callable[[], Iterable[tuple[str, dict[str, Any]]]]
"""Gives the documents of a run, from the first one each time it is called."""


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
    unbounded: NDArray[np.float64] | None = None
    """(N, L): parts by the counts alone, likewise; see `protocols.Mixture`."""
    unbounded_sd: NDArray[np.float64] | None = None
    """(N, L): their standard deviations, likewise."""
    image: NDArray[np.float32] | None = None
    """(rows, columns): the grey-level frame that the map was guided by; None without one."""
    lists: tuple[ListDecision, ...] = ()
    """Decisions of a map by point lists, in their order; empty for a map by points."""
    found: Mapping[str, Any] | None = None
    """Last event of the stream ``phases``, without the prefix of its keys; None of a map whose phases were given."""
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

    @property
    def image_displacement(self) -> tuple[float, float] | None:
        """(y, x): the map's pixel (r, c) is at (r + y, c + x) of `image`; None where the last map did not use it."""
        last = self.maps[-1] if self.maps else {}
        if self.image is None or not last.get("image_used"):
            return None
        return float(last.get("image_shift_y", 0.0)), float(last.get("image_shift_x", 0.0))

    @property
    def boundary_maps(self) -> dict[str, NDArray[Any]]:
        """Of the last recorded map: ``sharp``, ``sharp_uncertainty`` and ``area_fractions``, where it has them."""
        last = self.maps[-1] if self.maps else {}
        return {key: np.asarray(last[key]) for key in BOUNDARY_MAPS if key in last}

    @property
    def boundary_planes(self) -> dict[str, NDArray[Any]]:
        """`boundary_maps` as images (rows, columns), the area fraction of each phase under its name."""
        found = self.boundary_maps
        parts = found.pop("area_fractions", np.zeros((0, *self.grid.shape), np.float32))
        names = [*self.phases, *(f"phase {i + 1}" for i in range(len(self.phases), len(parts)))]
        return {**found, **{f"area_fraction_{name}": part for name, part in zip(names, parts, strict=False)}}

    @property
    def phase_steps(self) -> list[PhaseStep]:
        """What operators did with the phases that were found, in their order."""
        return [PhaseStep.from_json(step) for step in json_of(self.found, "steps", [])]

    @property
    def phase_candidates(self) -> dict[int, dict[str, Any]]:
        """By label, what the found phases may be; see `analysis.quantification.naming.describe_phase`."""
        return {int(label): about for label, about in json_of(self.found, "candidates", {}).items()}

    def teach(self, agent: Any) -> None:
        """Let a fresh agent ingest the map: the image that it was guided by, then each point in order."""
        self.teach_image(agent)
        self.teach_steps(agent)
        for event in self.events():
            agent.ingest(event)

    def teach_steps(self, agent: Any) -> None:
        """Let a fresh agent that finds the phases do what operators did, each step at its place."""
        if hasattr(agent, "schedule"):
            agent.schedule(self.phase_steps)

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
            if np.isfinite(self.live_time_s[i]):
                data[keys.live_time] = float(self.live_time_s[i])
            if self.log_likelihoods is not None and not np.isnan(self.log_likelihoods[i]).any():
                data[keys.log_likelihood] = self.log_likelihoods[i]
            if self.visits is not None:
                data[keys.visit] = int(self.visits[i])
            if self.counts is not None and np.isfinite(self.counts[i]):
                data[keys.counts] = float(self.counts[i])
            if np.isfinite(self.real_time_s[i]):
                data[keys.real_time] = float(self.real_time_s[i])
            if self.abundances is not None and not np.isnan(self.abundances[i]).any():
                assert self.majority is not None
                assert self.abundance_sd is not None
                data[keys.majority] = int(self.majority[i])
                data[keys.abundances] = self.abundances[i]
                data[keys.abundance_sd] = self.abundance_sd[i]
                if self.unbounded is not None and self.unbounded_sd is not None:
                    data[keys.unbounded] = self.unbounded[i]
                    data[keys.unbounded_sd] = self.unbounded_sd[i]
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


def json_of(found: Mapping[str, Any] | None, key: str, missing: Any) -> Any:
    """Value of a key of the stream ``phases`` that holds JSON; `missing` of a run that was recorded without it."""
    try:
        return missing if found is None or key not in found else json.loads(str(found[key]))
    except ValueError as error:
        raise RecordError(f"stream phases: '{key}' is no JSON ({error})") from None
