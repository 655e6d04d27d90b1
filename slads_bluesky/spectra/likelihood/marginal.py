"""The compiled fit of one phase with its nuisances: the most probable spectrum, and its evidence.

For a phase of shape p (n_bins,), directions d_k (what one standard deviation of nuisance k adds to the shape) and
binned counts n of sum N, the amplitudes θ of the nuisances have normal priors of precision λ_k (1, or less where the
alternative "another composition" is tried) within bounds. Maximised is

    ln P(n, θ) = Σ n ln μ(θ) − ½ Σ λ_k θ_k²,   μ = (p + Σ θ_k d_k) / (1 + Σ θ_k c_k),   c_k = Σ d_k

by Newton's method with the Fisher matrix, each step solved within the bounds by coordinate ascent. Nothing is
extrapolated: the likelihood is that of the spectrum at θ, so that no amplitude explains more than its bounds let it.
The evidence adds Laplace's −½ Σ ln(1 + N e_k), e_k the eigenvalues of the Fisher matrix of one count.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..jit import compiled

__all__ = ["REFRESH_COUNTS", "climb", "fit_phase", "log_occam", "promised_rise", "spectrum_at"]

FLOOR = 1e-3
"""Part of a template's bin that a nuisance cannot take away."""
SWEEPS = 12
BOUND_ROUNDS = 4
TOLERANCE = 0.005
"""A step that promises to raise the maximum by less is not made."""
REFRESH_COUNTS = 2000.0
"""Total from which on the Fisher matrix is computed again at each step."""
LINE_SEARCH, LEAST_PART = 6, 0.4
"""How often a step that does not raise the maximum is shortened, and to which part of itself."""
LEAST_GAINED = 0.02
"""A step that raised the maximum by less is the last."""


@compiled
def spectrum_at(
    shape: NDArray[np.float64],
    directions: NDArray[np.float64],
    theta: NDArray[np.float64],
    mu: NDArray[np.float64],
    every: bool,
) -> float:
    """Fill `mu` with the spectrum at θ; of `every` bin its sum is made 1. Return the sum that it had, else 1."""
    n_bins = len(shape)
    change = np.dot(theta, directions)
    total = 0.0
    for g in range(n_bins):
        mu[g] = max(shape[g] + change[g], FLOOR * shape[g])
        total += mu[g]
    if not every:
        return 1.0
    for g in range(n_bins):
        mu[g] /= total
    return total


@compiled
def _objective(
    bins: NDArray[np.float64],
    mu: NDArray[np.float64],
    theta: NDArray[np.float64],
    precision: NDArray[np.float64],
) -> float:
    value = 0.0
    for g in range(len(mu)):
        if bins[g] > 0.0:
            value += bins[g] * np.log(mu[g])
    for k in range(len(theta)):
        value -= 0.5 * precision[k] * theta[k] * theta[k]
    return value


@compiled
def _solve_free(
    total: float,
    score: NDArray[np.float64],
    hessian: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    precision: NDArray[np.float64],
    theta: NDArray[np.float64],
    step: NDArray[np.float64],
) -> None:
    """Fill `step` (K,) by Cholesky's method; amplitudes that leave their bounds are put there, the rest solved again.

    Coordinate ascent alone creeps where nuisances can stand in for one another, as they do at high counts.
    """
    size = len(theta)
    free = np.ones(size, np.bool_)
    index = np.empty(size, np.int64)
    root = np.empty((size, size))
    right = np.empty(size)
    for _ in range(BOUND_ROUNDS):
        n = 0
        for k in range(size):
            if free[k]:
                index[n] = k
                n += 1
        for a in range(n):
            k = index[a]
            right[a] = score[k]
            for j in range(size):
                if not free[j]:
                    right[a] -= total * hessian[k, j] * step[j]
            for b in range(a + 1):
                value = total * hessian[k, index[b]]
                if a == b:
                    value += precision[k]
                for c in range(b):
                    value -= root[a, c] * root[b, c]
                root[a, b] = np.sqrt(max(value, 1e-12)) if a == b else value / root[b, b]
        for a in range(n):
            for c in range(a):
                right[a] -= root[a, c] * right[c]
            right[a] /= root[a, a]
        for a in range(n - 1, -1, -1):
            for c in range(a + 1, n):
                right[a] -= root[c, a] * right[c]
            right[a] /= root[a, a]
        outside = False
        for a in range(n):
            k = index[a]
            new = min(max(theta[k] + right[a], low[k]), high[k])
            if new != theta[k] + right[a]:
                free[k] = False
                outside = True
            step[k] = new - theta[k]
        if not outside:
            break


