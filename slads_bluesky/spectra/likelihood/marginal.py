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

__all__ = ["fit_phase", "fit_to_the_end", "log_occam"]

FLOOR = 1e-3
"""Part of a template's bin that a nuisance cannot take away."""
SWEEPS = 12
TOLERANCE = 0.005
"""A step that promises to raise the maximum by less is not made."""
REFRESH_COUNTS = 2000.0
"""Total from which on the Fisher matrix is computed again at each step."""


@compiled
def _spectrum(
    shape: NDArray[np.float64],
    directions: NDArray[np.float64],
    theta: NDArray[np.float64],
    mu: NDArray[np.float64],
) -> float:
    """Fill `mu` with the spectrum at θ, of sum 1; return the sum that it had."""
    n_bins = len(shape)
    change = np.dot(theta, directions)
    total = 0.0
    for g in range(n_bins):
        mu[g] = max(shape[g] + change[g], FLOOR * shape[g])
        total += mu[g]
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
def fit_to_the_end(
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
) -> tuple[float, bool]:
    """Do what `fit_phase` does; returns the maximum, and whether it was reached within the steps."""
    size = len(theta)
    scale = _spectrum(shape, directions, theta, mu)
    sums = np.dot(directions, np.ones(len(shape)))
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
        if iteration > 0 and total > REFRESH_COUNTS:
            for g in range(len(shape)):
                weight[g] = 1.0 / np.sqrt(mu[g])
            scaled = directions * weight
            information = np.dot(scaled, scaled.T)
            for k in range(size):
                for j in range(size):
                    hessian[k, j] = (information[k, j] - sums[k] * sums[j]) / (scale * scale)
        for k in range(size):
            step[k] = 0.0
        for _ in range(SWEEPS):
            moved = 0.0
            for k in range(size):
                diagonal = precision[k] + total * hessian[k, k]
                slope = score[k] - precision[k] * step[k]
                for j in range(size):
                    slope -= total * hessian[k, j] * step[j]
                new = min(max(theta[k] + step[k] + slope / diagonal, low[k]), high[k]) - theta[k]
                moved = max(moved, abs(new - step[k]))
                step[k] = new
            if moved < 1e-3:
                break
        promised = 0.0
        for k in range(size):
            curved = precision[k] * step[k]
            for j in range(size):
                curved += total * hessian[k, j] * step[j]
            promised += step[k] * (score[k] - 0.5 * curved)
        if promised < TOLERANCE:
            return value, True
        factor = 1.0
        gained = 0.0
        for _ in range(6):
            for k in range(size):
                trial[k] = theta[k] + factor * step[k]
            trial_scale = _spectrum(shape, directions, trial, trial_mu)
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
            factor *= 0.4
        if gained < 0.02:
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
    return fit_to_the_end(bins, total, shape, directions, fisher, low, high, precision, steps, theta, mu)[0]


@compiled
def log_occam(total: float, eigenvalues: NDArray[np.float64]) -> float:
    """½ Σ ln(1 + N e): what the evidence loses for the freedom of the nuisances."""
    value = 0.0
    for e in eigenvalues:
        value += np.log1p(total * e)
    return 0.5 * value
