"""Which phase has the largest part of a spectrum, and how large the parts are: mixtures as hypotheses among others.

Of phases with shapes p_l and yields y_l (counts of a pure spectrum at equal dose), abundances α give a spectrum of
shape Σ f_l p_l with f_l = α_l y_l / Σ α_m y_m. Compared by Bayes' rule, at any number of counts n of sum N, are

- each phase alone (together `PURE`),
- two phases (`PAIRS`): α on a grid, by its prior at a straight boundary that lies anywhere within `REACH` standard
  deviations of the interaction volume, α = Φ(x) with x uniform;
- three phases (the rest): Laplace's approximation about the maximum.

Log-likelihoods are tempered by 1 / (1 + N ω): an abundance that is read off without fitting the nuisances has the
variance 1 / (N I) + |g|², with I the Fisher information of one count about α, and g what one standard deviation of
each nuisance moves α by; so ω = I |g|². The scatter learnt from training spectra along the way from one phase to the
other counts likewise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import ndtr
from scipy.stats import norm, qmc

from ...protocols import Mixture
from ..jit import compiled
from .nuisance import Nuisance
from .nuisance_judge import centred_directions
from .templates import MIXTURE, Templates
from .verdicts import abundances as fitted_parts

__all__ = ["MixtureModel"]

PURE = 0.5
PAIRS = 0.47
"""Prior probabilities of one phase alone and of two; the rest is of three."""
REACH = 2.5
"""A boundary that mixes a spectrum lies within so many standard deviations of the interaction volume."""
COARSE, FINE = 33, 257
"""Abundances at which log-likelihoods are computed, and to which they are interpolated."""
PARTNERS = 2
"""Phases besides the likeliest that are tried as parts."""
LEAST_PART = 0.02
"""Smallest part of a third phase."""
YIELD_SD = 0.03
"""Relative uncertainty of the ratio of two yields: topography and detector change it from spot to spot."""
LEAST_SD = 0.3
"""No part is known better than this over the root of the counts."""
NOTHING_KNOWN = 10.0
"""Standard deviation of a part that no counts say anything of."""
MARGIN = 0.1
"""A label is far wrong if its phase has less than one half by so much: near one half it hardly matters."""


@lru_cache(maxsize=1)
def _interpolation() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Grid of abundances (FINE,), cubic interpolation to it (FINE, COARSE), and the log prior there (FINE,)."""
    coarse, fine = np.linspace(0.0, 1.0, COARSE), np.linspace(0.0, 1.0, FINE)
    spline = np.asarray(CubicSpline(coarse, np.eye(COARSE))(fine))
    edges = np.clip(np.linspace(0.0, 1.0, FINE + 1), ndtr(-REACH), ndtr(REACH))
    weight = np.diff(norm.ppf(edges)) / (2.0 * REACH)
    return fine, np.ascontiguousarray(spline), np.log(np.maximum(weight, 1e-12))


@compiled
def judge_pair(
    bins: NDArray[np.float64],
    table: NDArray[np.float64],
    spline: NDArray[np.float64],
    fine: NDArray[np.float64],
    log_prior: NDArray[np.float64],
    temper: float,
    out: NDArray[np.float64],
) -> None:
    """Judge two phases of one spectrum.

    Filled is `out` (7,): the highest log-likelihood, the evidence relative to it, and, given that it is these two,
    mean and mean square of the first one's part, and the probabilities that this is over 1/2, that it is at least
    1/2 − `MARGIN`, and that the other one's is.
    """
    coarse = np.zeros(len(table))
    for g in range(len(bins)):
        if bins[g] != 0.0:
            for k in range(len(table)):
                coarse[k] += bins[g] * table[k, g]
    score = np.empty(len(fine))
    top = -np.inf
    for i in range(len(fine)):
        value = 0.0
        for k in range(len(coarse)):
            value += spline[i, k] * coarse[k]
        score[i] = value
        top = max(top, value)
    mass = 0.0
    first = 0.0
    second = 0.0
    over = 0.0
    low = 0.0
    high = 0.0
    for i in range(len(fine)):
        weight = np.exp(temper * (score[i] - top) + log_prior[i])
        x = fine[i]
        mass += weight
        first += weight * x
        second += weight * x * x
        if x > 0.5:
            over += weight
        elif x == 0.5:
            over += 0.5 * weight
        if x >= 0.5 - MARGIN:
            low += weight
        if x <= 0.5 + MARGIN:
            high += weight
    out[0], out[1], out[2], out[3] = top, mass, first / mass, second / mass
    out[4], out[5], out[6] = over / mass, low / mass, high / mass


