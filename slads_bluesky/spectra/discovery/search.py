"""How many phases there are: split where a phase holds two, merge where two are one, as long as the evidence grows.

A split is looked for along the directions in which the members of a phase differ most beyond counting, and a new
phase also among the spectra that are mixtures of others. A phase whose spectra are as well explained as mixtures
of two others, as at a boundary, is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from .abundances import Abundances, abundances_of
from .bins import joined, joined_starts
from .elements import ElementPrior
from .mixture import Floats, Mixture, Shapes, difference, tempered
from .scatter import log_odds_of_two

__all__ = ["Apart", "Found", "discover", "split_group"]

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
ALIKE = 0.004
"""Chi-square per count of which a shape may differ from a mixture of others and still count as one."""
MOST_PART = 0.85
"""Largest part in a mixture of others; what holds more of one phase is compared with that one."""
LEAST_DIFFERENCE = 0.008
"""Chi-square per count by which two phases differ: Chernoff's information of 1000 counts is 1. What differs less is
one phase whose composition scatters."""
CLEAR_DIFFERENCE = 0.1
"""Likewise, from which two groups are two phases however they scatter."""
NEARLY = 300.0
"""Log of the likelihood that the spectra of a phase may lose as mixtures, about what a shape of its own costs; only
then the evidence without it is looked at."""


@dataclass(frozen=True, eq=False)
class Found:
    """What `discover` finds."""

    mixture: Mixture
    starts: NDArray[np.int64]
    """Where the joined bins start in which the groups are compared."""

    def in_bins(self, counts: NDArray[np.int64] | Floats) -> Floats:
        """Counts (n, bins) in the joined bins of the groups."""
        return joined(np.asarray(counts, np.float64), self.starts)

    def posterior(self, counts: Floats) -> tuple[Floats, Abundances | None]:
        """Posterior of each phase for spectra (n, joined bins), (n, K), and what they are if they are mixtures."""
        weighted = tempered(counts)
        parts = self.mixture.abundances_of(weighted)
        return self.mixture.posterior(weighted, parts), parts

    @property
    def n_phases(self) -> int:
        """Phases."""
        return self.mixture.n_phases


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
        Responsibilities to start from, such as those before the last spectra came; less than 1 in all where a
        spectrum may be a mixture.
    most : int
        Phases at most.
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
    shapes = Shapes(weighted, prior)
    mixture = _settled(Mixture(weighted, begin, shapes), apart)
    tried: set[bytes] = set()
    while mixture.n_phases < most:
        larger = _split(mixture, tried)
        if larger is None:
            break
        after = _settled(larger[0], apart)
        if after.evidence > mixture.evidence:
            mixture = after
        else:  # what was split was merged again: not twice
            tried.add(larger[1])
    return Found(mixture, starts)


def _settled(mixture: Mixture, apart: Sequence[Apart]) -> Mixture:
    """Phases without those that have lost their spectra, are one with another or are mixtures."""
    return _pruned(_merge(_drop_small(mixture.with_mixtures()), apart), apart)


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
    return np.asarray(wider)


def _groups_apart(mixture: Mixture, apart: Sequence[Apart]) -> list[tuple[int, int]]:
    """Groups that hold most of the one set and of the other."""
    pairs = []
    for one, other in apart:
        a, b = (int(mixture.responsibility[side].sum(axis=0).argmax()) for side in (one, other))
        if a != b:
            pairs.append((min(a, b), max(a, b)))
    return pairs


def _split(mixture: Mixture, tried: set[bytes]) -> tuple[Mixture, bytes] | None:
    """The mixture with one phase more, the first of those that gain most; None if none gains.

    With it comes the key of what was split, for `tried`.
    """
    shapes = mixture.shape_prior
    found: list[tuple[float, int, bytes, Mixture]] = []
    for k in range(mixture.n_phases):
        members, own = _members(mixture, k)
        key = members.tobytes()
        if len(members) < 2 * FEWEST or key in tried:
            continue
        # near a larger phase, or as a sum of elements, a split may gain that gains nothing where any curve is allowed
        best = _best_cut(own, shapes, -np.inf)
        if best is None:
            tried.add(key)
            continue
        found.append((best[0], k, key, _halved(mixture, k, members, best[1])))
    found += _new_among_mixtures(mixture, tried)
    before = mixture.evidence if found else 0.0
    for _, k, key, wider in sorted(found, key=lambda f: -f[0]):
        again = wider.fit(FIRST_STEPS, mixtures=False)
        if again.evidence > before + GAIN and again.amounts.min() >= FEWEST - 0.5:
            if k < 0 or not _are_one(again, k, again.n_phases - 1):
                return again, key
            # two that are nearly alike differ in mixtures, too, and part slowly
            again = again.with_mixtures().with_mixtures()
            if again.evidence > before + GAIN and not _are_one(again, k, again.n_phases - 1):
                return again, key
        tried.add(key)
    return None


def _members(mixture: Mixture, k: int) -> tuple[NDArray[np.int64], Floats]:
    """Spectra of which a phase has the largest part, and those of their counts (m, bins) that are its own."""
    members, parts = mixture.hard == k, mixture.abundances
    if parts is None:
        return np.flatnonzero(members), mixture.counts[members]
    mixed = (mixture.mixed > 0.5) & (parts.larger == k)
    rows = np.flatnonzero(members | mixed)
    share = (parts.share[rows] * (parts.phases[rows] == k)[:, :, None]).sum(axis=1)
    return rows, mixture.counts[rows] * np.where(mixed[rows, None], share, 1.0)


def _halved(mixture: Mixture, k: int, members: NDArray[np.int64], halves: Floats) -> Mixture:
    """The same with a phase split by the halves (members, 2) of its spectra, in mixtures as well."""
    wider, parts = _wider(mixture.responsibility, k, members, halves), mixture.abundances
    if parts is not None:
        phases = parts.phases.copy()
        of_new = members[halves[:, 1] > 0.5]
        phases[of_new] = np.where(phases[of_new] == k, mixture.n_phases, phases[of_new])
        parts = replace(parts, phases=phases)
    return Mixture(mixture.counts, wider, mixture.shape_prior, parts)


def _new_among_mixtures(mixture: Mixture, tried: set[bytes]) -> list[tuple[float, int, bytes, Mixture]]:
    """A phase among the spectra that count as mixtures, for each phase that is the larger one in them.

    Returns
    -------
    list of (float, int, bytes, Mixture)
        What it gains about, -1, the key of the spectra, and the phases with it.
    """
    parts = mixture.abundances
    if parts is None:
        return []
    counts, shapes, found = mixture.counts, mixture.shape_prior, []
    mixed = mixture.mixed > 0.5
    for k in range(mixture.n_phases):
        members = np.flatnonzero(mixed & (parts.larger == k))
        key = b"mixtures" + members.tobytes()
        if len(members) < FEWEST or key in tried:
            continue
        own, expected = counts[members], parts[members].shapes(shapes.mean(mixture.sums))
        best: tuple[float, Floats] | None = None
        for beyond in _cuts(own, expected):
            new = _best_new(own, beyond, parts.log_likelihood[members], shapes)
            if new is not None and (best is None or new[0] > best[0]):
                best = new
        if best is None:
            tried.add(key)
            continue
        wider = np.concatenate([mixture.responsibility, np.zeros((len(counts), 1))], axis=1)
        wider[members, -1] = mixture.mixed[members] * best[1]
        found.append((best[0], -1, key, Mixture(counts, wider, shapes, parts)))
    return found


def _best_new(
    counts: Floats, beyond: NDArray[np.bool_], explained: Floats, shapes: Shapes
) -> tuple[float, Floats] | None:
    """What a phase that begins with the spectra `beyond` gains over what explains them, and their parts (n,)."""
    part = np.where(beyond, 0.95, 0.05)
    for _ in range(FIRST_STEPS):
        size = part.sum()
        if size < FEWEST - 0.5:
            return None
        odds = counts @ shapes.expected_log((part @ counts)[None])[0] - explained
        odds += np.log(size) - np.log(max(len(part) - size, 0.5))
        part = 1.0 / (1.0 + np.exp(-np.clip(odds, -50.0, 50.0)))
    if part.sum() < FEWEST - 0.5:
        return None
    return float(shapes.evidence((part @ counts)[None], quick=True)[0] - part @ explained), part


def _best_cut(counts: Floats, shapes: Shapes, least: float) -> tuple[float, Floats] | None:
    """What splitting one phase's spectra in two gains, and the two parts; None if nothing gains more than `least`."""
    one = Mixture(counts, np.ones((len(counts), 1)), shapes).quick_evidence
    shape = shapes.mean(counts.sum(axis=0, keepdims=True))[0]
    best: tuple[float, Floats] | None = None
    for beyond in _cuts(counts, shape):
        start = np.where(beyond[:, None], [0.05, 0.95], [0.95, 0.05])
        two = Mixture(counts, start, shapes).fit(FIRST_STEPS)
        gain = two.quick_evidence - one
        if two.sizes.min() >= FEWEST - 0.5 and gain > least and (best is None or gain > best[0]):
            best = (gain, two.responsibility)
    return best


