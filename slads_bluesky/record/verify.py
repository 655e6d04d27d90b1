"""Whether a record holds together: its spectra, classified and decided upon again, give the recorded run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from slads_bluesky.analysis.run_data import ListDecision, RunData
from slads_bluesky.codehash import DECISIONS
from slads_bluesky.plans.batches import suggest_besides, visits_of
from slads_bluesky.plans.budget import BUDGET_SPENT
from slads_bluesky.progress import Progress, no_progress
from slads_bluesky.protocols import (
    Agent,
    Classifier,
    HasLogLikelihoods,
    HasMixture,
    RateClassifier,
    Suggestion,
)
from slads_bluesky.spectra.dwell_mixed import MixtureTest, classify_mixed

__all__ = ["Difference", "Verification", "explain", "verify"]

BATCH = 512
"""Spectra that are classified at once."""
TOLERANCE = 1e-6
"""Relative, for probabilities and predicted reductions: the last digits may depend on the machine."""


@dataclass(frozen=True)
class Difference:
    """One thing that differs."""

    event: int
    """Number of the event in the map, from 1; 0 for the map as a whole."""
    pixel: int
    what: str
    """``decision``, ``erd``, ``label``, ``verdict``, ``probability``, ``log_likelihood``, ``abundances``, ``stop`` or
    ``map``."""
    recorded: Any
    again: Any

    def __str__(self) -> str:
        where = f"event {self.event} (pixel {self.pixel}): " if self.event else ""
        return f"{where}{self.what} recorded {self.recorded}, now {self.again}"


@dataclass
class Verification:
    """Result of verifying a map."""

    n_events: int
    differences: list[Difference] = field(default_factory=list)
    """In the order of the events; at most a hundred are kept."""
    counts: dict[str, int] = field(default_factory=dict)
    """How many of each kind there are."""
    not_classified: int = 0
    """Spectra that the instrument had called invalid, which no classifier was asked about."""

    def __repr__(self) -> str:
        found = ", ".join(f"{n} {what}{'s' * (n > 1)} differ" for what, n in self.counts.items())
        first = f"; the first: {self.differences[0]}" if self.differences else ""
        return f"<Verification of {self.n_events} events: {found or 'all the same'}{first}>"

    @property
    def passed(self) -> bool:
        """Whether everything is the same."""
        return not self.counts

    def add(self, difference: Difference) -> None:
        """Take a difference."""
        self.counts[difference.what] = self.counts.get(difference.what, 0) + 1
        if len(self.differences) < 100:
            self.differences.append(difference)


def verify(
    data: RunData, agent: Agent, classifier: Classifier | None, progress: Progress = no_progress
) -> Verification:
    """Feed a recorded map to a fresh agent and classifier and compare every decision, label and verdict.

    The agent ingests what was recorded, also where it would have decided otherwise, so that no difference is a
    consequence of an earlier one.

    Parameters
    ----------
    data : RunData
        The map, with its spectra if a classifier is given.
    agent : Agent
        As it stood before the first point.
    classifier : Classifier, optional
        Without one, labels and verdicts are taken as they are.
    progress : callable
        Called as ``progress("verifying", fraction)``.

    Raises
    ------
    RecordError
        If the map has no spectra, or ones that the classifier does not take.
    """
    result = Verification(data.n_measured)
    if getattr(agent, "needs_spectra", False):
        data.spectra_of()
    if getattr(agent, "calls_spectra", False):
        classifier = None  # the agent calls the spectra itself; its final map is compared
    data.teach_image(agent)
    data.teach_steps(agent)
    lists = _Lists(data, agent, result)
    for i, event in enumerate(data.events()):
        if classifier is not None and i % BATCH == 0:
            _classify(data, classifier, slice(i, i + BATCH), result)
        if i % 100 == 0:
            progress("verifying", i / data.n_measured)
        lists.decide()
        if lists.visit_of(i) not in lists.visits:
            _decide(data, agent, i, result)
        agent.ingest(event)
        lists.measured(int(data.pixels[i]))
    lists.decide()
    _end(data, agent, result)
    progress("verifying", 1.0)
    result.differences.sort(key=lambda difference: difference.event or data.n_measured + 1)
    return result


class _Lists:
    """Decisions for lists of points, each made again from the state that it was made from."""

    def __init__(self, data: RunData, agent: Agent, result: Verification) -> None:
        self._data, self._agent, self._result = data, agent, result
        self._row = {self.visit_of(i): i for i in range(len(data.pixels))}
        self._left = list(data.lists)
        # one that was chosen and not measured before its run was cut off is chosen again by the next
        self._of = {visit: decision for decision in data.lists for visit in self._chosen(decision)}
        self.visits = set(self._of)
        """Pixels that were chosen for lists, each with how often it was visited before."""
        self._run = -1
        self._pending: set[int] = set()

    def visit_of(self, i: int) -> tuple[int, int]:
        """Pixel of an event, and how often it was visited before; 0 of a map that visits no pixel again."""
        data = self._data
        return int(data.pixels[i]), 0 if data.visits is None else int(data.visits[i])

    def _chosen(self, decision: ListDecision) -> list[tuple[int, int]]:
        """Pixels of a decision, each with how often it was visited before: all earlier visits were known then."""
        data = self._data
        if data.visits is None:
            return [(int(pixel), 0) for pixel in decision.pixels]
        known = Counter(int(pixel) for pixel in data.pixels[: decision.seen])
        return [(int(pixel), known[int(pixel)]) for pixel in decision.pixels]

    def measured(self, pixel: int) -> None:
        """Take it that a pixel is known now."""
        self._pending.discard(pixel)

    def decide(self) -> None:
        """Make the decisions that were made from what is known now."""
        while self._left and self._left[0].seen <= visits_of(self._agent):
            decision = self._left.pop(0)
            if decision.run != self._run:  # what an earlier run had under way was given up with it
                self._run, self._pending = decision.run, set()
            again = suggest_besides(self._agent, decision.asked, self._pending)[: len(decision.pixels)]
            self._compare(decision, again)
            self._pending.update(int(pixel) for pixel in decision.pixels)

    def _compare(self, decision: ListDecision, again: list[Suggestion]) -> None:
        data, event = self._data, decision.seen + 1
        for j, visit in enumerate(self._chosen(decision)):
            pixel = visit[0]
            row = self._row.get(visit) if self._of[visit] is decision else None
            if j >= len(again):
                self._result.add(Difference(event, pixel, "decision", pixel, "no pixel"))
            elif again[j].pixel != pixel:
                self._result.add(Difference(event, pixel, "decision", pixel, again[j].pixel))
            elif row is not None and not _same(data.erd[row], again[j].erd):
                self._result.add(Difference(row + 1, pixel, "erd", float(data.erd[row]), again[j].erd))


def _decide(data: RunData, agent: Agent, i: int, result: Verification) -> None:
    pixel = int(data.pixels[i])
    if agent.should_stop():
        result.add(Difference(i + 1, pixel, "decision", pixel, f"the end: {agent.stop_reason}"))
        return
    suggestion = agent.suggest(1)[0]
    if suggestion.pixel != pixel:
        result.add(Difference(i + 1, pixel, "decision", pixel, suggestion.pixel))
    elif not _same(data.erd[i], suggestion.erd):
        result.add(Difference(i + 1, pixel, "erd", float(data.erd[i]), suggestion.erd))


def _classify(data: RunData, classifier: Classifier, part: slice, result: Verification) -> None:
    spectra = data.spectra_of(classifier.n_channels)
    by_parts = (data.start.get("sequential") or {}).get("name") == MixtureTest.__name__
    if data.abundances is not None and isinstance(classifier, HasMixture):
        _mix(data, classifier, part, result)
    labels, probabilities, verdicts = classifier.classify_batch(spectra[part])
    for j, i in enumerate(range(part.start, min(part.stop, data.n_measured))):
        recorded = (int(data.labels[i]), str(data.verdicts[i]), float(data.probabilities[i]))
        if data.failed[i] or (recorded[:2] == (0, "ill") and math.isnan(recorded[2])):
            result.not_classified += 1
            continue
        again = (int(labels[j]), str(verdicts[j]), float(probabilities[j]))
        if recorded[:2] != again[:2] or not _same(recorded[2], again[2]):
            # in the run each was classified by itself, which may round otherwise, and with its live time
            if by_parts:
                single = classify_mixed(classifier, spectra[i])
            elif getattr(classifier, "uses_live_time", False):
                single = cast(RateClassifier, classifier).classify(spectra[i], float(data.live_time_s[i]))
            else:
                single = classifier.classify(spectra[i])
            again = (int(single.label), str(single.verdict), float(single.probability))
        pixel = int(data.pixels[i])
        for what, ours, theirs in zip(("label", "verdict"), recorded, again, strict=False):
            if ours != theirs:
                result.add(Difference(i + 1, pixel, what, ours, theirs))
        if recorded[:2] == again[:2] and not _same(recorded[2], again[2]):
            result.add(Difference(i + 1, pixel, "probability", recorded[2], again[2]))
        if data.log_likelihoods is not None and hasattr(classifier, "log_likelihoods"):
            weighed = data.log_likelihoods[i]
            if not np.isnan(weighed).any():
                now = cast(HasLogLikelihoods, classifier).log_likelihoods(spectra[i])
                if not np.array_equal(weighed, now):  # bit for bit: it is the same arithmetic
                    result.add(Difference(i + 1, pixel, "log_likelihood", _short(weighed), _short(now)))


def _mix(data: RunData, classifier: HasMixture, part: slice, result: Verification) -> None:
    """Compare recorded abundances with those of the same spectra now, bit for bit: it is the same arithmetic."""
    assert data.abundances is not None
    spectra = data.spectra_of()
    for i in range(part.start, min(part.stop, data.n_measured)):
        recorded = data.abundances[i]
        if not np.isnan(recorded).any():
            pixel, again = int(data.pixels[i]), classifier.mixture(spectra[i])
            if not np.array_equal(recorded, again.abundances):
                result.add(Difference(i + 1, pixel, "abundances", _short(recorded), _short(again.abundances)))
            if data.unbounded is not None and not np.array_equal(data.unbounded[i], again.unbounded):
                now = _short(again.unbounded)
                result.add(Difference(i + 1, pixel, "unbounded", _short(data.unbounded[i]), now))


def _short(values: Any) -> str:
    return ", ".join(f"{value:.6g}" for value in values)


def _end(data: RunData, agent: Agent, result: Verification) -> None:
    stop = data.stop or {}
    if stop.get("exit_status") == "success" and not agent.should_stop() and not _ended_by_others(data):
        result.add(Difference(0, -1, "stop", stop.get("reason", ""), "the map would continue"))
    final = data.maps[-1] if data.maps else None
    if final is not None and final.get("n_measured") == np.unique(data.pixels).size:
        again = agent.map_data()
        for key in ("labels", "measured"):
            if key in final and key in again and not np.array_equal(final[key], again[key]):
                n = int((np.asarray(final[key]) != again[key]).sum())
                result.add(Difference(0, -1, "map", f"{key} as recorded", f"{n} other pixels"))


def _ended_by_others(data: RunData) -> bool:
    """Whether not the agent ended the run: an operator (``RE.stop()``, without a reason), or the budget of dose."""
    reason = str((data.stop or {}).get("reason", ""))
    budget = data.starts[-1].get("plan_args", {}).get("budget_nc")
    limit = budget.get("run") if isinstance(budget, Mapping) else None
    return not reason or (limit is not None and reason.startswith(BUDGET_SPENT))


def explain(start: Mapping[str, Any], hashes: Mapping[str, str], versions: Mapping[str, str]) -> list[str]:
    """Say what is not as it was in the run: model hashes and versions, a sentence each.

    Parameters
    ----------
    start : mapping
        Start document.
    hashes : mapping
        Hashes of the models used now, by the names of the start document's ``model_hashes``.
    versions : mapping
        Versions of the packages installed now.
    """
    found = []
    for what, recorded in start.get("model_hashes", {}).items():
        now = hashes.get(what)
        if now is not None and now != recorded:
            found.append(f"model: {what} was {recorded[:12]}…, is {now[:12]}…")
    for package, recorded in start.get("versions", {}).items():
        now = versions.get(package)
        if now != recorded:
            found.append(f"version: {package} was {recorded}, is {now or 'not installed'}")
    if DECISIONS in versions and DECISIONS not in start.get("versions", {}):
        found.append(
            "version: the run is older than the record of what decided it, which may have changed since"
        )
    return found


def _same(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-12) or (math.isnan(a) and math.isnan(b))
