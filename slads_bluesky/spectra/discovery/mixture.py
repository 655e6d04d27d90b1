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

__all__ = ["SCATTER", "Mixture", "Shapes", "tempered"]

SCATTER = 2_000.0
"""Counts at which the scatter within a phase is as large as that of counting."""
STRENGTH = 1.0
"""Prior counts of a shape in units of the number of bins."""
SETTLED = 1e-3
"""Largest change of a responsibility at which a fit ends."""

Floats = NDArray[np.float64]


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
    """

    def __init__(self, counts: Floats) -> None:
        mean = counts.sum(axis=0) + 1e-3
        self.alpha = STRENGTH * counts.shape[1] * mean / mean.sum()
        self._log_norm = float(gammaln(self.alpha.sum()) - gammaln(self.alpha).sum())

    def log_evidence(self, sums: Floats) -> Floats:
        """Log of the marginal likelihood of each phase's summed counts (K, bins), up to a constant of the spectra."""
        alpha = self.alpha + sums
        return np.asarray(self._log_norm + gammaln(alpha).sum(axis=1) - gammaln(alpha.sum(axis=1)))

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
        """Of the log of the evidence."""
        r, k = self.responsibility, self.n_phases
        parts = gammaln(k) - gammaln(k + self.sizes.sum()) + gammaln(1.0 + self.sizes).sum()
        entropy = -float((r * np.log(np.maximum(r, 1e-300))).sum())
        return float(self._shapes.log_evidence(self.sums).sum() + parts + entropy)