@lru_cache(maxsize=1)
def _normals() -> NDArray[np.float64]:
    """64 evenly spread pairs of standard normal numbers."""
    return np.asarray(norm.ppf(qmc.Sobol(2, seed=0).random(64)))


class MixtureModel:
    """Mixtures of a classifier's phases.

    Parameters
    ----------
    templates : Templates
    nuisance : Nuisance, optional
        Without it, gain and offset of the templates are the nuisances.
    yields : sequence of float, optional
        (L,) counts of pure spectra at equal dose, in any unit; without them abundances are fractions of the counts.
    """

    def __init__(
        self, templates: Templates, nuisance: Nuisance | None, yields: Sequence[float] | None = None
    ) -> None:
        self._shape = templates.shape
        self._log_shape = np.log(templates.shape)
        n_phases = len(templates.shape)
        self._yields = np.ones(n_phases) if yields is None else np.asarray(yields, np.float64)
        self._templates = templates
        directions = templates.changes if nuisance is None else nuisance.directions
        self._directions = centred_directions(templates.shape, directions)
        self._tables: dict[tuple[int, int], tuple[NDArray[np.float64], float]] = {}

    def _table(self, a: int, b: int) -> tuple[NDArray[np.float64], float]:
        """Log shapes of a mixture of area α of `a`, and the rest of `b`, (COARSE, n_bins), and ω."""
        if (a, b) not in self._tables:
            alpha = np.linspace(0.0, 1.0, COARSE)[:, None]
            part = alpha * self._yields[a]
            part = part / (part + (1.0 - alpha) * self._yields[b])
            shapes = part * self._shape[a] + (1.0 - part) * self._shape[b]
            self._tables[a, b] = np.log(shapes), self._omega(a, b)
        return self._tables[a, b]

    def _omega(self, a: int, b: int) -> float:
        """How much a pair's log-likelihoods are tempered, from its nuisances and its scatter."""
        half = 0.5 * (self._shape[a] + self._shape[b])
        change = self._shape[a] - self._shape[b]
        information = float((change**2 / half).sum())
        moved = 0.5 * (self._directions[a] + self._directions[b]) @ (change / half) / information
        spread = 0.5 * (self._templates.scatter[a, b] + self._templates.scatter[b, a]) / MIXTURE / information
        known = information * max(float((moved**2).sum()), spread**2)
        return float(max(known, self._templates.tempering[0]))

    @cached_property
    def _all_pairs(self) -> list[tuple[int, int]]:
        n = len(self._shape)
        return [(a, b) for a in range(n) for b in range(a + 1, n)]

    def _partners(self, bins: NDArray[np.float64], best: int) -> list[int]:
        """The likeliest phase and those whose admixture raises its likelihood most."""
        others = [i for i in range(len(self._shape)) if i != best]
        if len(others) > PARTNERS:
            rise = (self._shape / self._shape[best]) @ bins
            others = sorted(sorted(others, key=lambda i: -float(rise[i]))[:PARTNERS])
        return sorted([best, *others])

    def __call__(self, bins: NDArray[np.float64], total: float) -> Mixture:
        """Judge one binned spectrum (n_bins,) of so many counts."""
        n_phases = len(self._shape)
        alone = self._log_shape @ bins
        if n_phases == 1:
            return Mixture(1, 1.0, np.ones(1), np.zeros(1), 1.0, 0.0, np.ones(1), np.zeros(1))
        tried = self._partners(bins, int(alone.argmax()))
        pairs = [(a, b) for i, a in enumerate(tried) for b in tried[i + 1 :]]
        fine, spline, log_prior = _interpolation()
        found = np.empty((len(pairs), 7))
        temper = 1.0
        for row, (a, b) in zip(found, pairs, strict=True):
            table, omega = self._table(a, b)
            own = 1.0 / (1.0 + total * omega)
            judge_pair(bins, table, spline, fine, log_prior, own, row)
            temper = min(temper, own)
        highest = float(found[:, 0].max())
        triple = self._triple(bins, total, tried, alone, highest, temper)
        top = max(float(alone.max()), highest, -math.inf if triple is None else triple[0])
        pure = np.exp(temper * (alone - top)) * (PURE / n_phases)
        two = np.exp(temper * (found[:, 0] - top)) * found[:, 1] * (PAIRS / len(self._all_pairs))
        three = 0.0 if triple is None else math.exp(temper * (triple[0] - top)) * triple[1]
        norm_ = float(pure.sum() + two.sum()) + three
        pure /= norm_
        two /= norm_
        largest, mean, square, near = pure.copy(), pure.copy(), pure.copy(), pure.copy()
        for (a, b), mass, row in zip(pairs, two, found, strict=True):
            _, _, first, second, over, low, high = row
            mean[a] += mass * first
            mean[b] += mass * (1.0 - first)
            square[a] += mass * second
            square[b] += mass * (1.0 - 2.0 * first + second)
            largest[a] += mass * over
            largest[b] += mass * (1.0 - over)
            near[a] += mass * low
            near[b] += mass * high
        if triple is not None and three > 0.0:
            chosen, draws = triple[2], triple[3]
            share = three / norm_
            for j, phase in enumerate(chosen):
                mean[phase] += share * float(draws[:, j].mean())
                square[phase] += share * float((draws[:, j] ** 2).mean())
                largest[phase] += share * float((draws.argmax(axis=1) == j).mean())
                near[phase] += share * float((draws[:, j] >= 0.5 - MARGIN).mean())
        best = int(largest.argmax())
        variance = np.maximum(square - mean**2, 0.0) + (YIELD_SD * mean * (1.0 - mean)) ** 2
        variance += LEAST_SD**2 / (total + 4.0)  # phases that were not tried, too
        sure = min(float(largest[best]), 1.0)
        far = max(0.0, 1.0 - float(near[best]))
        alone_sd = self.unbounded(bins, total, mean)
        return Mixture(best + 1, sure, mean, np.sqrt(variance), float(pure.sum()), far, *alone_sd)

    def unbounded(
        self, bins: NDArray[np.float64], total: float, near: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Parts by the counts alone, without a prior and without bounds, and their standard deviations, (L,) each.

        One step of Fisher's scoring from the parts `near`: the weighted least-squares parts, whose errors have the
        mean 0 and are about normal at any number of counts. Parts may be negative or over 1.
        """
        n_phases = len(self._shape)
        if n_phases == 1 or total <= 0.0:
            return np.full(n_phases, 1.0 / n_phases), np.full(n_phases, NOTHING_KNOWN)
        share = near * self._yields
        share = (total * share / share.sum() + 1.0 / n_phases) / (total + 1.0)
        expected = share @ self._shape
        change = self._shape[:-1] - self._shape[-1]
        weighted = change / expected
        fisher = weighted @ change.T
        covariance = np.linalg.inv(fisher)
        free = covariance @ (weighted @ (bins / total - self._shape[-1]))
        counts = np.append(free, 1.0 - free.sum())
        to_all = np.vstack([np.eye(n_phases - 1), -np.ones(n_phases - 1)])
        omega = (
            max(self._table(*pair)[1] for pair in self._all_pairs)
            if n_phases == 2
            else float(self._templates.tempering[0])
        )
        covariance = to_all @ covariance @ to_all.T * (1.0 / total + omega)
        volume = counts / self._yields
        whole = max(float(volume.sum()), 1e-6)
        area = volume / whole
        jacobian = (np.eye(n_phases) - area[:, None]) / self._yields / whole
        variance = np.einsum("ij,jk,ik->i", jacobian, covariance, jacobian)
        variance += (YIELD_SD * area * (1.0 - area)) ** 2
        return area, np.sqrt(variance)

    def _triple(
        self,
        bins: NDArray[np.float64],
        total: float,
        tried: list[int],
        alone: NDArray[np.float64],
        two: float,
        temper: float,
    ) -> tuple[float, float, list[int], NDArray[np.float64]] | None:
        """Three phases: highest log-likelihood, prior times volume, the phases, and draws of abundances (64, 3).

        None where there are fewer than three, or where the third adds nothing.
        """
        if len(tried) < 3 or two - float(alone.max()) < 1.0:
            return None
        parts = fitted_parts(bins, np.ascontiguousarray(self._shape[tried]), 50)
        order = np.argsort(parts)[::-1][:3]
        if parts[order[2]] < LEAST_PART:
            return None
        chosen = [tried[i] for i in order]
        shapes = np.ascontiguousarray(self._shape[chosen])
        parts = fitted_parts(bins, shapes, 50)
        mixed = parts @ shapes
        value = float(np.log(mixed) @ bins)
        if value - two < 1.0:
            return None
        change = shapes[:2] - shapes[2]
        information = total * temper * (change / mixed) @ change.T
        covariance = np.linalg.inv(information + 12.0 * np.eye(2))  # a uniform part has the variance 1/12
        volume = 2.0 * math.pi * math.sqrt(max(float(np.linalg.det(covariance)), 1e-300))
        draws = parts[:2] + _normals() @ np.linalg.cholesky(covariance).T
        whole = np.clip(np.column_stack([draws, 1.0 - draws.sum(axis=1)]), 1e-6, None)
        area = whole / self._yields[chosen]
        prior = 2.0 * (1.0 - PURE - PAIRS)  # the density on the triangle of parts is 2
        return value, prior * min(volume, 0.5), chosen, area / area.sum(axis=1, keepdims=True)
