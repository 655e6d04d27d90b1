"""An agent for a specimen that nobody has described: phases are found in the spectra as they come.

The events' own labels are not looked at. Each search of `spectra.discovery` may change what earlier pixels are
thought to be; the sampler takes the new labels. All is a pure function of the events, so a replay finds the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .agent import SladsAgent
from .agent_settings import AgentSettings
from .errors import DataError
from .protocols import UNCLASSIFIED, Classification, Verdict
from .spectra.discovery.phases import Change, PhaseDiscovery

__all__ = ["UNNAMED", "DiscoveringAgent", "NoPhases"]

UNNAMED = "0" * 60 + "none"
"""In place of a hash: a run whose detector had no phases to call."""
VOTES = ("ok", "mixed")


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
    """A `SladsAgent` that needs no phases; its settings have ``more["discovery"]``: ``n_channels``, ``most``.

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
        self.discovery = PhaseDiscovery(**options)
        self._changed = False

    @classmethod
    def _arguments_of(cls, settings: AgentSettings) -> dict[str, Any]:
        return {"discovery": settings.more.get("discovery") or {}}

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
            return
        try:
            pixel = int(data[keys.pixel])
        except KeyError as error:
            raise DataError(f"event {event.get('seq_num')} has no key {error}") from None
        if not 0 <= pixel < self._grid.n_pixels:
            raise DataError(
                f"event {event.get('seq_num')}: pixel {pixel} lies outside the grid {self._grid.shape}"
            )
        change = self.discovery.ingest(pixel, np.asarray(spectrum))
        self._take(change)

    def _take(self, change: Change) -> None:
        for pixel, call in change.labels.items():
            verdict: Verdict = call.verdict
            self._verdicts[pixel] = verdict
            self._sampler.ingest(pixel, call.label if verdict in VOTES else UNCLASSIFIED)
        self._changed = self._changed or change.searched
        self._asked = 0

    def news(self) -> dict[str, Any] | None:
        """What the stream ``phases`` records, if a search has changed anything since the last time."""
        if not self._changed:
            return None
        self._changed = False
        return self.phases_data()

    def phases_data(self) -> dict[str, Any]:
        """What the stream ``phases`` records.

        Returns
        -------
        dict
            ``spectra`` (most, channels) int64: summed counts of each phase, zeros where there is none;
            ``n_spectra`` and ``parents`` (most,) int64; ``measured`` (rows, columns) int16: labels by what is known
            now, 0 where unclassified, -1 where unmeasured; ``n_measured``; ``undiscovered`` and
            ``undiscovered_upper``: part of the area that phases not found yet may hold, and its 95 % bound.
        """
        found, most = self.discovery.phases, self.discovery.most
        channels = int(self._provenance["discovery"]["n_channels"])
        spectra = np.zeros((most, channels), np.int64)
        sizes, parents = np.zeros(most, np.int64), np.zeros(most, np.int64)
        for phase in found:
            spectra[phase.label - 1] = phase.spectrum
            sizes[phase.label - 1], parents[phase.label - 1] = phase.n_spectra, phase.parent
        estimate, upper = self.discovery.undiscovered() if self.discovery.n_spectra else (math.nan, math.nan)
        return {
            "spectra": spectra,
            "n_spectra": sizes,
            "parents": parents,
            "measured": np.asarray(self._sampler.measured, np.int16),
            "n_measured": self.n_measured,
            "undiscovered": float(estimate),
            "undiscovered_upper": float(upper),
        }
