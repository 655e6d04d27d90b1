"""A mixture of phases over Poisson spectra, each a shape with a Dirichlet prior, fitted by variational Bayes.

Given a spectrum's total its counts are multinomial with the shape of its phase. With Dirichlet priors on shapes and
on the phases' parts of the specimen the variational bound on the log of the evidence has a closed form (Attias 2000;
Bishop, Pattern Recognition and Machine Learning, 10.2); it compares mixtures of different numbers of phases.

Real spectra of one phase differ more than by counting: a spectrum of N counts weighs as one of
N / (1 + N / `SCATTER`).

Besides, a spectrum may be of two or three phases at once (`abundances`): what a mixture of phases explains needs no
phase of its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, gammaln

from .abundances import Abundances, abundances_of
from .elements import ElementPrior

__all__ = ["SCATTER", "Mixture", "Shapes", "difference", "dirichlet_multinomial", "tempered"]

SCATTER = 5_000.0
"""Counts at which the scatter within a phase is as large as that of counting."""
STRENGTH = 4.0
"""Prior counts of a shape in units of the number of bins."""
SETTLED = 1e-3
"""Largest change of a responsibility at which a fit ends."""
MIXTURE_STEPS = 15
"""Iterations of a fit in which mixtures change, at most."""
LOOKS = 2
"""How often it is looked for what mixtures are made of while phases are fitted."""

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
        Where to start. Each row sums to 1, or with `abundances` to less: the rest is of mixtures.
    shapes : Shapes
    abundances : Abundances, optional
        What each spectrum is made of if it is a mixture. Without it none is.

    Attributes
    ----------
    counts, shape_prior, abundances
        As given: `shape_prior` is `shapes`.
    responsibility : (n, K) float64
        Posterior of each phase for each spectrum.
    """

    def __init__(
        self, counts: Floats, responsibility: Floats, shapes: Shapes, abundances: Abundances | None = None
    ) -> None:
        self.counts, self.shape_prior, self.abundances = counts, shapes, abundances
        self.responsibility = responsibility
        self._update()

    @property
    def n_phases(self) -> int:
        """K."""
        return int(self.responsibility.shape[1])

    def _update(self) -> None:
        self.sums = self.responsibility.T @ self.counts
        if self.abundances is not None:
            self.sums += self.abundances.sums(self.counts, self.mixed, self.n_phases)
        self.sizes = self.responsibility.sum(axis=0)

    @property
    def mixed(self) -> Floats:
        """(n,): posterior of a mixture for each spectrum."""
        return np.asarray(np.clip(1.0 - self.responsibility.sum(axis=1), 0.0, 1.0))

    @property
    def hard(self) -> NDArray[np.int64]:
        """(n,): the likeliest phase of each spectrum, -1 of a mixture."""
        best = self.responsibility.argmax(axis=1)
        return np.where(self.mixed > self.responsibility.max(axis=1), -1, best)

    @property
    def amounts(self) -> Floats:
        """(K,): spectra of each phase, its parts of mixtures included."""
        if self.abundances is None:
            return np.asarray(self.sizes)
        return np.asarray(self.sizes + self.abundances.amounts(self.mixed, self.n_phases))

    @property
    def shapes(self) -> Floats:
        """(K, bins): expected shape of each phase."""
        return self.shape_prior.mean(self.sums)

    def _pair_sizes(self) -> Floats:
        """(K, K): how many spectra are mixtures of each pair."""
        if self.abundances is None:
            return np.zeros((self.n_phases, self.n_phases))
        return self.abundances.pair_sizes(self.mixed, self.n_phases)

    def abundances_of(self, counts: Floats) -> Abundances | None:
        """What spectra (m, bins) are made of if they are mixtures of the phases as they are; None of a single one."""
        if self.n_phases < 2:
            return None
        return abundances_of(counts, np.exp(self.shape_prior.expected_log(self.sums)), self._pair_sizes())

    def with_mixtures(self) -> Mixture:
        """The same phases, fitted while spectra may be mixtures of them."""
        mixture = self
        for _ in range(LOOKS):
            parts = mixture.abundances_of(self.counts)
            again = mixture.posterior(self.counts, parts)
            mixture = Mixture(self.counts, again, self.shape_prior, parts).fit(MIXTURE_STEPS)
            if parts is None:
                break
        return mixture

    def fit(self, iterations: int = 40, *, mixtures: bool = True) -> Mixture:
        """Iterate until nothing changes; returns itself. `mixtures`: what they are made of changes, too."""
        for i in range(iterations):
            if i and mixtures and self.abundances is not None:
                shapes = np.exp(self.shape_prior.expected_log(self.sums))
                self.abundances = self.abundances.refreshed(self.counts, shapes, self._pair_sizes())
            again = self.posterior(self.counts, self.abundances)
            change = float(np.abs(again - self.responsibility).max(initial=0.0))
            self.responsibility = again
            self._update()
            if change < SETTLED:
                break
        return self

    def posterior(self, counts: Floats, abundances: Abundances | None = None) -> Floats:
        """Posterior of each phase for spectra (m, bins): (m, K); with `abundances` the rest is of mixtures."""
        sizes = self.sizes if abundances is None else np.append(self.sizes, self.mixed.sum())
        parts = digamma(1.0 + sizes) - digamma((1.0 + sizes).sum())
        log = counts @ self.shape_prior.expected_log(self.sums).T
        if abundances is not None:
            log = np.concatenate([log, abundances.log_likelihood[:, None]], axis=1)
        log = log + parts
        weights = np.exp(log - log.max(axis=1, keepdims=True))
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))[:, : self.n_phases]

    @property
    def evidence(self) -> float:
        """Bound of the log of the evidence, up to what depends on the spectra only."""
        return float(self.shape_prior.evidence(self.sums).sum()) + self._bound_of_rest()

    @property
    def quick_evidence(self) -> float:
        """As `evidence`, but shapes are no sums of elements."""
        return float(self.shape_prior.evidence(self.sums, quick=True).sum()) + self._bound_of_rest()

    def _bound_of_rest(self) -> float:
        """What parts, membership and mixtures add to the bound."""
        r, sizes = self.responsibility, self.sizes
        mixtures = 0.0
        if self.abundances is not None:
            mixed = self.mixed
            r, sizes = np.concatenate([r, mixed[:, None]], axis=1), np.append(sizes, mixed.sum())
            mixtures = float(mixed @ self.abundances.rest)
        k = len(sizes)
        parts = gammaln(k) - gammaln(k + sizes.sum()) + gammaln(1.0 + sizes).sum()
        entropy = -float((r * np.log(np.maximum(r, 1e-300))).sum())
        return float(parts) + entropy + mixtures
