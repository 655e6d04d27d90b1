"""Warns while a map grows that many of its spectra are not as expected, so that it can still be corrected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..protocols import EventKeys
from ..streams import StreamRouter

__all__ = ["VerdictWatch"]


class _Concern(NamedTuple):
    share: float
    """Fraction of a run's spectra at which a warning is given."""
    found: str
    advice: str


CONCERNS: Mapping[str, _Concern] = {
    "unknown": _Concern(
        0.05,
        "of none of the known phases",
        "end the map and make a phase of them, `slads-bluesky relabel UID --accept NAME`; then resume_map",
    ),
    "ill": _Concern(0.1, "flat, blank, or on a wrong energy scale", "look at beam, detector and calibration"),
    "low_counts": _Concern(0.2, "too few counts to classify", "a longer dwell, or a larger current"),
    "mixed": _Concern(0.3, "of two phases at once", "the steps may be small beside what the beam excites"),
}
"""By verdict. Mixed spectra are common, since most measurements lie at boundaries."""

LEAST = 10
"""Least number of spectra of a verdict for a warning."""


class VerdictWatch(StreamRouter):
    """Document callback that warns of each concern once a run, as soon as its share is reached.

    Parameters
    ----------
    warn : callable
        Called with a sentence.
    keys : EventKeys, optional
        Where in an Event to look.
    """

    def __init__(self, warn: Callable[[str], None], keys: EventKeys | None = None) -> None:
        super().__init__()
        self._warn, self._key = warn, (keys or EventKeys()).verdict
        self._verdicts: Counter[str] = Counter()
        self._warned: set[str] = set()
        self._off = False

    def start(self, doc: Any) -> None:
        """Begin with a run; of one that finds its phases itself, the detector's verdicts say nothing."""
        self._off = bool((doc.get("agent") or {}).get("discovery"))
        self._verdicts.clear()
        self._warned.clear()
        sampler = (doc.get("agent") or {}).get("sampler")
        if isinstance(sampler, dict) and sampler.get("name") == "joint":  # it plans spectra of few counts
            self._warned.add("low_counts")

    def stream_event(self, stream: str, doc: dict[str, Any]) -> None:
        """Count a point's verdict."""
        if stream == "primary" and not self._off and self._key in doc["data"]:
            self._take(str(doc["data"][self._key]))

    def _take(self, verdict: str) -> None:
        self._verdicts[verdict] += 1
        n, total, concern = self._verdicts[verdict], self._verdicts.total(), CONCERNS.get(verdict)
        if concern is None or verdict in self._warned or n < LEAST or n < concern.share * total:
            return
        self._warned.add(verdict)
        self._warn(f"{n} of {total} spectra are {concern.found}: {concern.advice}")
