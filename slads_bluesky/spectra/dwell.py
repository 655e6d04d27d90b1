"""A dose that follows the sample: acquire until the classifier is sure enough, or the cap is reached.

Wald's sequential test in Bayes' form: look at the spectrum as it grows and stop once the posterior of a phase exceeds
1 - ε. Of the spectra stopped so, a fraction of at most ε is wrong, however often one looked (the posterior is a
martingale). Stopping on a phase also needs that the spectrum fits it; a flagged one is acquired further, until its
counts have doubled and are at least `FLAG_COUNTS`, and is then decided by `classify`: mixed, unknown or ill. What is
still uncertain at the cap is ``low_counts`` or ``mixed``, not a guess.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..protocols import UNCLASSIFIED, Classification, Classifier, HasPosterior

__all__ = ["SequentialTest", "adaptive_dwell", "count_preset"]

LEAST_COUNTS = 4
"""No decision under so many counts."""
FIRST_SHARE = 0.15
"""Part of the spectra that should be decided at the first look: fewer, and looks are wasted; more, and counts are."""
FIRST_DRAWS = 50
"""Spectra drawn of each phase to learn the counts of the first look."""
FIRST_MOST = 1024
NEXT_PART = 0.7
"""Part of the counts expected to be missing that are asked for at a look."""
FLAG_COUNTS = 200
"""A flag is only accepted from so many counts on."""
MOST_COUNTS = 10_000_000


class SequentialTest:
    """Decides, look by look, whether one spectrum has grown enough. Pure: no clock, no device.

    Parameters
    ----------
    classifier : HasPosterior
    error : float
        ε, the accepted probability of a wrong phase, over 0 and under 0.5.
    cap_s : float
        Live time at which the acquisition ends whatever is known, in s.

    Raises
    ------
    ConfigError
        If ε or the cap cannot be.
    """

    def __init__(self, classifier: HasPosterior, error: float = 1e-3, cap_s: float = 10.0) -> None:
        if not 0.0 < error < 0.5:
            raise ConfigError(f"adaptive dwell: the error must be over 0 and under 0.5, not {error}")
        if not (math.isfinite(cap_s) and cap_s > 0):
            raise ConfigError(f"adaptive dwell: the cap must be a positive time in s, not {cap_s}")
        self.classifier = classifier
        self.error = error
        self.cap_s = cap_s
        self._first = first_look(classifier, error)
        self._asked = 0
        self._prior = np.zeros(0)
        self.reset()

    def expect(self, counts: int, prior: Sequence[float] = ()) -> None:
        """Let the next spectra be of so many counts, and end before where their phase is certain.

        For a sampler that takes evidence: what one spectrum leaves open, those around it may settle, and what those
        around it say of the phase counts as much as its own counts.

        Parameters
        ----------
        counts : int
            0: until the phase is certain by the spectrum alone.
        prior : sequence of float
            Probability of each phase by all that is known of the map; empty: the counts alone decide.
        """
        self._asked = int(counts)
        self._prior = np.asarray(prior, np.float64)

    def reset(self) -> None:
        """Forget the spectrum; the next `update` starts another pixel."""
        self._flagged_at = math.inf
        self._total = 0.0
        self._odds = 0.0
        self._slope = 0.0

    def update(self, counts: NDArray[Any], live_time_s: float) -> Classification | None:
        """Look at the spectrum so far.

        Parameters
        ----------
        counts : (n_channels,) array
            All counts since the acquisition began.
        live_time_s : float
            Live time since then, in s.

        Returns
        -------
        Classification or None
            The decision, or None to continue the acquisition.

        Raises
        ------
        DataError
            If it is no such spectrum.
        """
        total, best, probability, flagged, posterior = self.classifier.evidence(counts)
        capped = live_time_s >= self.cap_s
        self._remember(total, posterior)
        if self._asked:
            if capped or float(np.sum(counts)) >= self._asked or self._certain(total, posterior):
                return self.classifier.classify(counts)
        elif total >= LEAST_COUNTS:
            sure = probability >= 1.0 - self.error
            if sure and not flagged:
                return Classification(best + 1, probability, "ok")
            if flagged:
                self._flagged_at = min(self._flagged_at, total)
                if total >= max(2.0 * self._flagged_at, FLAG_COUNTS) or posterior[-1] >= 1.0 - self.error:
                    decision = self.classifier.classify(counts)
                    if decision.verdict != "low_counts" and (decision.verdict != "ok" or sure):
                        return decision
        if not capped:
            return None
        decision = self.classifier.classify(counts)
        if decision.verdict == "ok" and decision.probability < 1.0 - self.error:
            return Classification(UNCLASSIFIED, decision.probability, "low_counts")
        return decision

    def _certain(self, total: float, posterior: NDArray[np.float64]) -> bool:
        """Whether counts and prior together leave no more than ε to other phases than the likeliest, or to none."""
        if self._prior.size != posterior.size - 1 or total < LEAST_COUNTS:
            return False
        both = posterior[:-1] * self._prior * self._prior.size
        return bool(both.max() >= (1.0 - self.error) * (both.sum() + posterior[-1]))

    def _remember(self, total: float, posterior: NDArray[np.float64]) -> None:
        first, second = np.sort(posterior)[[-1, -2]]
        self._total = total
        self._odds = math.log(max(first, 1e-300) / max(second, 1e-300))
        self._slope = self._odds / total if total > 0 else 0.0

    def next_counts(self) -> int:
        """Count preset for the next acquisition on a detector that can stop at presets only.

        For a fresh pixel those of `first_look`. Then most of what the log-odds that are still missing should take, at
        the rate at which they came so far; at least half of the first, and at most as many as there are already.
        """
        if self._asked:
            return max(1, math.ceil(self._asked - self._total))
        if self._total <= 0:
            return self._first
        least = max(2.0, 0.5 * self._first)
        if self._slope <= 0:
            return math.ceil(max(least, self._total))
        missing = math.log((1.0 - self.error) / self.error) - self._odds
        return math.ceil(min(max(least, NEXT_PART * missing / self._slope), max(self._total, least)))


def first_look(classifier: HasPosterior, error: float) -> int:
    """Counts at which the first look at a spectrum is worth its time: `FIRST_SHARE` of spectra are decided there.

    Of powders that is a few counts, of like alloys dozens; a constant wastes counts on the first and looks on the
    second. Drawn from the classifier's own phases with a fixed seed, to about a quarter, and kept for the next test.

    Parameters
    ----------
    classifier : HasPosterior
    error : float
        ε of the test.

    Returns
    -------
    int
        `LEAST_COUNTS` to `FIRST_MOST`.
    """
    known: dict[tuple[str, float], int] = _FIRST
    key = (classifier.sha256, error)
    if key not in known:
        counts = LEAST_COUNTS
        while counts < FIRST_MOST and _decided(classifier, error, counts) < FIRST_SHARE:
            counts = math.ceil(1.25 * counts)
        known[key] = counts
    return known[key]


_FIRST: dict[tuple[str, float], int] = {}


def _decided(classifier: HasPosterior, error: float, counts: int) -> float:
    """Part of the spectra of so many counts that the posterior decides, mean over the phases."""
    rng = np.random.default_rng(counts)
    drawn = [classifier.draw_posteriors(p, counts, FIRST_DRAWS, rng) for p in range(len(classifier.phases))]
    return float(np.mean([np.max(one[:, :-1], axis=1) >= 1.0 - error for one in drawn]))


def adaptive_dwell(classifier: Classifier | None, error: float, cap_s: float) -> SequentialTest | None:
    """Stop rule of a detector: each acquisition ends as soon as its phase is certain enough, or at the cap.

    Parameters
    ----------
    classifier : Classifier or None
    error : float
        Accepted probability of a wrong phase; 0 for a fixed dwell.
    cap_s : float
        Longest live time of an acquisition, in s.

    Returns
    -------
    SequentialTest or None
        None where the dwell is fixed: no error is accepted, or there is no classifier.

    Raises
    ------
    ConfigError
        If the classifier has no posterior, or the error or the cap is out of bounds.
    """
    if not error or classifier is None:
        return None
    if not isinstance(classifier, HasPosterior):
        raise ConfigError(
            "an adaptive dwell (dose.error) needs a classifier with a posterior, such as train: likelihood; "
            "the paper's networks have none, with them the error is 0"
        )
    return SequentialTest(classifier, error, cap_s)


def count_preset(classifier: HasPosterior, error: float = 1e-3, *, n_draws: int = 400, seed: int = 0) -> int:
    """Counts at which the phase of a spectrum is wrong with probability `error` at most.

    The equivalent of the sequential test for a detector that can only stop at one preset number of counts (the mca
    record's PCT): the smallest number at which, for every phase, the posterior leaves no more than ε to others on
    average over spectra drawn from that phase. To about 5 %.

    Parameters
    ----------
    classifier : HasPosterior
    error : float
    n_draws : int
        Spectra drawn per phase and trial.
    seed : int

    Returns
    -------
    int

    Raises
    ------
    ConfigError
        If no number up to 10⁷ is enough: two phases that are the same.
    """
    if not 0.0 < error < 0.5:
        raise ConfigError(f"count preset: the error must be over 0 and under 0.5, not {error}")

    def enough(counts: int) -> bool:
        rng = np.random.default_rng([seed, counts])
        return all(
            float(np.mean([1.0 - p[phase] for p in classifier.draw_posteriors(phase, counts, n_draws, rng)]))
            <= error
            for phase in range(len(classifier.phases))
        )

    high = 16
    while not enough(high):
        high *= 2
        if high > MOST_COUNTS:
            raise ConfigError(
                f"count preset: {MOST_COUNTS} counts do not separate {classifier.phases} at {error}"
            )
    low = high // 2
    while high - low > max(1, high // 20):
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
