"""Posterior and flags of a spectrum with nuisances in the model, for classifiers of version 2 (compiled).

Each phase is fitted with its nuisances (`marginal`). A spectrum is flagged if it fits its best phase worse than the
false-alarm rate allows, or better with a part of another phase. And it is *near* its phase, but perhaps of another
composition, if freeing the strengths of the line families raises the likelihood by more than chance and the learnt
scatter do; the limit of that rise T is a quantile of Σ c_j χ²₁ whose moments follow from both quadratic forms:
with the Fisher matrix N F, Λ the precisions under "another composition" and C = N F + (N F)² the covariance of the
score, they are the traces of (M C)^r, M = (Λ + N F)⁻¹ − (1 + N F)⁻¹.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from ..jit import compiled
from .few_counts import few_bins, fit_few
from .kernel import chi_square
from .marginal import climb, fit_phase, log_occam, promised_rise
from .nuisance import Nuisance
from .templates import MIXTURE, Templates, mixture_log_ratio
from .verdicts import LEVELS, make_thresholds

__all__ = [
    "ACCEPTED",
    "FLAGGED",
    "NEAR",
    "OTHER",
    "NuisanceModel",
    "judge_nuisance",
    "make_nuisance_model",
    "plainly_of",
]

ACCEPTED, NEAR, FLAGGED, OTHER = 0, 1, 2, 3
"""What `judge_nuisance` says of the fit: accepted, perhaps of another composition, worse than allowed, of another."""
LOG_STEP = float(np.log(LEVELS[1] / LEVELS[0]))
NEAR_RATE = 0.02
"""Part of good spectra that may be called near another composition, and so ``low_counts``."""
COMPUTED_FACTOR = 2.0
"""A stated composition is no measured one: so many times the limit of T is allowed before it is another's."""
CLOSE = 50.0
"""Phases whose evidence lies within this of the best are fitted to the end."""
NEGLIGIBLE = 1e-18
"""Posterior that changes no other: less than the rounding of 1."""
PLAIN = 1e-12
"""Posterior that all others together may have beside a phase that a spectrum is plainly of, at most."""
SURE = 0.5
"""Part of a limit up to which a cheap estimate of what is compared with it decides; over it, all is computed."""
LEAST_COARSENED = 0.02
"""N ω from which on the evidence of computed phases is that of N / (1 + N ω) counts; under it the two are one."""
FIRST_STEPS = 3
ALL_STEPS = 10


class NuisanceModel(NamedTuple):
    """What a spectrum is judged by, as arrays that compiled code takes."""

    shape: NDArray[np.float64]
    """(L, n_bins)."""
    directions: NDArray[np.float64]
    """(L, K, n_bins)."""
    fisher: NDArray[np.float64]
    """(L, K, K): Fisher matrix of one count."""
    eigenvalues: NDArray[np.float64]
    """(L, K)."""
    low: NDArray[np.float64]
    """(L, K)."""
    high: NDArray[np.float64]
    """(L, K)."""
    precision: NDArray[np.float64]
    """(L, K): ones."""
    wide_low: NDArray[np.float64]
    """(L, K)."""
    wide_high: NDArray[np.float64]
    """(L, K)."""
    wide_precision: NDArray[np.float64]
    """(L, K)."""
    fit_limit: NDArray[np.float64]
    """(L, n_levels)."""
    mixture_margin: NDArray[np.float64]
    """(L, L, n_levels): of the mixture's log ratio over its expectation."""
    near_limit: NDArray[np.float64]
    """(L, 2, n_levels): of T, at `NEAR_RATE` and at half the false-alarm rate."""
    no_changes: NDArray[np.float64]
    """(2, n_bins) of zeros."""
    numbers: NDArray[np.float64]
    """(5,): tempering ω, log prior odds of one alternative to one phase, 1 if phases may be left unfitted, 1 if the
    evidence is that of fewer counts, and 1 if `few_counts` may fit."""
    log_shape: NDArray[np.float64]
    """(L, n_bins): ln p."""
    log_envelope: NDArray[np.float64]
    """(L, n_bins): ln of the most that each bin can hold within the bounds of the nuisances."""
    mixture_ratio: NDArray[np.float64]
    """(L, L, n_bins): ln of (phase l with a part `MIXTURE` of m) over (phase l)."""


