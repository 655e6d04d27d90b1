"""How many phases there are: split where a phase holds two, merge where two are one, as long as the evidence grows.

A split is looked for along the directions in which the members of a phase differ most beyond counting. A group whose
shape lies between those of two others is a mixture of them, as at a boundary, and no phase of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from .bins import joined, joined_starts
from .elements import ElementPrior
from .mixture import Floats, Mixture, Shapes, difference, tempered
from .scatter import log_odds_of_two

__all__ = ["Apart", "Between", "Found", "discover", "split_group"]

Apart = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Two sets of spectra, by their indices, that must not become one phase."""

GAIN = 8.0
"""Log of the evidence that a split must gain: odds of 3000."""
FEWEST = 3
"""Spectra that a phase must have."""
DIRECTIONS = 3
FIRST_STEPS = 12
"""Iterations by which the cuts of a phase are compared."""
TAILS = (0.5, 0.85, 0.97)
"""Quantiles at which the members are cut along a direction, from both ends: into halves, or a few outliers."""
MOST_FOR_DIRECTIONS = 600
PURIFICATIONS = 3
"""How often phases are looked for again without the mixtures, at most."""
ALIKE = 0.004
"""Chi-square per count of which a shape may differ from a mixture of two others and still count as one."""
LEAST_DIFFERENCE = 0.008
"""Chi-square per count by which two phases differ: Chernoff's information of 1000 counts is 1. What differs less is
one phase whose composition scatters."""
CLEAR_DIFFERENCE = 0.1
"""Likewise, from which two groups are two phases however they scatter."""
LEAST_PART = 0.08
"""Part of the lesser phase in a mixture; less of it is scatter."""


@dataclass(frozen=True)
class Between:
    """A group that is a mixture of two phases."""

    first: int
    second: int
    """Their indices."""
    part: float
    """Part of the counts that is of the first."""


@dataclass(frozen=True, eq=False)
class Found:
    """What `discover` finds."""

    mixture: Mixture
    between: dict[int, Between]
    """By the index of each group that is a mixture."""
    starts: NDArray[np.int64]
    """Where the joined bins start in which the groups are compared."""

    def in_bins(self, counts: NDArray[np.int64] | Floats) -> Floats:
        """Counts (n, bins) in the joined bins of the groups."""
        return joined(np.asarray(counts, np.float64), self.starts)

    def posterior(self, counts: NDArray[np.int64] | Floats) -> Floats:
        """Posterior of each group for spectra (n, bins): (n, K)."""
        return self.mixture.posterior(joined(tempered(counts), self.starts))

    @property
    def n_phases(self) -> int:
        """Groups that are phases of their own."""
        return self.mixture.n_phases - len(self.between)


def discover(
    counts: NDArray[np.int64] | Floats,
    start: Floats | None = None,
    *,
    most: int = 24,
    elements: ElementPrior | None = None,
    apart: Sequence[Apart] = (),
) -> Found:
    """Find the phases of spectra.

    Parameters
    ----------
    counts : (n, bins) counts
        Of one detector and beam energy, in bins of about half its resolution.
    start : (n, K) float64, optional
        Responsibilities to start from, such as those before the last spectra came.
    most : int
        Groups at most, mixtures included.
    elements : ElementPrior, optional
        What a shape can be by the physics model; without it, any curve.
    apart : sequence of (indices, indices)
        Spectra that must not become one phase; they must be so in `start`.

    Returns
    -------
    Found

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> shapes = np.array([[0.5, 0.3, 0.1, 0.1], [0.1, 0.1, 0.3, 0.5]])
    >>> spectra = rng.multinomial(50, shapes[rng.integers(0, 2, 60)])
    >>> discover(spectra).n_phases
    2
    """
    starts = joined_starts(np.asarray(counts).sum(axis=0))
    weighted = joined(tempered(counts), starts)
    prior = None if elements is None else elements.joined(starts)
    begin = start if start is not None else np.ones((len(weighted), 1))
    mixture = _grown(weighted, begin, Shapes(weighted, prior), most, apart)
    between = _between_but(mixture, apart)
    for _ in range(PURIFICATIONS):
        # mixtures are many where boundaries are measured: the phases are looked for once more without them
        hard = mixture.responsibility.argmax(axis=1)
        mixed = np.isin(hard, list(between))
        if not between or apart or (~mixed).sum() < 2 * FEWEST:
            break
        pure = np.flatnonzero(~mixed)
        own = np.array([k for k in range(mixture.n_phases) if k not in between], np.int64)
        parts = mixture.responsibility[np.ix_(pure, own)] + 1e-12
        again = _grown(
            weighted[pure], parts / parts.sum(axis=1, keepdims=True), Shapes(weighted[pure], prior), most, ()
        )
        n_before = len(own)
        mixture = _put_together(weighted, mixture, again, pure, sorted(between), prior)
        between = _between_but(mixture, apart)
        if again.n_phases <= n_before:
            break
    return Found(mixture, between, starts)


