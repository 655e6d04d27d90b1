"""Warns while a map grows that the detector's energy scale is not the classifier's: it has drifted since."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..protocols import EventKeys
from ..streams import StreamRouter

__all__ = ["EnergyScaleWatch", "MeasuresDrift"]

FIRST_COUNTS = 20_000
"""Counts of one phase from which on its scale is compared, and again each time that they have doubled."""
LEAST_DRIFT = 2e-3
"""Relative error of the energy scale that is worth a warning."""
SIGMAS = 4.0


class MeasuresDrift(Protocol):
    """A classifier that compares energy scales, such as `PhaseClassifier`."""

    n_channels: int

    def energy_drift(self, counts: NDArray[Any], label: int) -> tuple[float, float] | None:
        """Relative error of the scale that the sum of a phase's spectra shows, and its standard deviation."""


class EnergyScaleWatch(StreamRouter):
    """Document callback that compares the summed spectra of each phase with the classifier's templates.

    Once a run it warns of a drift that is `LEAST_DRIFT` or more; the sums are those of the spectra called ``ok``.

    Parameters
    ----------
    classifier : callable
        Returns the classifier of the run, or None.
    warn : callable
        Called with a sentence.
    keys : EventKeys, optional
        Where in an Event to look.
    """

    def __init__(
        self,
        classifier: Callable[[], MeasuresDrift | None],
        warn: Callable[[str], None],
        keys: EventKeys | None = None,
    ) -> None:
        super().__init__()
        self._classifier, self._warn, self._keys = classifier, warn, keys or EventKeys()
        self._sums: dict[int, NDArray[np.int64]] = {}
        self._next: dict[int, float] = {}
        self.drift: float | None = None
        """Relative error of the energy scale found last, 0.005 where energies are read 0.5 % too high."""
        self._warned = False

    def start(self, doc: Any) -> None:
        """Begin with a run."""
        self._sums.clear()
        self._next.clear()
        self.drift, self._warned = None, False

    def stream_event(self, stream: str, doc: dict[str, Any]) -> None:
        """Add a point's spectrum to its phase's sum."""
        data, keys = doc["data"], self._keys
        if stream != "primary" or data.get(keys.verdict) != "ok" or keys.spectrum not in data:
            return
        label, counts = int(data[keys.label]), np.asarray(data[keys.spectrum])
        if not label or counts.ndim != 1:
            return
        known = self._sums.get(label)
        self._sums[label] = counts.astype(np.int64) if known is None else known + counts
        total = float(self._sums[label].sum())
        if total >= self._next.get(label, FIRST_COUNTS):
            self._next[label] = 2.0 * total
            self._compare(label)

    def _compare(self, label: int) -> None:
        classifier = self._classifier()
        counts = self._sums[label]
        if classifier is None or not hasattr(classifier, "energy_drift"):
            return
        if classifier.n_channels != len(counts):
            return
        found = classifier.energy_drift(counts, label)
        if found is None:
            return
        self.drift = found[0]
        if not self._warned and abs(found[0]) > max(LEAST_DRIFT, SIGMAS * found[1]):
            self._warned = True
            self._warn(
                f"the detector's energy scale is {100.0 * found[0]:+.2f} % off the classifier's, within what is "
                "absorbed: calibrate the detector before the next map"
            )
