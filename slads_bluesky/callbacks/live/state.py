"""The state of a map from its documents, ready to be drawn: by position, whatever the order of the events.

Filled by one thread and drawn by another without a lock: the arrays of a map are made once, at its start document,
and from then on single elements change; a picture may lack the newest pixel, never show a wrong one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...analysis.load import event_keys
from ...analysis.phases_in_words import phase_in_words
from ...documents import reading
from ...errors import DataError
from ...grid import ScanGrid
from ...metadata import typed_start
from ...protocols import UNCLASSIFIED, UNMEASURED
from ...streams import StreamRouter
from .elements import ElementOverlay

__all__ = ["FoundPhases", "MapState", "Newest", "is_map"]


class FoundPhases(NamedTuple):
    """Phases that a run has found so far, label l in row l - 1; see `DiscoveringAgent.phases_data`."""

    n_spectra: NDArray[np.int64]
    """(most,) spectra of each phase; 0: no such phase."""
    spectra: NDArray[np.int64]
    """(most, channels) their summed counts."""
    parents: NDArray[np.int64]
    """(most,) label of the phase that each was split off from; 0: none."""
    names: dict[int, str]
    """What operators named them, by label."""
    candidates: dict[int, str]
    """Composition and what they may be by it, in words, by label."""
    undiscovered_upper: float
    """95 % bound of the part of the area that phases not found yet may hold; NaN before there is one."""


class Newest(NamedTuple):
    """The newest point."""

    pixel: int
    label: int
    probability: float
    verdict: str
    spectrum: NDArray[Any] | None
    """(channels,) counts."""


def is_map(start: Mapping[str, Any]) -> bool:
    """Whether the run of a start document is a map that can be drawn."""
    return "grid" in typed_start(start)


class MapState(StreamRouter):
    """What is known of a map.

    Parameters
    ----------
    start : mapping
        Start document of a map, see `is_map`.
    elements : sequence of str
        Up to four, whose counts are kept for a picture.
    """

    def __init__(self, start: Mapping[str, Any], elements: Sequence[str] = ()) -> None:
        super().__init__()
        self.start_doc = start = typed_start(start)
        self.stop_doc: dict[str, Any] = {}
        self.grid = ScanGrid.from_json(start["grid"])
        self.keys = event_keys(start)
        agent = start.get("agent") or {}
        self.phases = tuple(start.get("phases") or agent.get("phases") or ())
        self.n_labels = max(len(self.phases), int(agent.get("n_labels") or 0), 1)
        shape = self.grid.shape
        self.measured = np.full(shape, UNMEASURED, np.int16)
        """(rows, columns): labels that vote, 0 where unclassified, -1 where unmeasured."""
        self.erd = np.full(shape, np.nan, np.float32)
        """(rows, columns): reduction in distortion that was expected of each measured pixel; NaN elsewhere."""
        self.probability = np.full(shape, np.nan, np.float32)
        """(rows, columns): of each measured pixel's label; NaN elsewhere."""
        self.reconstruction: NDArray[np.uint8] | None = None
        """(rows, columns): the last recorded one."""
        self.image: NDArray[np.float32] | None = None
        """(rows, columns): the frame that guides the map."""
        self.reconstructed_at = 0
        """Pixels that were measured when it was made."""
        self.curve: list[tuple[int, float]] = []
        """(pixels measured, estimated distortion), rising in the first."""
        self.newest: Newest | None = None
        self.finds_phases = bool(agent.get("discovery"))
        """Whether the run finds its phases itself: labels come with the stream ``phases``, not with the events."""
        self.found: FoundPhases | None = None
        self.n_found = 0
        """Times that `found` was taken."""
        self.n_measured = 0
        self.n_failed = 0
        self.n_documents = 0
        self.energy_kev: tuple[float, float] | None = None
        """Offset and width of the channels, if the detector gives them."""
        self.elements = ElementOverlay(elements, self.grid.shape) if elements else None
        """Their counts at the measured pixels."""
        self._sums: dict[int, tuple[NDArray[np.float64], int]] = {}
        self._row, self._column = (self.keys.pixel.replace("pixel", what) for what in ("row", "col"))

    @property
    def uid(self) -> str:
        """Uid of the run, of the last one if the map was resumed."""
        return str(self.start_doc["uid"])

    @property
    def n_wanted(self) -> int | None:
        """Pixels that make the wanted fraction."""
        fraction = (self.start_doc.get("agent") or {}).get("fraction")
        return None if fraction is None else max(1, round(fraction * self.grid.n_pixels))

    @property
    def stop_at(self) -> float | None:
        """Estimated distortion at which the map may end earlier."""
        return ((self.start_doc.get("agent") or {}).get("sampler") or {}).get("stop_at")

    def phase(self, label: int) -> str:
        """Name of a label."""
        if label == UNCLASSIFIED:
            return "unclassified"
        if self.found is not None and label in self.found.names:
            return self.found.names[label]
        return self.phases[label - 1] if label <= len(self.phases) else f"phase {label}"

    def mean_spectrum(self, label: int) -> tuple[NDArray[np.float64], int] | None:
        """(channels,) mean of the map's own good spectra of a phase, and their number; None before the first."""
        if self.found is not None:
            n = int(self.found.n_spectra[label - 1]) if 0 < label <= self.found.n_spectra.size else 0
            return (self.found.spectra[label - 1] / n, n) if n else None
        found = self._sums.get(label)
        return None if found is None else (found[0] / found[1], found[1])

    def take(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take a document of the run, or the start of one that resumes it; those of other runs are ignored.

        Raises
        ------
        DataError
            If an event lies outside the grid or has another shape than it.
        """
        if name in ("descriptor", "stop") and doc.get("run_start", self.uid) != self.uid:
            return  # an event of an unknown descriptor is passed over below
        self.n_documents += 1
        with reading(f"run {self.uid[:8]}: a {name} document that is none of a map"):
            self(name, doc)

    def start(self, doc: Any) -> None:
        """Take the start of the run that resumes this one."""
        self.start_doc, self.stop_doc = typed_start(doc), {}

    def stop(self, doc: Any) -> None:
        """Keep how the run ended."""
        self.stop_doc = dict(doc)

    def stream_event(self, stream: str, doc: dict[str, Any]) -> None:
        """Take a point or a map."""
        if stream == "primary":
            self._point(doc["data"])
        elif stream == "failed":
            self._failed(doc["data"])
        elif stream == "map":
            self._map(doc["data"])
        elif stream == "phases":
            self._phases_found(doc["data"])
        elif stream == "image" and self.keys.image in doc["data"]:
            frame = np.asarray(doc["data"][self.keys.image], np.float32)
            if frame.shape != tuple(self.grid.shape):
                raise DataError(f"image of shape {frame.shape} for a grid of {tuple(self.grid.shape)}")
            self.image = frame

    def estimate(self, distortion: float) -> None:
        """Take an estimated distortion of the present map; NaN is ignored."""
        if np.isfinite(distortion) and self.n_measured:
            while self.curve and self.curve[-1][0] >= self.n_measured:
                self.curve.pop()
            self.curve.append((self.n_measured, float(distortion)))

    def reconstruct(self, labels: NDArray[Any]) -> None:
        """Take a reconstruction of the map as it stands, (rows, columns); DataError if it is of another shape."""
        made = np.asarray(labels)
        if made.shape != tuple(self.grid.shape):
            raise DataError(f"reconstruction of shape {made.shape} for a grid of {tuple(self.grid.shape)}")
        self.n_labels = max(self.n_labels, int(made.max(initial=0)))
        self.reconstruction, self.reconstructed_at = made.astype(np.uint8), self.n_measured

    def stream_descriptor(self, stream: str, doc: Mapping[str, Any]) -> None:
        """Take the energy axis of the detector."""
        if stream != "primary":
            return
        for device, configured in doc.get("configuration", {}).items():
            data = configured.get("data", {})
            if {f"{device}_energy_offset", f"{device}_energy_width"} <= set(data):
                self.energy_kev = (
                    float(data[f"{device}_energy_offset"]),
                    float(data[f"{device}_energy_width"]),
                )

    def place_of(self, data: Mapping[str, Any]) -> tuple[int, int]:
        """Row and column of an event's data; DataError if it has none or they lie outside the grid."""
        columns = self.grid.shape[1]
        if self._row in data and self._column in data:
            row, column = int(data[self._row]), int(data[self._column])
        elif self.keys.pixel in data:
            row, column = divmod(int(data[self.keys.pixel]), columns)
        else:
            raise DataError(f"an event without '{self.keys.pixel}' has no place in a map")
        if not (0 <= row < self.grid.shape[0] and 0 <= column < columns):
            raise DataError(f"row {row}, column {column} lie outside the grid {tuple(self.grid.shape)}")
        return row, column

    def _point(self, data: Mapping[str, Any]) -> None:
        keys, place = self.keys, self.place_of(data)
        # a raster without a classifier has no labels: its pixels are measured, and that is all
        label, verdict = int(data.get(keys.label, 1)), str(data.get(keys.verdict, "ok"))
        probability = float(data.get(keys.probability, np.nan))
        votes = label if verdict == "ok" else UNCLASSIFIED
        self.n_labels = max(self.n_labels, label)
        first = self.measured[place] == UNMEASURED
        self.measured[place] = votes
        self.erd[place] = data.get(keys.erd, np.nan)
        self.probability[place] = probability
        spectrum = np.asarray(data[keys.spectrum]) if keys.spectrum in data else None
        if first:  # of an event that a pause made the RunEngine emit again, the spectrum is counted once
            self.n_measured += 1
            if spectrum is not None and votes != UNCLASSIFIED:
                self._add(votes, spectrum)
        if self.elements is not None and spectrum is not None:
            live = float(data.get(keys.live_time, np.nan))
            self.elements.take(place, spectrum, live, self.energy_kev)
        pixel = place[0] * self.grid.shape[1] + place[1]
        self.newest = Newest(pixel, label, probability, verdict, spectrum)

    def _add(self, label: int, spectrum: NDArray[Any]) -> None:
        total, n = self._sums.get(label, (np.zeros(spectrum.shape), 0))
        if total.shape != spectrum.shape:
            raise DataError(f"a spectrum of {spectrum.size} channels among ones of {total.size}")
        np.add(total, spectrum, out=total)
        self._sums[label] = (total, n + 1)

    def _failed(self, data: Mapping[str, Any]) -> None:
        place = self.place_of(data)
        if self.measured[place] == UNMEASURED:
            self.n_measured += 1
            self.n_failed += 1
            self.measured[place] = UNCLASSIFIED

    def _phases_found(self, data: Mapping[str, Any]) -> None:
        """Take the phases, and what the measured pixels are thought to be now."""
        sizes, spectra = np.asarray(data["phases_n_spectra"]), np.asarray(data["phases_spectra"])
        parents, seen = np.asarray(data["phases_parents"]), np.asarray(data["phases_measured"])
        if seen.shape != self.measured.shape or len({len(sizes), len(spectra), len(parents)}) != 1:
            raise DataError(f"phases of shape {seen.shape} for a grid of {self.measured.shape}")
        names, about = (
            {int(label): of for label, of in json.loads(data.get(f"phases_{what}") or "{}").items()}
            for what in ("names", "candidates")
        )
        names = {label: str(name) for label, name in names.items()}
        candidates = {label: phase_in_words(of) for label, of in about.items()}
        upper = float(data.get("phases_undiscovered_upper", np.nan))
        self.found = FoundPhases(sizes, spectra, parents, names, candidates, upper)
        np.copyto(self.measured, seen, where=seen != UNMEASURED, casting="unsafe")
        self.n_labels = max(int(np.flatnonzero(sizes).max(initial=0)) + 1, int(seen.max(initial=0)), 1)
        self.n_found += 1

    def _map(self, data: Mapping[str, Any]) -> None:
        seen = data.get("map_measured")
        if seen is not None and np.shape(seen) == self.measured.shape:
            # pixels of the run that this one resumes, or that were measured before the view was opened
            missing = (self.measured == UNMEASURED) & (np.asarray(seen) != UNMEASURED)
            self.measured[missing] = np.asarray(seen)[missing]
            self.n_measured += int(missing.sum())
        if "map_labels" in data:
            self.reconstruct(data["map_labels"])
        if "map_distortion_estimate" in data:
            self.estimate(float(data["map_distortion_estimate"]))