def _grown(weighted: Floats, begin: Floats, shapes: Shapes, most: int, apart: Sequence[Apart]) -> Mixture:
    """Split and merge from where it begins until the evidence grows no more."""
    mixture = _merge(_drop_small(Mixture(weighted, begin, shapes).fit()), weighted, shapes, apart)
    tried: set[bytes] = set()
    while mixture.n_phases < most:
        larger = _split(mixture, weighted, shapes, tried)
        if larger is None:
            break
        after = _merge(_drop_small(larger[0]), weighted, shapes, apart)
        if after.evidence > mixture.evidence:
            mixture = after
        else:  # what was split was merged again: not twice
            tried.add(larger[1])
    return mixture


def _put_together(
    weighted: Floats,
    before: Mixture,
    pure_mixture: Mixture,
    pure: NDArray[np.int64],
    between: Sequence[int],
    prior: ElementPrior | None,
) -> Mixture:
    """Groups of the pure spectra beside the groups that were mixtures."""
    n_pure = pure_mixture.n_phases
    responsibility = np.zeros((len(weighted), n_pure + len(between)))
    responsibility[np.ix_(pure, np.arange(n_pure))] = pure_mixture.responsibility
    rest = np.setdiff1d(np.arange(len(weighted)), pure)
    parts = before.responsibility[np.ix_(rest, np.array(between, np.int64))] + 1e-12
    responsibility[np.ix_(rest, n_pure + np.arange(len(between)))] = parts / parts.sum(axis=1, keepdims=True)
    return _drop_small(Mixture(weighted, responsibility, Shapes(weighted, prior)).fit(FIRST_STEPS))


def _between_but(mixture: Mixture, apart: Sequence[Apart]) -> dict[int, Between]:
    """Groups that are mixtures, but for those that an operator has split."""
    return _mixtures(mixture, {k for pair in _groups_apart(mixture, apart) for k in pair})


def split_group(counts: NDArray[np.int64] | Floats, responsibility: Floats, group: int) -> Floats | None:
    """Split one group in two though the evidence does not ask for it; None if it cannot be.

    Parameters
    ----------
    counts : (n, bins) counts
    responsibility : (n, K) float64
    group : int

    Returns
    -------
    (n, K + 1) float64
        Responsibilities; the last group is the new one.
    """
    weighted = joined(tempered(counts), joined_starts(np.asarray(counts).sum(axis=0)))
    shapes = Shapes(weighted)
    members = np.flatnonzero(responsibility.argmax(axis=1) == group)
    best = _best_cut(weighted[members], shapes, -np.inf) if len(members) >= 2 * FEWEST else None
    if best is None:
        return None
    return _wider(responsibility, group, members, best[1])


def _wider(responsibility: Floats, group: int, members: NDArray[np.int64], parts: Floats) -> Floats:
    """Responsibilities (n, K + 1) with the members of one group split by `parts` (members, 2)."""
    wider = np.concatenate([responsibility, np.zeros((len(responsibility), 1))], axis=1)
    wider[members, -1] = wider[members, group] * parts[:, 1]
    wider[members, group] *= parts[:, 0]
    return np.asarray(wider / wider.sum(axis=1, keepdims=True))


def _groups_apart(mixture: Mixture, apart: Sequence[Apart]) -> list[tuple[int, int]]:
    """Groups that hold most of the one set and of the other."""
    pairs = []
    for one, other in apart:
        a, b = (int(mixture.responsibility[side].sum(axis=0).argmax()) for side in (one, other))
        if a != b:
            pairs.append((min(a, b), max(a, b)))
    return pairs


def _split(
    mixture: Mixture, counts: Floats, shapes: Shapes, tried: set[bytes]
) -> tuple[Mixture, bytes] | None:
    """The mixture with one phase split, the first of those that gain most; None if no split gains.

    With it comes the key of what was split, for `tried`.
    """
    hard = mixture.responsibility.argmax(axis=1)
    found: list[tuple[float, int, NDArray[np.int64], Floats]] = []
    for k in range(mixture.n_phases):
        members = np.flatnonzero(hard == k)
        key = members.tobytes()
        if len(members) < 2 * FEWEST or key in tried:
            continue
        # near a larger phase, or as a sum of elements, a split may gain that gains nothing where any curve is allowed
        best = _best_cut(counts[members], shapes, -np.inf)
        if best is None:
            tried.add(key)
            continue
        found.append((best[0], k, members, best[1]))
    before = mixture.evidence if found else 0.0
    for _, k, members, parts in sorted(found, key=lambda f: -f[0]):
        wider = _wider(mixture.responsibility, k, members, parts)
        again = Mixture(counts, wider, shapes).fit()
        if again.n_phases == wider.shape[1] and _are_one(again, k, again.n_phases - 1):
            tried.add(members.tobytes())
            continue
        if again.evidence > before + GAIN and again.sizes.min() >= FEWEST - 0.5:
            return again, members.tobytes()
        tried.add(members.tobytes())
    return None


