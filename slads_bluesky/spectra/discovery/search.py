"""How many phases there are: split where a phase holds two, merge where two are one, as long as the evidence grows.

A split is looked for along the directions in which the members of a phase differ most beyond counting. A group whose
shape lies between those of two others is a mixture of them, as at a boundary, and no phase of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from .mixture import Floats, Mixture, Shapes, tempered

__all__ = ["Between", "Found", "discover"]

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
ALIKE = 0.02
"""Chi-square per count of which a shape may differ from a mixture of two others and still count as one."""
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

    @property
    def n_phases(self) -> int:
        """Groups that are phases of their own."""
        return self.mixture.n_phases - len(self.between)


def discover(counts: NDArray[np.int64] | Floats, start: Floats | None = None, *, most: int = 24) -> Found:
    """Find the phases of spectra.

    Parameters
    ----------
    counts : (n, bins) counts
        Of one detector and beam energy, in bins of about half its resolution.
    start : (n, K) float64, optional
        Responsibilities to start from, such as those before the last spectra came.
    most : int
        Groups at most, mixtures included.

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
    weighted = tempered(counts)
    shapes = Shapes(weighted)
    begin = start if start is not None else np.ones((len(weighted), 1))
    mixture = _merge(_drop_small(Mixture(weighted, begin, shapes).fit()), weighted, shapes)
    tried: set[bytes] = set()
    while mixture.n_phases < most:
        larger = _split(mixture, weighted, shapes, tried)
        if larger is None:
            break
        mixture = _merge(_drop_small(larger), weighted, shapes)
    return Found(mixture, _mixtures(mixture))


def _split(mixture: Mixture, counts: Floats, shapes: Shapes, tried: set[bytes]) -> Mixture | None:
    """The mixture with one phase split, the first of those that gain most; None if no split gains."""
    hard = mixture.responsibility.argmax(axis=1)
    found: list[tuple[float, int, NDArray[np.int64], Floats]] = []
    for k in range(mixture.n_phases):
        members = np.flatnonzero(hard == k)
        key = members.tobytes()
        if len(members) < 2 * FEWEST or key in tried:
            continue
        best = _best_cut(counts[members], shapes)
        if best is None:
            tried.add(key)
            continue
        found.append((best[0], k, members, best[1]))
    for _, k, members, parts in sorted(found, key=lambda f: -f[0]):
        wider = np.concatenate([mixture.responsibility, np.zeros((len(counts), 1))], axis=1)
        wider[members, -1] = wider[members, k] * parts[:, 1]
        wider[members, k] *= parts[:, 0]
        wider /= wider.sum(axis=1, keepdims=True)
        again = Mixture(counts, wider, shapes).fit()
        if again.bound > mixture.bound + GAIN and again.sizes.min() >= FEWEST - 0.5:
            return again
        tried.add(members.tobytes())
    return None


def _best_cut(counts: Floats, shapes: Shapes) -> tuple[float, Floats] | None:
    """What splitting one phase's spectra in two gains, and the two parts; None if nothing does."""
    one = Mixture(counts, np.ones((len(counts), 1)), shapes).bound
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
                gain = two.bound - one
                if two.sizes.min() >= FEWEST - 0.5 and gain > GAIN and (best is None or gain > best[0]):
                    best = (gain, two.responsibility)
                if tail == 0.5:
                    break  # the other sign gives the same halves
    return best


def _merge(mixture: Mixture, counts: Floats, shapes: Shapes) -> Mixture:
    """Merge pairs of phases as long as that loses no evidence."""
    while mixture.n_phases > 1:
        means = shapes.mean(mixture.sums)
        pairs = list(combinations(range(mixture.n_phases), 2))
        near = sorted(pairs, key=lambda p: float(np.abs(means[p[0]] - means[p[1]]).sum()))[:6]
        for a, b in near:
            fewer = np.delete(mixture.responsibility, b, axis=1)
            fewer[:, a] += mixture.responsibility[:, b]
            merged = Mixture(counts, fewer, shapes)
            if merged.bound >= mixture.bound - GAIN:
                mixture = merged.fit()
                break
        else:
            break
    return mixture


def _drop_small(mixture: Mixture) -> Mixture:
    """Leave out phases that have lost their spectra."""
    keep = mixture.sizes >= FEWEST - 0.5
    if keep.all() or not keep.any():
        return mixture
    left = mixture.responsibility[:, keep] + 1e-12
    return Mixture(mixture._counts, left / left.sum(axis=1, keepdims=True), mixture._shapes).fit()


def _mixtures(mixture: Mixture) -> dict[int, Between]:
    """Groups whose shape lies between those of two larger ones; the smallest group is looked at first."""
    shape = mixture._shapes.mean(mixture.sums)
    totals = np.maximum(mixture.sums.sum(axis=1), 1.0)
    between: dict[int, Between] = {}
    for k in np.argsort(mixture.sizes).tolist():
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