def _cuts(counts: Floats, shape: Floats) -> Iterator[NDArray[np.bool_]]:
    """Spectra that lie beyond a cut along a direction in which they differ from `shape` more than by counting."""
    total = counts.sum(axis=1, keepdims=True)
    residual = (counts - total * shape) / np.sqrt(np.maximum(total, 1.0) * shape)
    sample = residual[:: max(1, len(residual) // MOST_FOR_DIRECTIONS)]
    if len(sample) <= sample.shape[1]:
        _, vectors = np.linalg.eigh(sample @ sample.T)
        directions = vectors[:, ::-1][:, :DIRECTIONS].T @ sample
    else:
        _, vectors = np.linalg.eigh(sample.T @ sample)
        directions = vectors[:, ::-1][:, :DIRECTIONS].T
    for direction in directions:
        along = residual @ direction
        for tail in TAILS:
            for sign in (1.0, -1.0):
                beyond = sign * along > np.quantile(sign * along, tail)
                if FEWEST <= beyond.sum() <= len(beyond) - FEWEST:
                    yield beyond
                    if tail == 0.5:
                        break  # the other sign gives the same halves


def _merge(mixture: Mixture, apart: Sequence[Apart]) -> Mixture:
    """Merge pairs of phases as long as that loses no evidence."""
    while mixture.n_phases > 1:
        means, now = mixture.shape_prior.mean(mixture.sums), mixture.evidence
        kept = _groups_apart(mixture, apart)
        pairs = [pair for pair in combinations(range(mixture.n_phases), 2) if pair not in kept]
        near = sorted(pairs, key=lambda p: float(np.abs(means[p[0]] - means[p[1]]).sum()))[:6]
        for a, b in near:
            fewer = _joined(mixture, a, b)
            if _are_one(mixture, a, b) or fewer.evidence >= now - GAIN:
                mixture = fewer.with_mixtures()
                break
        else:
            break
    return mixture


def _joined(mixture: Mixture, a: int, b: int) -> Mixture:
    """The same with the spectra of phase b as those of phase a, b > a."""
    fewer = np.delete(mixture.responsibility, b, axis=1)
    fewer[:, a] += mixture.responsibility[:, b]
    if mixture.n_phases == 2:
        fewer = np.ones_like(fewer)  # nothing is a mixture of one phase
    return Mixture(mixture.counts, fewer, mixture.shape_prior, _renamed(mixture, b, a))


def _without(mixture: Mixture, k: int) -> Mixture:
    """The same without phase k: its spectra are of none until it is fitted."""
    fewer = np.delete(mixture.responsibility, k, axis=1)
    return Mixture(mixture.counts, fewer, mixture.shape_prior, _renamed(mixture, k, 0))


def _renamed(mixture: Mixture, gone: int, into: int) -> Abundances | None:
    """Pairs of a mixture as they are named without a phase."""
    if mixture.abundances is None or mixture.n_phases < 3:
        return None
    indices = np.arange(mixture.n_phases)
    indices[gone + 1 :] -= 1
    indices[gone] = into
    return mixture.abundances.renamed(indices)


def _pruned(mixture: Mixture, apart: Sequence[Apart]) -> Mixture:
    """Leave out phases that are mixtures of others, or whose spectra are as well explained so, the smallest first."""
    while mixture.n_phases > 2:
        kept = {k for pair in _groups_apart(mixture, apart) for k in pair}
        now, hard = mixture.evidence, mixture.hard
        expected = mixture.shape_prior.expected_log(mixture.sums)
        for k in np.argsort(mixture.sizes).tolist():
            if k in kept:
                continue
            fewer, own, between = _without(mixture, k), mixture.counts[hard == k], _lies_between(mixture, k)
            if not between and _explained(fewer, own) < float((own @ expected[k]).sum()) - NEARLY:
                continue
            less = fewer.with_mixtures()
            if between or less.evidence >= now - GAIN:
                mixture = _drop_small(less)
                break
        else:
            break
    return mixture


def _lies_between(mixture: Mixture, k: int) -> bool:
    """Whether the shape of a phase is that of a mixture of others; the parts of such mixtures may all be alike."""
    others = np.delete(np.arange(mixture.n_phases), k)
    shapes, totals = mixture.shapes[others], np.maximum(mixture.sums.sum(axis=1)[others], 1.0)
    # its own spectra, where there are some: what is shared with it of mixtures follows its shape
    pure = mixture.responsibility[:, k] @ mixture.counts
    own = pure if mixture.sizes[k] >= FEWEST else mixture.sums[k]
    total = float(own.sum())
    found = abundances_of(own[None], shapes)
    phases, parts = found.phases[0], found.parts[0]
    if parts.max() > MOST_PART:
        return False
    expected = total * (parts @ shapes[phases])
    # the shapes themselves are uncertain by their own counts
    spread = (parts**2 / totals[phases]) @ shapes[phases]
    misfit = float(((own - expected) ** 2 / np.maximum(expected + total**2 * spread, 1e-9)).sum())
    freedom = float((own + mixture.shapes[k] > 0.5).sum())
    return bool(misfit < freedom + 4.0 * np.sqrt(2.0 * freedom) + ALIKE * total)


def _explained(mixture: Mixture, counts: Floats) -> float:
    """Log of the likelihood of spectra (m, bins) by the phases and by mixtures of them."""
    log = counts @ mixture.shape_prior.expected_log(mixture.sums).T
    parts = mixture.abundances_of(counts)
    if parts is not None:
        log = np.concatenate([log, parts.log_likelihood[:, None]], axis=1)
    return float(log.max(axis=1).sum())


def _are_one(mixture: Mixture, a: int, b: int) -> bool:
    """Whether two groups differ too little to be two phases, or are nearly alike and scatter between each other."""
    one, other = mixture.sums[a], mixture.sums[b]
    apart = difference(one, other)
    if not LEAST_DIFFERENCE <= apart < CLEAR_DIFFERENCE:
        return apart < LEAST_DIFFERENCE
    spectra = np.concatenate([_members(mixture, k)[1] for k in (a, b)])
    return log_odds_of_two(spectra, one, other) < 0.0


def _drop_small(mixture: Mixture) -> Mixture:
    """Leave out phases that have lost their spectra."""
    keep = mixture.amounts >= FEWEST - 0.5
    if keep.all() or not keep.any():
        return mixture
    left = mixture
    for k in np.flatnonzero(~keep)[::-1].tolist():
        left = _without(left, k)
    return left.with_mixtures()
