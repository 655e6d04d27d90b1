"""An agent that maps elements: it measures where the expected error of the element maps falls most.

Labels are the events' own, as for `SladsAgent`. What it knows of the elements are the counts in a window around a
line of each, as the Event's spectrum has them: for choosing pixels that is enough, quantification comes afterwards.
All is a function of the events, so a replay decides the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .agent import SladsAgent
from .agent_settings import AgentSettings
from .errors import ConfigError
from .protocols import UNCLASSIFIED
from .sampling.elements.sampler import ElementSampler
from .sampling.learned.sampler import LearnedSampler

__all__ = ["ElementAgent"]


class ElementAgent(SladsAgent):
    """A `SladsAgent` for element maps; its settings have ``more["elements"]``: channels by symbol, first and last.

    Examples
    --------
    >>> import numpy as np
    >>> from slads_bluesky import ScanGrid
    >>> from slads_bluesky.agent_settings import AgentSettings
    >>> more = {"elements": {"Si": [10, 14]}}
    >>> agent = ElementAgent.from_settings(AgentSettings(ScanGrid((32, 32)), 2, fraction=0.1, more=more))
    >>> (first,) = agent.suggest()
    >>> spectrum = np.full(32, 5)
    >>> agent.ingest(
    ...     {"data": {"scan_pixel": first.pixel, "eds_label": 1, "eds_verdict": "ok", "eds_spectrum": spectrum}}
    ... )
    >>> agent.n_measured, agent.elements
    (1, ('Si',))
    """

    recorded_as = SladsAgent.__name__
    needs_spectra = True

    def __init__(
        self, grid: Any, sampler: Any, *, elements: Mapping[str, Sequence[int]], **more: Any
    ) -> None:
        if not isinstance(sampler, LearnedSampler):
            raise ConfigError("the target 'elements' takes the learned sampler")
        if not elements:
            raise ConfigError("the target 'elements' needs the elements to map")
        self.elements = tuple(elements)
        self._windows = {symbol: (int(first), int(last)) for symbol, (first, last) in elements.items()}
        self._by_elements = ElementSampler(sampler, len(self.elements))
        super().__init__(grid, self._by_elements, **more)
        self._totals = np.zeros((self._n_labels + 1, len(self.elements)))
        self._time_s = np.zeros(self._n_labels + 1)
        self._counted: set[int] = set()

    @classmethod
    def _arguments_of(cls, settings: AgentSettings) -> dict[str, Any]:
        return {"elements": settings.more.get("elements") or {}}

    def ingest(self, event: Mapping[str, Any]) -> None:
        """Take an Event with its spectrum; one without (a failed point) counts as measured.

        Raises
        ------
        DataError
            As `SladsAgent.ingest`; or if the spectrum has too few channels.
        """
        data, keys = event["data"], self._keys
        super().ingest(event)
        spectrum = data.get(keys.spectrum)
        pixel, label = int(data[keys.pixel]), int(data[keys.label])
        if spectrum is None or pixel in self._counted:
            return
        self._counted.add(pixel)
        counts = np.asarray(spectrum)
        values = np.array([float(counts[a : b + 1].sum()) for a, b in self._windows.values()])
        live = float(data.get(keys.live_time) or 1.0)
        live = live if np.isfinite(live) and live > 0 else 1.0
        votes = label if str(data[keys.verdict]) == "ok" else UNCLASSIFIED
        self._totals[votes] += values
        self._time_s[votes] += live
        # the variance by the phase's mean rate: a pixel's own count says less of its own variance
        rate = (self._totals[votes] + 0.5) / self._time_s[votes]
        self._by_elements.ingest_intensities(pixel, votes, values / live, rate / live)
        self._asked = 0
