"""Spectra that are of two or three phases at once, as at a boundary: of which, and how much of each.

The likelihood that a spectrum is of a pair of phases is the mean over their parts, each of which may be anything from
`LEAST_PART`. It is looked at on a few parts for all pairs first; for the likeliest pairs the best part is found by
Newton's method, and the mean by Laplace's approximation. Then the third phase that would raise the likelihood most is
tried beside the best pair, with parts by expectation maximisation.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtr

__all__ = ["Abundances", "abundances_of"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST_PART = 0.08
"""Part of the least phase in a mixture; less of it is scatter."""
PARTS = np.array([0.15, 0.3, 0.5, 0.7, 0.85])
"""Parts of the first phase at which all pairs are looked at."""
REFINED = 3
"""Pairs of a spectrum whose best part is looked for."""
STEPS = 4
THIRD_STEPS = 12
OF_THREE = 0.1
"""Part of the mixtures that are of three phases, before anything is known."""
AT_ONCE = 4_000_000
"""Likelihoods that are held at a time."""
LEAST = 1e-300


@dataclass(frozen=True, eq=False)
class Abundances:
    """What each of n spectra is made of, if it is a mixture."""

    phases: Ints
    """(n, 3): indices of the phases."""
    parts: Floats
    """(n, 3): part of the counts that is of each; that of the third is 0 in a mixture of two."""
    spread: Floats
    """(n,): standard deviation of the part of the larger of the first two."""
    log_likelihood: Floats
    """(n,): by all mixtures of phases, up to the term of the counts."""
    share: Floats
    """(n, 3, bins): part of the counts of each bin that is of each phase."""
    rest: Floats
    """(n,): what is left of the log of the likelihood if each count is said to be of the phase that it is of."""
    others: Floats
    """(n,): log of the likelihood by all mixtures of phases over that by this one."""

    @property
    def larger(self) -> Ints:
        """(n,): index of the phase with the largest part."""
        return np.asarray(np.take_along_axis(self.phases, self.parts.argmax(axis=1)[:, None], axis=1)[:, 0])

    @property
    def sure(self) -> Floats:
        """(n,): probability that it has the largest part."""
        order = np.sort(self.parts, axis=1)
        return np.asarray(ndtr(0.5 * (order[:, -1] - order[:, -2]) / np.maximum(self.spread, 1e-9)))

    def __getitem__(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Self:
        """The same of some spectra."""
        return type(self)(*(getattr(self, f.name)[rows] for f in fields(self)))

    def renamed(self, indices: Ints) -> Self:
        """The same where phase i has the index ``indices[i]`` now."""
        return replace(self, phases=indices[self.phases])

    def shapes(self, shapes: Floats) -> Floats:
        """(n, bins): shape of each mixture, given those (K, bins) of the phases."""
        return np.asarray(sum(self.parts[:, i, None] * shapes[self.phases[:, i]] for i in range(3)))

    def refreshed(self, counts: Floats, shapes: Floats, sizes: Floats) -> Self:
        """The same phases in the same spectra, by other shapes and sizes; parameters as of `abundances_of`."""
        return type(self)(
            *_finished(counts, shapes, self.phases, self.parts, _log_weights(sizes), 1, self.others)
        )

    def sums(self, counts: Floats, weights: Floats, n_phases: int) -> Floats:
        """Summed counts (K, bins) of each phase in the mixtures, each spectrum with its weight (n,)."""
        out = np.zeros((n_phases, counts.shape[1]))
        every = np.arange(len(counts))
        for i in range(3):
            member = np.zeros((len(counts), n_phases))
            member[every, self.phases[:, i]] = weights
            out += member.T @ (self.share[:, i] * counts)
        return out

    def pair_sizes(self, weights: Floats, n_phases: int) -> Floats:
        """(K, K): how many spectra are mixtures of each pair of phases, each spectrum with its weight (n,)."""
        sizes = np.zeros((n_phases, n_phases))
        np.add.at(sizes, (self.phases[:, 0], self.phases[:, 1]), weights)
        return sizes

    def amounts(self, weights: Floats, n_phases: int) -> Floats:
        """(K,): parts of each phase in all spectra, each with its weight (n,)."""
        out = np.zeros(n_phases)
        for i in range(3):
            np.add.at(out, self.phases[:, i], weights * self.parts[:, i])
        return out


def abundances_of(counts: Floats, shapes: Floats, sizes: Floats | None = None) -> Abundances:
    """Find what each spectrum is made of, if it is a mixture.

    Parameters
    ----------
    counts : (n, bins) float64
    shapes : (K, bins) float64
        Of the phases, at least two. Rows sum to 1, or to less where shapes are uncertain.
    sizes : (K, K) float64, optional
        How many spectra are of each pair, by the indices of its phases; pairs of many are likelier.

    Examples
    --------
    >>> import numpy as np
    >>> shapes = np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [0.1, 0.8, 0.1]])
    >>> found = abundances_of(1000 * np.array([[0.25, 0.2, 0.55]]), shapes)
    >>> found.phases[0, :2].tolist(), found.parts[0].round(2).tolist()
    ([0, 1], [0.25, 0.75, 0.0])
    """
    first, second = np.triu_indices(len(shapes), 1)
    log_weights = _log_weights(np.zeros((len(shapes),) * 2) if sizes is None else sizes)
    parts = PARTS[None, :, None]
    grid = parts * shapes[first][:, None] + (1.0 - parts) * shapes[second][:, None]
    log_grid = np.log(np.maximum(grid, LEAST)).reshape(-1, shapes.shape[1])
    rows = max(1, AT_ONCE // len(log_grid))
    found = [
        _chosen(counts[i : i + rows], shapes, first, second, log_weights, log_grid)
        for i in range(0, max(len(counts), 1), rows)
    ]
    return Abundances(*(np.concatenate(column) for column in zip(*found, strict=True)))


def _log_weights(sizes: Floats) -> Floats:
    """(K, K): log of how likely each pair is, by the indices of its phases in any order."""
    held = 1.0 + sizes + sizes.T
    held = held / max(float(np.triu(held, 1).sum()), LEAST)
    return np.asarray(np.log(held))


def _chosen(
    counts: Floats, shapes: Floats, first: Ints, second: Ints, log_weights: Floats, log_grid: Floats
) -> list[NDArray[Any]]:
    """The likeliest mixture of each spectrum: what `Abundances` holds."""
    n, log_weight = len(counts), log_weights[first, second]
    at_parts = (counts @ log_grid.T).reshape(n, len(first), len(PARTS))
    rough = at_parts.max(axis=2) + log_weight
    chosen = np.argsort(-rough, axis=1, kind="stable")[:, :REFINED]
    every = np.arange(n)
    parts, values = np.empty((n, chosen.shape[1])), np.empty((n, chosen.shape[1]))
    for i, column in enumerate(chosen.T):
        begin = PARTS[at_parts[every, column].argmax(axis=1)]
        part, shape, log_width = _part(counts, shapes[first[column]], shapes[second[column]], begin, STEPS)
        parts[:, i] = part
        values[:, i] = (counts * np.log(shape)).sum(axis=1) + log_width + log_weight[column]
    top = values.argmax(axis=1)
    others = logsumexp(values, axis=1) - values[every, top]
    pair, part = chosen[every, top], parts[every, top]
    phases = np.stack([first[pair], second[pair], first[pair]], axis=1)
    begin = np.stack([part, 1.0 - part, 0.0 * part], axis=1)
    two = _finished(counts, shapes, phases, begin, log_weights, 1, others)
    if len(shapes) < 3:
        return two
    # the third phase of which a part raises the likelihood most, by its slope and bend where that part is 0
    shape = np.maximum((two[1][:, :, None] * shapes[phases]).sum(axis=1), LEAST)
    total = counts.sum(axis=1, keepdims=True)
    ratio = (counts / shape) @ shapes.T
    slope = ratio - total
    bend = (counts / shape**2) @ (shapes**2).T - 2.0 * ratio + total
    gain = np.where(slope > 0.0, slope**2 / np.maximum(bend, 1e-9), 0.0)
    gain[every, phases[:, 0]] = gain[every, phases[:, 1]] = 0.0
    third = gain.argmax(axis=1)
    rows = np.flatnonzero(gain[every, third] > 0.0)
    if not rows.size:
        return two
    phases = np.stack([phases[rows, 0], phases[rows, 1], third[rows]], axis=1)
    begin = np.stack([0.8 * part[rows], 0.8 * (1.0 - part[rows]), np.full(rows.size, 0.2)], axis=1)
    three = _finished(counts[rows], shapes, phases, begin, log_weights, THIRD_STEPS, np.zeros(rows.size))
    better = three[3] > two[3][rows]
    for a, b in zip(two, three, strict=True):
        a[rows[better]] = b[better]
    return two


def _finished(
    counts: Floats,
    shapes: Floats,
    phases: Ints,
    parts: Floats,
    log_weights: Floats,
    steps: int,
    others: Floats,
) -> list[NDArray[Any]]:
    """What `Abundances` holds, from parts that are near the best ones."""
    ends, parts = shapes[phases], parts.copy()
    log_width = np.empty(len(counts))
    two = parts[:, 2] <= 0.0
    part, _, log_width[two] = _part(counts[two], ends[two, 0], ends[two, 1], parts[two, 0], steps)
    parts[two, 0], parts[two, 1] = part, 1.0 - part
    if not two.all():
        parts[~two], log_width[~two] = _three_parts(counts[~two], ends[~two], parts[~two], steps)
    held = parts[:, :, None] * ends
    shape = np.maximum(held.sum(axis=1), LEAST)
    share = held / shape[:, None]
    thirds = max(len(shapes) - 2, 1)
    besides = log_width + log_weights[phases[:, 0], phases[:, 1]] + others
    besides += np.where(two, np.log1p(-OF_THREE), np.log(OF_THREE / thirds))
    log_shape = np.log(shape)
    fit = (counts * log_shape).sum(axis=1)
    # Σ n log p is Σ n φ log s over the phases and this
    log_ends = np.log(np.maximum(shapes, LEAST))[phases]
    split = fit - np.einsum("nb,nib,nib->n", counts, share, log_ends)
    order = np.argsort(-parts, axis=1, kind="stable")
    every = np.arange(len(counts))
    apart = ends[every, order[:, 0]] - ends[every, order[:, 1]]
    spread = 1.0 / np.sqrt(np.maximum((counts * (apart / shape) ** 2).sum(axis=1), 1e-9))
    return [phases.copy(), parts, spread, fit + besides, share, split + besides, others]


def _part(counts: Floats, a: Floats, b: Floats, part: Floats, steps: int) -> tuple[Floats, Floats, Floats]:
    """Best part (n,) of a in mixtures of two shapes (n, bins), their shape, and how much less the mean is."""
    apart = a - b
    low, high = LEAST_PART, 1.0 - LEAST_PART
    for _ in range(steps):
        ratio = apart / np.maximum(b + part[:, None] * apart, LEAST)
        slope, bend = (counts * ratio).sum(axis=1), (counts * ratio**2).sum(axis=1)
        part = np.clip(part + np.clip(slope / np.maximum(bend, 1e-9), -0.2, 0.2), low, high)
    shape = np.maximum(b + part[:, None] * apart, LEAST)
    spread = 1.0 / np.sqrt(np.maximum((counts * (apart / shape) ** 2).sum(axis=1), 1e-9))
    # the part is anything from low to high: Laplace's approximation, cut off at both ends
    inside = ndtr((high - part) / spread) - ndtr((low - part) / spread)
    width = np.sqrt(2.0 * np.pi) * spread * np.maximum(inside, 1e-12) / (high - low)
    return part, shape, np.minimum(np.log(width), 0.0)


def _three_parts(counts: Floats, ends: Floats, parts: Floats, steps: int) -> tuple[Floats, Floats]:
    """Best parts (n, 3) in mixtures of three shapes (n, 3, bins), and how much less the mean likelihood is."""
    total = np.maximum(counts.sum(axis=1, keepdims=True), 1e-9)
    for _ in range(steps):
        shape = np.maximum((parts[:, :, None] * ends).sum(axis=1), LEAST)
        parts = parts * ((counts / shape)[:, None] * ends).sum(axis=2) / total
        parts = np.maximum(parts, LEAST_PART)
        parts = parts / parts.sum(axis=1, keepdims=True)
    shape = np.maximum((parts[:, :, None] * ends).sum(axis=1), LEAST)
    a, b = ((ends[:, i] - ends[:, 2]) / shape for i in (0, 1))
    bends = [(counts * x * y).sum(axis=1) for x, y in ((a, a), (b, b), (a, b))]
    determinant = np.maximum(bends[0] * bends[1] - bends[2] ** 2, 1e-9)
    area = 0.5 * (1.0 - 3.0 * LEAST_PART) ** 2
    return parts, np.minimum(np.log(2.0 * np.pi / area) - 0.5 * np.log(determinant), 0.0)