def make_nuisance_model(
    templates: Templates,
    nuisance: Nuisance,
    false_alarm_rate: float,
    log_outside: float,
    computed_slack: float = 1.0,
) -> NuisanceModel:
    """Precompute Fisher matrices and limits; a computed phase is near from so many times the limit of T on."""
    shape = templates.shape
    centred = centred_directions(shape, nuisance.directions)
    fisher = np.einsum("lkg,ljg->lkj", centred / shape[:, None, :], centred)
    limits = make_thresholds(templates, false_alarm_rate, _mixture_sd(shape, centred, fisher))
    ratio = mixture_log_ratio(shape)
    expected = (ratio * shape[:, None, :]).sum(axis=2)
    precision = 1.0 / nuisance.wider**2
    centred_already = float(_is_centred(nuisance))
    rates = (NEAR_RATE, 0.5 * false_alarm_rate)
    near = np.array(
        [[_near_limits(f, w, rate) for rate in rates] for f, w in zip(fisher, precision, strict=True)]
    )
    computed = templates.n_spectra == 0
    near[computed, 0] = computed_slack * near[computed, 1]
    near[computed, 1] *= COMPUTED_FACTOR
    low, high = nuisance.low[:, :, None], nuisance.high[:, :, None]
    envelope = np.maximum(low * nuisance.directions, high * nuisance.directions).sum(axis=1)
    return NuisanceModel(
        shape,
        np.ascontiguousarray(nuisance.directions),
        np.ascontiguousarray(fisher),
        np.maximum(np.linalg.eigvalsh(fisher), 0.0),
        nuisance.low,
        nuisance.high,
        np.ones(nuisance.low.shape),
        nuisance.wide_low,
        nuisance.wide_high,
        precision,
        limits.fit,
        limits.mixture - expected[:, :, None] * LEVELS,
        near,
        np.zeros((2, shape.shape[1])),
        np.array(
            [templates.tempering[0], log_outside, centred_already, float(computed.any()), centred_already]
        ),
        np.log(shape),
        np.log(shape + envelope),
        np.ascontiguousarray(ratio),
    )


def _is_centred(nuisance: Nuisance) -> bool:
    """Whether no direction changes the sum: only then does the envelope bound every spectrum of sum 1."""
    return bool(np.abs(nuisance.directions.sum(axis=2)).max(initial=0.0) < 1e-9)


