"""A mixture of phases over Poisson spectra, each a shape with a Dirichlet prior, fitted by variational Bayes.

Given a spectrum's total its counts are multinomial with the shape of its phase. With Dirichlet priors on shapes and
on the phases' parts of the specimen the variational bound on the log of the evidence has a closed form (Attias 2000;
Bishop, Pattern Recognition and Machine Learning, 10.2); it compares mixtures of different numbers of phases.

Real spectra of one phase differ more than by counting: a spectrum of N counts weighs as one of
N / (1 + N / `SCATTER`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, gammaln

from .elements import ElementPrior

__all__ = ["SCATTER", "Mixture", "Shapes", "difference", "dirichlet_multinomial", "tempered"]

SCATTER = 5_000.0
"""Counts at which the scatter within a phase is as large as that of counting."""
STRENGTH = 4.0
"""Prior counts of a shape in units of the number of bins."""
SETTLED = 1e-3
"""Largest change of a responsibility at which a fit ends."""

LIKENESS = (2_000.0, 20_000.0)
"""Prior counts of a shape that is near another one."""

Floats = NDArray[np.float64]


def dirichlet_multinomial(alpha: Floats, counts: Floats) -> float:
    """Log of the marginal likelihood of counts (bins,), up to what depends on them only."""
    total = float(alpha.sum())
    norm = float(gammaln(total) - gammaln(total + counts.sum()))
    return norm + float((gammaln(alpha + counts) - gammaln(alpha)).sum())


def difference(a: Floats, b: Floats) -> float:
    """Chi-square per count by which two shapes differ, given summed counts (bins,) of each; less what chance adds.

    Eight times the Chernoff information of a count, where the shapes are alike.
    """
    total_a, total_b = max(float(a.sum()), 1.0), max(float(b.sum()), 1.0)
    mean = (a + b) / (total_a + total_b)
    some = mean > 0
    squares = float((((a / total_a - b / total_b) ** 2)[some] / mean[some]).sum())
    return squares - float(some.sum()) * (1.0 / total_a + 1.0 / total_b)


def tempered(counts: NDArray[np.int64] | Floats) -> Floats:
    """Return counts (n, bins) weighted for the scatter within a phase."""
    weighted = np.asarray(counts, np.float64)
    total = weighted.sum(axis=1, keepdims=True)
    return np.asarray(weighted / (1.0 + total / SCATTER))


class Shapes:
    """The Dirichlet prior of a phase's shape, the same for all phases: the mean shape of all spectra, weakly.

    Parameters
    ----------
    counts : (n, bins) float64
        All spectra.
    elements : ElementPrior, optional
        What the physics model says a shape can be; counts for `evidence` only.
    """

    def __init__(self, counts: Floats, elements: ElementPrior | None = None) -> None:
        self.elements = elements
        mean = counts.sum(axis=0) + 1e-3
        self.alpha = STRENGTH * counts.shape[1] * mean / mean.sum()
        self._log_norm = float(gammaln(self.alpha.sum()) - gammaln(self.alpha).sum())

    def log_evidence(self, sums: Floats) -> Floats:
        """Log of the marginal likelihood of each phase's summed counts (K, bins), up to a constant of the spectra."""
        alpha = self.alpha + sums
        return np.asarray(self._log_norm + gammaln(alpha).sum(axis=1) - gammaln(alpha.sum(axis=1)))

    def evidence(self, sums: Floats, *, quick: bool = False) -> Floats:
        """As `log_evidence`, but a shape may as well be a sum of elements, or be near that of a larger phase.

        Minerals of one family, or two alloys of the same elements, are more alike than any two curves. The mean over
        these priors is taken: a phase that is near to another one pays for the difference only. `quick`: without the
        elements.
        """
        own = self.log_evidence(sums)
        if self.elements is not None and not quick:
            own = np.logaddexp(own, self.elements.log_evidence(sums)) - np.log(2.0)
        if len(sums) == 1:
            return np.asarray(own)
        means, total = self.mean(sums), sums.sum(axis=1)
        order = np.argsort(-total, kind="stable")
        found = own.copy()
        for place, k in enumerate(order[1:].tolist(), 1):
            near = [
                dirichlet_multinomial(agreement * means[j], sums[k])
                for j in order[:place].tolist()
                for agreement in LIKENESS
            ]
            found[k] = np.logaddexp(own[k], np.logaddexp.reduce(near) - np.log(len(near))) - np.log(2.0)
        return found

    def expected_log(self, sums: Floats) -> Floats:
        """Expected log of each phase's shape, (K, bins), given its summed counts."""
        alpha = self.alpha + sums
        return np.asarray(digamma(alpha) - digamma(alpha.sum(axis=1, keepdims=True)))

    def mean(self, sums: Floats) -> Floats:
        """Expected shape of each phase, (K, bins)."""
        alpha = self.alpha + sums
        return np.asarray(alpha / alpha.sum(axis=1, keepdims=True))


class Mixture:
    """K phases fitted to spectra.

    Parameters
    ----------
    counts : (n, bins) float64
        Tempered.
    responsibility : (n, K) float64
        Where to start; each row sums to 1.
    shapes : Shapes

    Attributes
    ----------
    responsibility : (n, K) float64
        Posterior of each phase for each spectrum.
    bound : float
        Of the log of the evidence, up to what depends on the spectra only.
    """

    def __init__(self, counts: Floats, responsibility: Floats, shapes: Shapes) -> None:
        self._counts, self._shapes = counts, shapes
        self.responsibility = responsibility
        self._update()

    @property
    def n_phases(self) -> int:
        """K."""
        return int(self.responsibility.shape[1])

    def _update(self) -> None:
        self.sums = self.responsibility.T @ self._counts
        self.sizes = self.responsibility.sum(axis=0)

    def fit(self, iterations: int = 40) -> Mixture:
        """Iterate until nothing changes; returns itself."""
        for _ in range(iterations):
            again = self.posterior(self._counts)
            change = float(np.abs(again - self.responsibility).max(initial=0.0))
            self.responsibility = again
            self._update()
            if change < SETTLED:
                break
        return self

    def posterior(self, counts: Floats) -> Floats:
        """Posterior of each phase for spectra (m, bins): (m, K)."""
        parts = digamma(1.0 + self.sizes) - digamma((1.0 + self.sizes).sum())
        log = counts @ self._shapes.expected_log(self.sums).T + parts
        weights = np.exp(log - log.max(axis=1, keepdims=True))
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))

    @property
    def bound(self) -> float:
        """Of the log of the evidence, where shapes may be any curve."""
        return float(self._shapes.log_evidence(self.sums).sum()) + self._bound_of_parts()

    @property
    def evidence(self) -> float:
        """As `bound`, where shapes may as well be sums of elements."""
        return float(self._shapes.evidence(self.sums).sum()) + self._bound_of_parts()

    @property
    def quick_evidence(self) -> float:
        """As `evidence`, but shapes are no sums of elements."""
        return float(self._shapes.evidence(self.sums, quick=True).sum()) + self._bound_of_parts()

    def _bound_of_parts(self) -> float:
        r, k = self.responsibility, self.n_phases
        parts = gammaln(k) - gammaln(k + self.sizes.sum()) + gammaln(1.0 + self.sizes).sum()
        entropy = -float((r * np.log(np.maximum(r, 1e-300))).sum())
        return float(parts) + entropy