def _best_cut(counts: Floats, shapes: Shapes, least: float) -> tuple[float, Floats] | None:
    """What splitting one phase's spectra in two gains, and the two parts; None if nothing gains more than `least`."""
    one = Mixture(counts, np.ones((len(counts), 1)), shapes).quick_evidence
    total = counts.sum(axis=1, keepdims=True)
    shape = shapes.mean(counts.sum(axis=0, keepdims=True))[0]
    residual = (counts - total * shape) / np.sqrt(np.maximum(total, 1.0) * shape)
    sample = residual[:: max(1, len(residual) // MOST_FOR_DIRECTIONS)]
    if len(sample) <= sample.shape[1]:
        _, vectors = np.linalg.eigh(sample @ sample.T)
        directions = vectors[:, ::-1][:, :DIRECTIONS].T @ sample
    else:
        _, vectors = np.linalg.eigh(sample.T @ sample)
        directions = vectors[:, ::-1][:, :DIRECTIONS].T
    best: tuple[float, Floats] | None = None
    for direction in directions:
        along = residual @ direction
        for tail in TAILS:
            for sign in (1.0, -1.0):
                beyond = sign * along > np.quantile(sign * along, tail)
                if not FEWEST <= beyond.sum() <= len(beyond) - FEWEST:
                    continue
                start = np.where(beyond[:, None], [0.05, 0.95], [0.95, 0.05])
                two = Mixture(counts, start, shapes).fit(FIRST_STEPS)
                gain = two.quick_evidence - one
                if two.sizes.min() >= FEWEST - 0.5 and gain > least and (best is None or gain > best[0]):
                    best = (gain, two.responsibility)
                if tail == 0.5:
                    break  # the other sign gives the same halves
    return best


def _merge(mixture: Mixture, counts: Floats, shapes: Shapes, apart: Sequence[Apart]) -> Mixture:
    """Merge pairs of phases as long as that loses no evidence."""
    while mixture.n_phases > 1:
        means, now = shapes.mean(mixture.sums), mixture.evidence
        kept = _groups_apart(mixture, apart)
        pairs = [pair for pair in combinations(range(mixture.n_phases), 2) if pair not in kept]
        near = sorted(pairs, key=lambda p: float(np.abs(means[p[0]] - means[p[1]]).sum()))[:6]
        for a, b in near:
            fewer = np.delete(mixture.responsibility, b, axis=1)
            fewer[:, a] += mixture.responsibility[:, b]
            merged = Mixture(counts, fewer, shapes)
            if _are_one(mixture, a, b) or merged.evidence >= now - GAIN:
                mixture = merged.fit()
                break
        else:
            break
    return mixture


def _are_one(mixture: Mixture, a: int, b: int) -> bool:
    """Whether two groups differ too little to be two phases, or are nearly alike and scatter between each other."""
    one, other = mixture.sums[a], mixture.sums[b]
    apart = difference(one, other)
    if not LEAST_DIFFERENCE <= apart < CLEAR_DIFFERENCE:
        return apart < LEAST_DIFFERENCE
    members = np.isin(mixture.responsibility.argmax(axis=1), [a, b])
    return log_odds_of_two(mixture._counts[members], one, other) < 0.0


def _drop_small(mixture: Mixture) -> Mixture:
    """Leave out phases that have lost their spectra."""
    keep = mixture.sizes >= FEWEST - 0.5
    if keep.all() or not keep.any():
        return mixture
    left = mixture.responsibility[:, keep] + 1e-12
    return Mixture(mixture._counts, left / left.sum(axis=1, keepdims=True), mixture._shapes).fit()


def _mixtures(mixture: Mixture, kept: Collection[int] = ()) -> dict[int, Between]:
    """Groups whose shape lies between those of two others; the smallest is looked at first, those of `kept` never."""
    shape = mixture._shapes.mean(mixture.sums)
    totals = np.maximum(mixture.sums.sum(axis=1), 1.0)
    between: dict[int, Between] = {}
    for k in np.argsort(mixture.sizes).tolist():
        if k in kept:
            continue
        others = [i for i in range(mixture.n_phases) if i != k and i not in between]
        own = mixture.sums[k]
        found = [_between(own, shape, totals, a, b) for a, b in combinations(others, 2)]
        inside = [f for f in found if LEAST_PART <= f[1].part <= 1.0 - LEAST_PART]
        if not inside:
            continue
        misfit, best = min(inside, key=lambda f: f[0])
        freedom = float((own + shape[k] > 0.5).sum())
        if misfit < freedom + 4.0 * np.sqrt(2.0 * freedom) + ALIKE * totals[k]:
            between[k] = best
    return between


def _between(own: Floats, shape: Floats, totals: Floats, a: int, b: int) -> tuple[float, Between]:
    """Least chi-square of summed counts (bins,) as a mixture of two shapes, and the mixture."""
    total = own.sum()
    counts = np.maximum(totals, 1.0)

    def misfit(part: float) -> float:
        expected = total * (part * shape[a] + (1.0 - part) * shape[b])
        # the shapes themselves are uncertain by their own counts
        own_spread = part**2 * shape[a] / counts[a] + (1.0 - part) ** 2 * shape[b] / counts[b]
        return float(((own - expected) ** 2 / np.maximum(expected + total**2 * own_spread, 1e-9)).sum())

    least = minimize_scalar(misfit, bounds=(0.0, 1.0), method="bounded")
    return float(least.fun), Between(a, b, float(least.x))
