"""A dose that follows the sample where boundaries mix phases: what has to be sure is which phase has most.

At a boundary no dose makes a spectrum one of a pure phase, so that the test for pure phases (`dwell`) stops early and
is wrong. Here mixtures are hypotheses too (`protocols.HasMixture`). An acquisition ends once

- a phase has the largest part, or one so near to it that it hardly matters, with probability 1 − ε: under 0.4 of the
  volume with probability ε at most, where no more than `PURE_SHARE` of spectra are of one phase alone; or
- the abundances are known to `abundance_sd`: then the spectrum says where its boundary is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from ..errors import ConfigError
from ..protocols import Classification, Classifier, HasMixture, HasPosterior, Mixture
from .dwell import FLAG_COUNTS, LEAST_COUNTS, SequentialTest

__all__ = ["MixtureTest", "boundary_tolerance", "classify_mixed", "mixture_dwell"]

POSITION_SD = 0.025
"""How well a boundary is located by one spectrum, in standard deviations of the interaction volume: what is less well
located is given up, and spectra that are nearly half and half are where a map's errors come from."""
FALSE_MIXED = 0.02
"""A spectrum is called mixed where one phase alone has at most this probability: of pure ones no larger part is."""
PURE_SHARE = 0.1
"""Share of spectra of one phase alone that the rule reckons with. Of all it is larger; but a sampler measures most
where phases meet, and what is rarely pure must not end as pure by its first counts."""
MARGIN = 0.1
"""As in the classifier's `Mixture.far_wrong`."""


def boundary_tolerance(position_sd: float = POSITION_SD) -> float:
    """Uncertainty of an abundance near one half that locates a straight boundary to `position_sd` (in σ).

    At a distance x σ from a straight boundary an abundance is Φ(x), which changes by φ(0) = 0.4 a σ there.

    Examples
    --------
    >>> round(boundary_tolerance(0.25), 3)
    0.1
    """
    if not 0.0 < position_sd < 10.0:
        raise ConfigError(f"adaptive dwell: the boundary's position_sd must be over 0, not {position_sd}")
    return position_sd / math.sqrt(2.0 * math.pi)


class MixtureTest(SequentialTest):
    """Decides, look by look, whether one spectrum has grown enough for its largest part. Pure: no clock, no device.

    Parameters
    ----------
    classifier : HasPosterior and HasMixture
    error, cap_s : float
        As in `SequentialTest`; ε is the probability that the label's phase has less than 0.4.
    abundance_sd : float
        Uncertainty of the largest part at which the acquisition ends whatever its label.

    Raises
    ------
    ConfigError
        If the classifier gives no abundances, or a number cannot be.
    """

    def __init__(
        self, classifier: Any, error: float = 1e-3, cap_s: float = 10.0, abundance_sd: float | None = None
    ) -> None:
        if not (isinstance(classifier, HasMixture) and isinstance(classifier, HasPosterior)):
            raise ConfigError(
                "mixed spectra need a classifier that gives abundances, such as train: likelihood"
            )
        super().__init__(classifier, error, cap_s)
        self.abundance_sd = boundary_tolerance() if abundance_sd is None else float(abundance_sd)
        if not 0.0 < self.abundance_sd < 1.0:
            raise ConfigError(f"adaptive dwell: abundance_sd must be over 0 and under 1, not {abundance_sd}")
        self._mixing = classifier

    def reset(self) -> None:
        """Forget the spectrum; the next `update` starts another pixel."""
        super().reset()
        self._wanted = 0.0

    def update(self, counts: NDArray[Any], live_time_s: float) -> Classification | None:
        """Look at the spectrum so far; as `SequentialTest.update`."""
        found = self._mixing.mixture(counts)
        self._total = float(np.sum(counts))
        self._wanted = self._counts_wanted(found)
        enough = _far_wrong(found) <= self.error or found.abundance_sd.max() <= self.abundance_sd
        capped = live_time_s >= self.cap_s
        if not capped and (self._total < LEAST_COUNTS or not enough):
            return None
        decision = classify_mixed(self._mixing, counts, found)
        strange = decision.verdict in ("unknown", "ill")
        if strange and not capped and self._total < max(2.0 * self._flagged_at, FLAG_COUNTS):
            self._flagged_at = min(self._flagged_at, self._total)
            return None
        return decision

    def _counts_wanted(self, found: Mixture) -> float:
        """Counts at which either condition should hold: an uncertainty falls as one over their root."""
        sd = max(float(found.abundance_sd.max()), 1e-6)
        over = max(float(found.abundances[found.majority - 1]) - 0.5 + MARGIN, 1e-3)
        needed = max(over / -float(ndtri(self.error)), self.abundance_sd)
        return self._total * (sd / needed) ** 2

    def next_counts(self) -> int:
        """Count preset for the next acquisition; at most as many as there are already. See `SequentialTest`."""
        if self._total <= 0:
            return self._first
        least = max(2.0, 0.5 * self._first)
        return math.ceil(min(max(least, 1.1 * self._wanted - self._total), max(self._total, least)))


def _far_wrong(found: Mixture) -> float:
    """Probability that the label is far wrong, were spectra of one phase alone as rare as `PURE_SHARE`.

    The classifier holds them to be as frequent as mixtures. Pure spectra of another phase than the label's are
    counted with the mixtures: that errs towards more counts.
    """
    mixed = 1.0 - found.pure * (1.0 - PURE_SHARE / (1.0 - PURE_SHARE))
    return found.far_wrong / mixed


def classify_mixed(classifier: Any, counts: NDArray[Any], found: Mixture | None = None) -> Classification:
    """Classify a spectrum by its largest part: what `MixtureTest` decides once it has ended an acquisition.

    Parameters
    ----------
    classifier : Classifier and HasMixture
    counts : (n_channels,) array
    found : Mixture, optional
        Of these counts, if it is known already.

    Returns
    -------
    Classification
        ``mixed`` where one phase alone is improbable (`FALSE_MIXED`), else ``ok``, with the label of the largest
        part; as the classifier says where the spectrum is of none of the phases, or nearly empty.
    """
    decision: Classification = classifier.classify(counts)
    few = decision.verdict == "low_counts" and float(np.sum(counts)) < LEAST_COUNTS
    if few or decision.verdict in ("unknown", "ill"):
        return decision
    parts = classifier.mixture(counts) if found is None else found
    return Classification(parts.majority, parts.probability, "ok" if parts.pure > FALSE_MIXED else "mixed")


def mixture_dwell(
    classifier: Classifier | None, error: float, cap_s: float, position_sd: float = POSITION_SD
) -> MixtureTest | None:
    """Stop rule for specimens with an interaction volume; None for a fixed dwell, as `dwell.adaptive_dwell`.

    Raises
    ------
    ConfigError
        If the classifier gives no abundances, or a number is out of bounds.
    """
    if not error or classifier is None:
        return None
    return MixtureTest(classifier, error, cap_s, boundary_tolerance(position_sd))
