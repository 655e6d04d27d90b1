"""An agent for a specimen that nobody has described: phases are found in the spectra as they come.

The events' own labels are not looked at. Each search of `spectra.discovery` may change what earlier pixels are
thought to be; the sampler takes the new labels. An operator may name, merge, split and forbid phases meanwhile: each
step takes effect after an event, and is recorded with the number of pixels that were measured then. All is a pure
function of the events and these steps, so a replay finds the same.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .agent import SladsAgent
from .agent_settings import AgentSettings
from .errors import ConfigError, DataError
from .protocols import UNCLASSIFIED, UNMEASURED, Classification, Suggestion, Verdict
from .spectra.axis import EnergyAxis
from .spectra.discovery.elements import ElementPrior
from .spectra.discovery.phases import BIN_CHANNELS, Change, PhaseDiscovery
from .spectra.discovery.steps import PhaseStep

__all__ = [
    "UNNAMED",
    "DiscoveringAgent",
    "NoPhases",
    "PhaseNamer",
    "pixels_needed",
    "search_settings",
]

UNNAMED = "0" * 60 + "none"
"""In place of a hash: a run whose detector had no phases to call."""
VOTES = ("ok", "mixed")
CONFIRMED_BY = 3
"""Neighbours of a spectrum that fits no phase which are visited at once, so that a new phase has enough spectra."""
MOST_CONFIRMATIONS = 0.05
"""Part of the measured pixels that may be such visits."""


class PhaseNamer(Protocol):
    """Says what phases may be: `analysis.quantification.naming.PhaseNames` is one."""

    def describe(self, spectra: Mapping[int, NDArray[np.int64]], *, wait: bool) -> dict[int, dict[str, Any]]:
        """Return compositions and candidates by label, JSON; without `wait` those that are known by now."""


def search_settings(
    axis: EnergyAxis,
    *,
    most: int,
    beam_energy_kev: float | None = None,
    part: float | None = None,
    confidence: float = 0.95,
    counts: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """Return ``more["discovery"]`` of `AgentSettings`, as start documents hold it.

    Parameters
    ----------
    axis : EnergyAxis
        Of the detector.
    most : int
        Phases at most.
    beam_energy_kev : float, optional
        With it, spectra are sums of element spectra by the physics model; without it, any curve.
    part, confidence : float, optional
        The map may end once every phase of more than this part of the area is found with this probability.
    counts : (int, int), optional
        Counts that the first exposures should have, and those after them; for a detector with a
        `spectra.dwell_counts.CountTarget`.
    """
    about: dict[str, Any] = {"n_channels": axis.n_channels, "most": most}
    if beam_energy_kev is not None:
        about["physics"] = {
            "offset_kev": axis.offset_kev, "width_kev": axis.width_kev, "beam_energy_kev": beam_energy_kev,
        }  # fmt: skip
    if part is not None:
        if not 0.0 < part < 1.0:
            raise ConfigError(
                f"the part of the area that a phase has must be over 0 and under 1, not {part:g}"
            )
        if not 0.0 < confidence < 1.0:
            raise ConfigError(f"the confidence must be over 0 and under 1, not {confidence:g}")
        about["complete"] = {"part": part, "confidence": confidence}
    if counts is not None:
        if not counts[0] >= counts[1] >= 1:
            raise ConfigError(f"counts: at least 1, and no fewer in the first exposures, not {counts}")
        about["counts"] = {"first": int(counts[0]), "then": int(counts[1])}
    return about


def pixels_needed(part: float, confidence: float) -> int:
    """Spread-out pixels of which none fits no phase that show a phase of a part of the area, so surely.

    Examples
    --------
    >>> pixels_needed(0.005, 0.95)
    598
    """
    return math.ceil(math.log(1.0 - confidence) / math.log(1.0 - part))


class NoPhases:
    """The classifier of a detector whose spectra are called by the agent: label 0 and ``low_counts`` for each.

    Parameters
    ----------
    n_channels : int
    """

    phases: tuple[str, ...] = ()
    sha256 = UNNAMED

    def __init__(self, n_channels: int) -> None:
        self.n_channels = n_channels

    def classify(self, counts: Any) -> Classification:
        """Say nothing of a spectrum."""
        return Classification(UNCLASSIFIED, 0.0, "low_counts")

    def classify_batch(self, counts: Any) -> tuple[Any, Any, Any]:
        """Say nothing of spectra (n, n_channels)."""
        n = len(counts)
        return np.zeros(n, np.uint8), np.zeros(n), np.full(n, "low_counts")


class DiscoveringAgent(SladsAgent):
    """A `SladsAgent` that needs no phases; its settings have ``more["discovery"]``, see `search_settings`.

    Examples
    --------
    >>> import numpy as np
    >>> from slads_bluesky import ScanGrid
    >>> from slads_bluesky.agent_settings import AgentSettings
    >>> about = {"n_channels": 32, "most": 6}
    >>> more = {"sampler": "low-discrepancy", "more": {"discovery": about}}
    >>> settings = AgentSettings(ScanGrid((16, 16)), 6, fraction=0.2, **more)
    >>> agent = DiscoveringAgent.from_settings(settings)
    >>> rng = np.random.default_rng(0)
    >>> while not agent.should_stop():
    ...     (at,) = agent.suggest()
    ...     spectrum = rng.poisson(np.where(np.arange(32) // 8 == at.pixel % 16 // 8, 20, 2))
    ...     agent.ingest({"data": {"scan_pixel": at.pixel, "eds_spectrum": spectrum, "eds_verdict": "low_counts"}})
    >>> len(agent.discovery.phases)
    2
    """

    recorded_as = SladsAgent.__name__
    needs_spectra = True
    calls_spectra = True

    def __init__(self, *arguments: Any, discovery: Mapping[str, Any], **more: Any) -> None:
        super().__init__(*arguments, **more)
        options = {key: discovery[key] for key in ("most", "bin_channels") if key in discovery}
        self.discovery = PhaseDiscovery(**options, elements=_elements(discovery))
        self.namer: PhaseNamer | None = None
        """Says what the phases may be, for the record; decides nothing."""
        self.steps: list[PhaseStep] = []
        """Steps of operators that took effect, or were refused, in their order."""
        self._complete = discovery.get("complete")
        self._counts: Mapping[str, int] = discovery.get("counts") or {"first": 0, "then": 0}
        self._requested: deque[PhaseStep] = deque()
        self._scheduled: deque[PhaseStep] = deque()
        self._changed = False
        self._confirmations: list[int] = []
        self._n_confirmations = 0
        self._odd: dict[int, None] = {}
        """Pixels whose spectra fit no phase, in the order in which that was seen."""

    @classmethod
    def _arguments_of(cls, settings: AgentSettings) -> dict[str, Any]:
        return {"discovery": settings.more.get("discovery") or {}}

    @property
    def detector_classifier(self) -> NoPhases:
        """Classifier that the detector has in a run of this agent."""
        return NoPhases(int(self._provenance["discovery"]["n_channels"]))

    def check_step(self, step: PhaseStep) -> None:
        """Check what an operator wants against the phases found by now; ConfigError saying why it cannot be done."""
        if refused := self.discovery.refusal(step):
            raise ConfigError(refused)

    def request(self, step: PhaseStep) -> None:
        """Let an operator's step take effect after the next event; may be called from any thread."""
        self._requested.append(step)

    def schedule(self, steps: Sequence[PhaseStep]) -> None:
        """Let recorded steps take effect where they did, while the events of their run are ingested."""
        self._scheduled.extend(step for step in steps)

    def ingest(self, event: Mapping[str, Any]) -> None:
        """Take an Event with its spectrum; one without (a failed point) counts as measured.

        Raises
        ------
        DataError
            If the pixel is missing or outside the grid, or the spectrum has other channels than those before.
        """
        data, keys = event["data"], self._keys
        spectrum = data.get(keys.spectrum)
        if spectrum is None or str(data.get(keys.verdict)) == "ill":
            super().ingest({**event, "data": {**data, keys.label: UNCLASSIFIED, keys.verdict: "ill"}})
            self._take_steps()
            return
        try:
            pixel = int(data[keys.pixel])
        except KeyError as error:
            raise DataError(f"event {event.get('seq_num')} has no key {error}") from None
        if not 0 <= pixel < self._grid.n_pixels:
            raise DataError(
                f"event {event.get('seq_num')}: pixel {pixel} lies outside the grid {self._grid.shape}"
            )
        self._n_confirmations += pixel in self._confirmations
        spread = math.isnan(float(data.get(keys.erd, math.nan)))
        self._take(self.discovery.ingest(pixel, np.asarray(spectrum), spread=spread))
        self._take_steps()

    def _take(self, change: Change) -> None:
        for pixel, call in change.labels.items():
            verdict: Verdict = call.verdict
            self._verdicts[pixel] = verdict
            if verdict == "unknown":
                self._odd[pixel] = None
            else:
                self._odd.pop(pixel, None)
            self._sampler.ingest(pixel, call.label if verdict in VOTES else UNCLASSIFIED)
        self._changed = self._changed or change.searched
        self._confirmations = self._to_confirm()
        self._asked = 0

    def _take_steps(self) -> None:
        """Do what operators asked for, or in a replay what they had asked for at this place."""
        due: list[PhaseStep] = []
        while self._scheduled and self._scheduled[0].after <= self.n_measured:
            due.append(self._scheduled.popleft())
        while self._requested:
            due.append(self._requested.popleft())
        for step in due:
            done, change = self.discovery.apply(step)
            self.steps.append(replace(done, after=self.n_measured))
            self._take(change)

    def _to_confirm(self) -> list[int]:
        """Unmeasured neighbours of spectra that fit no phase, those of the first one first."""
        odd = list(self._odd)
        if not odd or self._n_confirmations >= MOST_CONFIRMATIONS * self.n_measured + CONFIRMED_BY:
            return []
        rows, columns = self._grid.shape
        flat = self._sampler.measured.ravel()
        allowed = np.ones(flat.size, bool) if self._grid.roi is None else self._grid.roi.ravel()
        found: list[int] = []
        for pixel in odd:
            r, c = divmod(pixel, columns)
            around = [
                (r + dr) * columns + c + dc
                for dr, dc in _NEIGHBOURS
                if 0 <= r + dr < rows and 0 <= c + dc < columns
            ]
            missing = CONFIRMED_BY - int(sum(flat[p] != UNMEASURED for p in around))
            open_ = [p for p in around if flat[p] == UNMEASURED and allowed[p] and p not in found]
            found += open_[: max(missing, 0)]
        return found

    def suggest(self, n: int = 1) -> list[Suggestion]:
        """Up to `n` pixels to measure next: first the neighbours of spectra that fit no phase."""
        known = set(self._confirmations)
        chosen = [Suggestion(pixel, 0.0) for pixel in self._confirmations[:n]]
        if len(chosen) < n:
            chosen += [s for s in super().suggest(n + len(known)) if s.pixel not in known][: n - len(chosen)]
        # long enough to part phases where they are looked for: in the initial mask, and beside what fits none
        return [
            replace(s, counts=self._counts["first" if math.isnan(s.erd) or s.pixel in known else "then"])
            for s in chosen
        ]

    def suggest_besides(self, n: int, pending: Collection[int]) -> list[Suggestion]:
        """As `suggest`, while others are chosen already and their spectra not known yet."""
        known = set(pending)
        first = [Suggestion(pixel, 0.0) for pixel in self._confirmations if pixel not in known][:n]
        if len(first) == n:
            return first
        return [*first, *super().suggest_besides(n - len(first), known | {s.pixel for s in first})]

    @property
    def stop_reason(self) -> str:
        """Why the map is done, empty while it is not."""
        if self._complete is not None and self.discovery.n_spectra:
            part, confidence = float(self._complete["part"]), float(self._complete["confidence"])
            if self.discovery.undiscovered(confidence)[1] <= part:
                return f"every phase over {part:.3g} of the area is found with {confidence:.0%}"
        return super().stop_reason

    @property
    def news_is_due(self) -> bool:
        """Whether a search or an operator has changed anything since the last `news`."""
        return self._changed

    def news(self) -> dict[str, Any] | None:
        """What the stream ``phases`` records, if anything has changed since the last time."""
        if not self._changed:
            return None
        self._changed = False
        return self._phases(wait=False)

    def phases_data(self) -> dict[str, Any]:
        """What the stream ``phases`` records.

        Returns
        -------
        dict
            ``spectra`` (most, channels) int64: summed counts of each phase, zeros where there is none;
            ``n_spectra`` and ``parents`` (most,) int64; ``measured`` (rows, columns) int16: labels by what is known
            now, 0 where unclassified, -1 where unmeasured; ``n_measured``; ``undiscovered`` and
            ``undiscovered_upper``: part of the area that phases not found yet may hold, and its 95 % bound;
            ``names``, ``candidates`` and ``steps``: JSON, what operators named the phases, what they may be by their
            composition, and what operators did.
        """
        return self._phases(wait=True)

    def _phases(self, *, wait: bool) -> dict[str, Any]:
        found, most = self.discovery.phases, self.discovery.most
        channels = int(self._provenance["discovery"]["n_channels"])
        spectra = np.zeros((most, channels), np.int64)
        sizes, parents = np.zeros(most, np.int64), np.zeros(most, np.int64)
        for phase in found:
            spectra[phase.label - 1] = phase.spectrum
            sizes[phase.label - 1], parents[phase.label - 1] = phase.n_spectra, phase.parent
        estimate, upper = self.discovery.undiscovered() if self.discovery.n_spectra else (math.nan, math.nan)
        described: dict[int, dict[str, Any]] = {}
        if self.namer is not None:
            described = self.namer.describe(
                {p.label: p.spectrum for p in found if not p.forbidden}, wait=wait
            )
        return {
            "spectra": spectra,
            "n_spectra": sizes,
            "parents": parents,
            "measured": np.asarray(self._sampler.measured, np.int16),
            "n_measured": self.n_measured,
            "undiscovered": float(estimate),
            "undiscovered_upper": float(upper),
            "names": json.dumps({str(p.label): p.name for p in found if p.name}),
            "candidates": json.dumps({str(label): about for label, about in described.items()}),
            "steps": json.dumps([step.to_json() for step in self.steps]),
        }


_NEIGHBOURS = ((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))


def _elements(discovery: Mapping[str, Any]) -> ElementPrior | None:
    about = discovery.get("physics")
    if about is None:
        return None
    axis = EnergyAxis(float(about["offset_kev"]), float(about["width_kev"]), int(discovery["n_channels"]))
    width = int(discovery.get("bin_channels", BIN_CHANNELS))
    return ElementPrior.of(axis, float(about["beam_energy_kev"]), width)
