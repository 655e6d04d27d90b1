"""The compiled heart of the default classifier: posterior, best phase, and whether the fit is flagged."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..jit import compiled
from .kernel import bin_counts, chi_square, phase_log_likelihoods
from .verdicts import LEVELS

__all__ = ["Model", "judge", "judge_batch", "outside_scores"]

LOG_STEP = float(np.log(LEVELS[1] / LEVELS[0]))


class Model(NamedTuple):
    """What a spectrum is judged by, as arrays that compiled code takes."""

    tables: NDArray[np.float64]
    """(L, 3, n_bins): ln p, u_gain / p, u_offset / p."""
    fisher: NDArray[np.float64]
    """(L, 3): Fisher information a count of gain, offset, and both."""
    shape: NDArray[np.float64]
    """(L, n_bins): p."""
    changes: NDArray[np.float64]
    """(L, 2, n_bins): u."""
    ratio: NDArray[np.float64]
    """(L, L, n_bins): ln of (phase l with a part of m) over (phase l)."""
    fit_limit: NDArray[np.float64]
    """(L, n_levels)."""
    mixture_limit: NDArray[np.float64]
    """(L, L, n_levels)."""
    numbers: NDArray[np.float64]
    """(2,): tempering ω, log prior odds of one alternative to one phase."""


@compiled
def outside_scores(bins: NDArray[np.float64], outside: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Log-likelihoods of alternatives, rows of ln p (K, n_bins), into `out` (K,)."""
    for k in range(len(outside)):
        value = 0.0
        for g in range(len(bins)):
            value += bins[g] * outside[k, g]
        out[k] = value


@compiled
def judge(
    bins: NDArray[np.float64],
    total: float,
    outside: NDArray[np.float64],
    model: Model,
    posterior: NDArray[np.float64],
) -> tuple[int, float, bool]:
    """Best phase, its posterior, and whether its fit is flagged.

    `outside` (K,) are the log-likelihoods of the alternatives; `posterior` (L + 1,) is filled, the last: outside.
    """
    n_phases = len(model.tables)
    phase_log_likelihoods(bins, total, model.tables, model.fisher, posterior[:n_phases])
    temper = 1.0 / (1.0 + total * model.numbers[0])
    best = 0
    for i in range(n_phases):
        posterior[i] *= temper
        if posterior[i] > posterior[best]:
            best = i
    high = -np.inf
    for k in range(len(outside)):
        high = max(high, outside[k])
    away = 0.0
    for k in range(len(outside)):
        away += np.exp((outside[k] - high) * temper)
    posterior[n_phases] = high * temper + np.log(away) + model.numbers[1]
    top = max(posterior[best], posterior[n_phases])
    norm = 0.0
    for i in range(n_phases + 1):
        posterior[i] = np.exp(posterior[i] - top)
        norm += posterior[i]
    for i in range(n_phases + 1):
        posterior[i] /= norm
    if posterior[n_phases] > 0.5:
        return best, posterior[best], True
    # limits at this dose, linear in the counts between two levels
    level = min(int(np.log(max(total, 1.0)) / LOG_STEP), model.fit_limit.shape[1] - 2)
    low, width = np.exp(level * LOG_STEP), np.exp((level + 1) * LOG_STEP)
    part = min((total - low) / (width - low), 1.0)
    limit = model.fit_limit[best, level] * (1.0 - part) + model.fit_limit[best, level + 1] * part
    if chi_square(bins, total, model.shape[best], model.changes[best]) > limit:
        return best, posterior[best], True
    for other in range(n_phases):
        if other == best:
            continue
        value = 0.0
        for g in range(len(bins)):
            value += bins[g] * model.ratio[best, other, g]
        a, b = model.mixture_limit[best, other, level], model.mixture_limit[best, other, level + 1]
        if value > a * (1.0 - part) + b * part:
            return best, posterior[best], True
    return best, posterior[best], False


@compiled
def bin_batch(
    counts: NDArray[np.float64],
    starts: NDArray[np.int32],
    bins: NDArray[np.float64],
    totals: NDArray[np.float64],
) -> None:
    """Bin spectra (n, n_channels) into `bins` (n, n_bins), their sums into `totals` (n,)."""
    for i in range(len(counts)):
        totals[i] = bin_counts(counts[i], starts, bins[i])


@compiled
def judge_batch(
    bins: NDArray[np.float64],
    totals: NDArray[np.float64],
    outside: NDArray[np.float64],
    model: Model,
    best: NDArray[np.int64],
    probability: NDArray[np.float64],
    flagged: NDArray[np.bool_],
) -> None:
    """Do what `judge` does for binned spectra (n, n_bins); fills the last three arrays (n,)."""
    posterior = np.empty(len(model.tables) + 1)
    for i in range(len(bins)):
        best[i], probability[i], flagged[i] = judge(bins[i], totals[i], outside[i], model, posterior)