@compiled
def newton_step(
    total: float,
    score: NDArray[np.float64],
    hessian: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    precision: NDArray[np.float64],
    theta: NDArray[np.float64],
    step: NDArray[np.float64],
) -> float:
    """Fill `step` (K,) with Newton's step from θ within the bounds; return by how much it promises to rise."""
    size = len(theta)
    for k in range(size):
        step[k] = 0.0
    if total > REFRESH_COUNTS:
        _solve_free(total, score, hessian, low, high, precision, theta, step)
    left = np.empty(size)
    for k in range(size):
        left[k] = score[k] - precision[k] * step[k]
    for k in range(size):
        if step[k] != 0.0:
            change = total * step[k]
            for j in range(size):
                left[j] -= change * hessian[k, j]
    for _ in range(SWEEPS):
        moved = 0.0
        for k in range(size):
            change = left[k] / (precision[k] + total * hessian[k, k])
            new = min(max(theta[k] + step[k] + change, low[k]), high[k]) - theta[k]
            change = new - step[k]
            if change == 0.0:
                continue
            moved = max(moved, abs(change))
            step[k] = new
            left[k] -= precision[k] * change
            change *= total
            for j in range(size):
                left[j] -= change * hessian[k, j]
        if moved < 1e-3:
            break
    promised = 0.0
    for k in range(size):
        promised += 0.5 * step[k] * (score[k] + left[k])
    return promised


@compiled
def promised_rise(
    bins: NDArray[np.float64],
    total: float,
    directions: NDArray[np.float64],
    fisher: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    precision: NDArray[np.float64],
    theta: NDArray[np.float64],
    mu: NDArray[np.float64],
) -> float:
    """By how much one step from θ (K,), where the spectrum is `mu`, promises to rise under these priors and bounds.

    Directions are taken to be centred. The Fisher matrix is that of the template, so this is an estimate.
    """
    size = len(theta)
    score, step, weight = np.empty(size), np.empty(size), np.empty(len(mu))
    for g in range(len(mu)):
        weight[g] = bins[g] / mu[g]
    slope_at = np.dot(directions, weight)
    for k in range(size):
        score[k] = slope_at[k] - precision[k] * theta[k]
    return newton_step(total, score, fisher, low, high, precision, theta, step)


@compiled
def climb(
    bins: NDArray[np.float64],
    total: float,
    shape: NDArray[np.float64],
    directions: NDArray[np.float64],
    fisher: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    precision: NDArray[np.float64],
    steps: int,
    theta: NDArray[np.float64],
    mu: NDArray[np.float64],
    every: bool,
) -> tuple[float, bool]:
    """Do what `fit_phase` does; returns the maximum, and whether it was reached within the steps.

    The arrays hold `every` bin, or only those with counts, where directions are centred and no bin is at its floor:
    the sum of all bins is 1 then.
    """
    size = len(theta)
    scale = spectrum_at(shape, directions, theta, mu, every)
    sums = np.dot(directions, np.ones(len(shape))) if every else np.zeros(size)
    value = _objective(bins, mu, theta, precision)
    weight = np.empty(len(shape))
    score = np.empty(size)
    step = np.empty(size)
    trial = np.empty(size)
    trial_mu = np.empty(len(shape))
    hessian = fisher.copy()
    for iteration in range(steps):
        for g in range(len(shape)):
            weight[g] = bins[g] / mu[g]
        slope_at = np.dot(directions, weight)
        for k in range(size):
            score[k] = (slope_at[k] - total * sums[k]) / scale - precision[k] * theta[k]
        promised = newton_step(total, score, hessian, low, high, precision, theta, step)
        if promised < TOLERANCE:
            return value, True
        if iteration > 0 and total > REFRESH_COUNTS:
            for g in range(len(shape)):
                weight[g] = 1.0 / np.sqrt(mu[g])
            scaled = directions * weight
            information = np.dot(scaled, scaled.T)
            for k in range(size):
                for j in range(size):
                    hessian[k, j] = (information[k, j] - sums[k] * sums[j]) / (scale * scale)
            promised = newton_step(total, score, hessian, low, high, precision, theta, step)
            if promised < TOLERANCE:
                return value, True
        factor = 1.0
        gained = 0.0
        for _ in range(LINE_SEARCH):
            for k in range(size):
                trial[k] = theta[k] + factor * step[k]
            trial_scale = spectrum_at(shape, directions, trial, trial_mu, every)
            found = _objective(bins, trial_mu, trial, precision)
            if found > value:
                gained = found - value
                value = found
                scale = trial_scale
                for k in range(size):
                    theta[k] = trial[k]
                for g in range(len(shape)):
                    mu[g] = trial_mu[g]
                break
            factor *= LEAST_PART
        if gained < LEAST_GAINED:
            return value, gained > 0.0  # no factor helped: the matrix was a bad one, another may do
    return value, False


@compiled
def fit_phase(
    bins: NDArray[np.float64],
    total: float,
    shape: NDArray[np.float64],
    directions: NDArray[np.float64],
    fisher: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    precision: NDArray[np.float64],
    steps: int,
    theta: NDArray[np.float64],
    mu: NDArray[np.float64],
) -> float:
    """Fit a phase; fills `theta` (K,), whose values it starts from, and `mu` (n_bins,). Returns the maximum."""
    return climb(bins, total, shape, directions, fisher, low, high, precision, steps, theta, mu, True)[0]


@compiled
def log_occam(total: float, eigenvalues: NDArray[np.float64]) -> float:
    """½ Σ ln(1 + N e): what the evidence loses for the freedom of the nuisances."""
    value = 0.0
    for e in eigenvalues:
        value += np.log1p(total * e)
    return 0.5 * value