def centred_directions(shape: NDArray[np.float64], directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Change of shapes (..., n_bins) of sum 1 along directions (..., K, n_bins)."""
    return np.asarray(directions - directions.sum(axis=-1, keepdims=True) * shape[..., None, :])


def _mixture_sd(
    shape: NDArray[np.float64], directions: NDArray[np.float64], fisher: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Standard deviation a count of each mixture's log ratio from what fitted nuisances leave uncertain.

    At a total N the amplitudes have the covariance (1 + N F)⁻¹; (L, L, n_levels).
    """
    ratio = mixture_log_ratio(shape)
    out = np.zeros((*ratio.shape[:2], len(LEVELS)))
    for phase, information in enumerate(fisher):
        effect = directions[phase] @ ratio[phase].T
        for i, total in enumerate(LEVELS):
            left = np.linalg.solve(np.eye(len(information)) + total * information, effect)
            out[phase, :, i] = np.sqrt(np.maximum((effect * left).sum(axis=0), 0.0))
    return out


def _near_limits(
    fisher: NDArray[np.float64], wide_precision: NDArray[np.float64], rate: float
) -> NDArray[np.float64]:
    """Quantile of T at each of `LEVELS`, by a Pearson III distribution of the same three moments."""
    out = np.empty(len(LEVELS))
    size = len(fisher)
    for i, total in enumerate(LEVELS):
        information = total * fisher
        narrow = np.linalg.inv(np.eye(size) + information)
        wide = np.linalg.inv(np.diag(wide_precision) + information)
        product = (wide - narrow) @ (information + information @ information)
        mean = float(np.trace(product))
        variance = 2.0 * float(np.trace(product @ product))
        third = 8.0 * float(np.trace(product @ product @ product))
        if not (variance > 1e-12 and third > 0.0):
            out[i] = max(mean, 0.0) + 1.0
            continue
        form = 4.0 / (third / variance**1.5) ** 2
        quantile = (gammaincinv(form, 1.0 - rate) - form) / math.sqrt(form)
        out[i] = mean + math.sqrt(variance) * float(quantile) + 1.0
    return out


@compiled
def _between(limits: NDArray[np.float64], total: float) -> float:
    """Limit at a total, linear in the counts between two levels."""
    level = min(int(np.log(max(total, 1.0)) / LOG_STEP), len(limits) - 2)
    low, high = np.exp(level * LOG_STEP), np.exp((level + 1) * LOG_STEP)
    part = min((total - low) / (high - low), 1.0)
    return float(limits[level] * (1.0 - part) + limits[level + 1] * part)


@compiled
def _worth_fitting(
    bins: NDArray[np.float64],
    total: float,
    temper: float,
    model: NuisanceModel,
    bound: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Phases that can have a posterior of `NEGLIGIBLE` or more; `bound` (L + 1,) holds the most that the others can.

    The template itself bounds a phase's evidence from below. From above it is bounded by the envelope: at any
    amplitudes within their bounds, no bin of a spectrum of sum 1 holds more. No verdict depends on what is skipped.
    """
    n_phases = len(model.shape)
    out = np.ones(n_phases, np.bool_)
    if model.numbers[2] == 0.0:
        return out
    plain = np.dot(model.log_shape, bins)
    most = np.dot(model.log_envelope, bins)
    least = -np.inf
    for i in range(n_phases):
        least = max(least, plain[i] - log_occam(total, model.eigenvalues[i]))
    for i in range(n_phases):
        bound[i] = most[i]
        out[i] = most[i] > least + np.log(NEGLIGIBLE) / temper
    return out


@compiled
def plainly_of(
    bins: NDArray[np.float64], total: float, outside: NDArray[np.float64], model: NuisanceModel
) -> int:
    """Phase that a spectrum is plainly of, -1 where only `judge_nuisance` can say.

    The template as it is bounds the evidence of its phase from below, the envelopes bound those of all others from
    above; where these leave others less than `PLAIN`, and the tests of the fit are passed by the template already,
    no nuisance needs to be fitted.
    """
    n_phases = len(model.shape)
    if model.numbers[2] == 0.0 or total <= 0.0:
        return -1
    temper = 1.0 / (1.0 + total * model.numbers[0])
    coarse = model.numbers[3] == 1.0 and total * model.numbers[0] > LEAST_COARSENED
    plain = np.dot(model.log_shape, bins)
    best = int(plain.argmax())
    occam = (
        log_occam(total * temper, model.eigenvalues[best]) / temper
        if coarse
        else log_occam(total, model.eigenvalues[best])
    )
    least = plain[best] - occam
    most = np.dot(model.log_envelope, bins)
    room = np.log(PLAIN) / temper
    for i in range(n_phases):
        if i != best and most[i] > least + room:
            return -1
    high = -np.inf
    for k in range(len(outside)):
        high = max(high, outside[k])
    if high * temper + np.log(len(outside)) + model.numbers[1] > least * temper + np.log(PLAIN):
        return -1
    shape = model.shape[best]
    if chi_square(bins, total, shape, model.no_changes) > _between(model.fit_limit[best], total):
        return -1
    rough = np.dot(model.mixture_ratio[best], bins - total * shape)
    for other in range(n_phases):
        if other != best and rough[other] > SURE * _between(model.mixture_margin[best, other], total):
            return -1
    limit = SURE * _between(model.near_limit[best, 0], total)
    none = np.zeros(model.low.shape[1])
    rise = 2.0 * promised_rise(
        bins, total, model.directions[best], model.fisher[best], model.wide_low[best], model.wide_high[best],
        model.wide_precision[best], none, shape,
    )  # fmt: skip
    if rise >= limit:
        rise -= 2.0 * promised_rise(
            bins, total, model.directions[best], model.fisher[best], model.low[best], model.high[best],
            model.precision[best], none, shape,
        )  # fmt: skip
    return best if rise < limit else -1


@compiled
def judge_nuisance(
    bins: NDArray[np.float64],
    total: float,
    outside: NDArray[np.float64],
    model: NuisanceModel,
    posterior: NDArray[np.float64],
    theta: NDArray[np.float64],
    mu: NDArray[np.float64],
) -> tuple[int, float, int]:
    """Best phase, its posterior, and what is said of its fit.

    `outside` (K,) are the log-likelihoods of the alternatives; filled are `posterior` (L + 1,), the last: outside,
    and `theta` (L, K) and `mu` (L, n_bins), amplitudes and spectra of the fits.
    """
    n_phases = len(model.shape)
    temper = 1.0 / (1.0 + total * model.numbers[0])
    # `judged`: what the evidence is computed from, tempered already if `scale` is 1
    coarse = model.numbers[3] == 1.0 and total * model.numbers[0] > LEAST_COARSENED
    judged, worth, scale = bins, total, temper
    if coarse:
        judged, worth, scale = bins * temper, total * temper, 1.0
    fitted = _worth_fitting(judged, worth, scale, model, posterior)
    filled = few_bins(judged, worth, model.numbers[4] == 1.0)
    ended = np.zeros(n_phases, np.bool_)
    best, top = -1, 0.0
    for turn in range(2):
        for i in range(n_phases):
            if turn == 0:
                theta[i] = 0.0
            if not fitted[i] or ended[i] or (turn == 1 and posterior[i] <= top - CLOSE):
                continue
            steps = FIRST_STEPS if turn == 0 else ALL_STEPS
            value, whole = 0.0, False
            if len(filled) > 0:
                value, ended[i], whole = fit_few(
                    judged, worth, filled, model.shape[i], model.directions[i], model.fisher[i], model.low[i],
                    model.high[i], model.precision[i], steps, theta[i], mu[i],
                )  # fmt: skip
            if not whole:
                value, ended[i] = climb(
                    judged, worth, model.shape[i], model.directions[i], model.fisher[i], model.low[i],
                    model.high[i], model.precision[i], steps, theta[i], mu[i], True,
                )  # fmt: skip
            posterior[i] = value - log_occam(worth, model.eigenvalues[i])
            if turn == 0 and (best < 0 or posterior[i] > posterior[best]):
                best = i
        if turn == 0:
            top = posterior[best]
    for i in range(n_phases):
        if posterior[i] > posterior[best]:
            best = i
    narrow = posterior[best] + log_occam(worth, model.eigenvalues[best])
    if coarse:  # the tests of the fit are those of all counts
        narrow = fit_phase(
            bins, total, model.shape[best], model.directions[best], model.fisher[best], model.low[best],
            model.high[best], model.precision[best], ALL_STEPS, theta[best], mu[best],
        )  # fmt: skip
    high = -np.inf
    for k in range(len(outside)):
        high = max(high, outside[k])
    away = 0.0
    for k in range(len(outside)):
        away += np.exp((outside[k] - high) * temper)
    for i in range(n_phases):
        posterior[i] *= scale
    posterior[n_phases] = high * temper + np.log(away) + model.numbers[1]
    top = max(posterior[best], posterior[n_phases])
    norm = 0.0
    for i in range(n_phases + 1):
        posterior[i] = np.exp(posterior[i] - top)
        norm += posterior[i]
    for i in range(n_phases + 1):
        posterior[i] /= norm
    if posterior[n_phases] > 0.5:
        return best, posterior[best], FLAGGED
    if chi_square(bins, total, mu[best], model.no_changes) > _between(model.fit_limit[best], total):
        return best, posterior[best], FLAGGED
    near, other_phase = _between(model.near_limit[best, 0], total), -1
    # Only where a limit may be passed is the spectrum fitted as another composition, which costs as much as all else.
    miss = np.empty(len(bins))
    for g in range(len(bins)):
        miss[g] = bins[g] - total * mu[best, g]
    rough = np.dot(model.mixture_ratio[best], miss)
    for other in range(n_phases):
        limit = _between(model.mixture_margin[best, other], total)
        if other != best and rough[other] > SURE * limit:
            excess = 0.0
            for g in range(len(bins)):
                excess += miss[g] * np.log1p(MIXTURE * (model.shape[other, g] / mu[best, g] - 1.0))
            if excess > limit:
                other_phase = other
                break
    if other_phase < 0 and model.numbers[2] == 1.0:
        rise = 0.0
        for k in range(theta.shape[1]):
            rise += (model.precision[best, k] - model.wide_precision[best, k]) * theta[best, k] ** 2
        rise += 2.0 * promised_rise(
            bins, total, model.directions[best], model.fisher[best], model.wide_low[best], model.wide_high[best],
            model.wide_precision[best], theta[best], mu[best],
        )  # fmt: skip
        if rise < SURE * near:
            return best, posterior[best], ACCEPTED
    wide_theta = theta[best].copy()
    wide_mu = mu[best].copy()
    wide, whole = 0.0, False
    if len(filled) > 0 and not coarse:
        wide, _, whole = fit_few(
            bins, total, filled, model.shape[best], model.directions[best], model.fisher[best],
            model.wide_low[best], model.wide_high[best], model.wide_precision[best], ALL_STEPS, wide_theta, wide_mu,
        )  # fmt: skip
    if not whole:
        wide = fit_phase(
            bins, total, model.shape[best], model.directions[best], model.fisher[best], model.wide_low[best],
            model.wide_high[best], model.wide_precision[best], ALL_STEPS, wide_theta, wide_mu,
        )  # fmt: skip
    # Quasi-likelihood: what no composition explains is the model's own error, and makes every ratio that much less.
    expected = 0.0
    for g in range(len(bins)):
        expected += total * wide_mu[g] / (total * wide_mu[g] + 1.0)
    dispersion = max(chi_square(bins, total, wide_mu, model.no_changes) / max(expected, 1.0), 1.0)
    if other_phase >= 0:
        for other in range(n_phases):
            if other == best:
                continue
            excess = 0.0
            for g in range(len(bins)):
                excess += miss[g] * np.log1p(MIXTURE * (model.shape[other, g] / mu[best, g] - 1.0))
            if excess / dispersion > _between(model.mixture_margin[best, other], total):
                return best, posterior[best], FLAGGED
    rise = 2.0 * (wide - narrow) / dispersion
    if rise > _between(model.near_limit[best, 1], total):
        return best, posterior[best], OTHER
    if rise > near:
        return best, posterior[best], NEAR
    return best, posterior[best], ACCEPTED


@compiled
def judge_nuisance_batch(
    bins: NDArray[np.float64],
    totals: NDArray[np.float64],
    outside: NDArray[np.float64],
    model: NuisanceModel,
    best: NDArray[np.int64],
    probability: NDArray[np.float64],
    flag: NDArray[np.int64],
) -> None:
    """Do what `judge_nuisance` does for binned spectra (n, n_bins); fills the last three arrays (n,)."""
    posterior = np.empty(len(model.shape) + 1)
    theta = np.zeros(model.low.shape)
    mu = np.empty(model.shape.shape)
    for i in range(len(bins)):
        plain = plainly_of(bins[i], totals[i], outside[i], model)
        if plain >= 0:
            best[i], probability[i], flag[i] = plain, 1.0, ACCEPTED
            continue
        best[i], probability[i], flag[i] = judge_nuisance(
            bins[i], totals[i], outside[i], model, posterior, theta, mu
        )
