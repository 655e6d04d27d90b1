"""What is known of each phase before a spectrum is classified: its shape, how sure it is, how much it scatters.

Everything is learnt in bins (`likelihood.bin_starts`). Of M training spectra of a phase:

- the shape is their sum, smoothed by a prior (the mean of all phases and a little of a flat spectrum) whose weight
  is the one that predicts each left-out spectrum best;
- Ω, the scatter of single spectra about it beyond counting statistics, as chi-square per count: of each spectrum
  against the shape of the others. Plain Poisson statistics would reject every real spectrum at a high dose;
- the same along the way to each other phase, where it makes spectra look mixed;
- the count rate and its scatter, if the live time is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .axis import EnergyAxis

__all__ = ["MIXTURE", "Templates", "build_templates", "chi_square_moments"]

STRAY = 1e-4
"""Part of every spectrum that may lie anywhere (stray electrons, pile-up, cosmic rays)."""
MIXTURE = 0.2
"""Part of another phase that the test for mixtures looks for."""
PRIOR_WEIGHTS = np.array([1.0, 3.0, 10.0, 30.0, 100.0, 300.0])
"""Pseudo-counts of the smoothing prior to choose from."""
DEFAULT_WEIGHT = 30.0
SCATTER_DIRECTIONS = 50.0
"""Independent ways in which a spectrum's shape is taken to vary, where only their sum Ω is known."""


@dataclass(frozen=True, eq=False)
class Templates:
    """Phases as the classifier knows them.

    Parameters
    ----------
    shape : (L, n_bins) float64
        Expected part of the counts in each bin; rows sum to 1.
    changes : (L, 2, n_bins) float64
        Change of the shape under one standard deviation of gain and of offset.
    omega : (L,) float64
        Ω, chi-square per count of single spectra about the shape.
    n_spectra : (L,) int64
        Training spectra behind each; 0 for a computed shape.
    scatter : (L, L) float64
        ``scatter[l, m]``: standard deviation, per count, of a spectrum's log-likelihood ratio between phase l with
        a part `MIXTURE` of m and phase l alone, beyond counting statistics.
    rate : (L, 2) float64
        Counts per live second and their relative standard deviation; NaN where unknown.
    """

    shape: NDArray[np.float64]
    changes: NDArray[np.float64]
    omega: NDArray[np.float64]
    n_spectra: NDArray[np.int64]
    scatter: NDArray[np.float64]
    rate: NDArray[np.float64]


def flat_shape(starts: NDArray[np.int32]) -> NDArray[np.float64]:
    """Shape of a spectrum with as many counts in each channel, (n_bins,)."""
    return np.diff(starts) / float(starts[-1])


def chi_square_moments(expected: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean, standard deviation and skewness of Σ (n - μ)²/(μ + 1) for Poisson n of means μ, (n_bins,).

    From the moments of a Poisson variable about its mean: those of (n - μ)² are μ, μ + 2μ² and μ + 22μ² + 8μ³.
    """
    weight = 1.0 / (expected + 1.0)
    mean = float((weight * expected).sum())
    variance = float((weight**2 * expected * (1.0 + 2.0 * expected)).sum())
    third = float((weight**3 * expected * (1.0 + 22.0 * expected + 8.0 * expected**2)).sum())
    return mean, math.sqrt(variance), third / variance**1.5


def mixture_log_ratio(shape: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ln of (phase l with a part `MIXTURE` of m) over (phase l), (L, L, n_bins)."""
    return np.asarray(np.log1p(MIXTURE * (shape[None, :, :] / shape[:, None, :] - 1.0)))


def scale_changes(
    shape: NDArray[np.float64],
    starts: NDArray[np.int32],
    axis: EnergyAxis,
    gain_sd: float,
    offset_sd_kev: float,
) -> NDArray[np.float64]:
    """Change of shapes (L, n_bins) under one standard deviation of gain and offset: (L, 2, n_bins), rows sum to 0."""
    out = np.empty((len(shape), 2, shape.shape[1]))
    for phase, row in enumerate(shape):
        for k, (gain, offset) in enumerate(((gain_sd, 0.0), (0.0, offset_sd_kev))):
            up = shift_shape(row, starts, axis, gain, offset)
            down = shift_shape(row, starts, axis, -gain, -offset)
            change = 0.5 * (up - down)
            out[phase, k] = change - change.sum() * row
    return out


def shift_shape(
    shape: NDArray[np.float64], starts: NDArray[np.int32], axis: EnergyAxis, gain: float, offset_kev: float
) -> NDArray[np.float64]:
    """Shape (n_bins,) as an instrument records it whose energies are E (1 + gain) + offset; sums to 1."""
    edges = axis.offset_kev + axis.width_kev * (starts.astype(np.float64) - 0.5)
    cumulative = np.concatenate([[0.0], np.cumsum(shape)])
    moved = edges * (1.0 + gain) + offset_kev
    out = np.maximum(np.diff(np.interp(edges, moved, cumulative)), 0.0) + 1e-12 * np.diff(starts)
    return np.asarray(out / out.sum())


def build_templates(
    spectra: list[NDArray[np.float64]],
    computed: NDArray[np.bool_],
    starts: NDArray[np.int32],
    axis: EnergyAxis,
    *,
    template_error: float,
    gain_sd: float,
    offset_sd_kev: float,
    live_time_s: float | None,
) -> Templates:
    """Learn from binned spectra, one (M, n_bins) array a phase.

    Parameters
    ----------
    spectra : list of (M, n_bins) float64
    computed : (L,) bool
        Whether a phase's single "spectrum" is a computed expectation, without noise.
    template_error : float
        Relative error of computed shapes; Ω is its square. Phases of one or two measured spectra get it too.
    live_time_s : float, optional
        Of each measured spectrum.
    """
    flat = flat_shape(starts)
    sums = [rows.sum(axis=0) for rows in spectra]
    mean_shape = np.mean([s / s.sum() for s in sums], axis=0)
    prior = 0.9 * mean_shape + 0.1 * flat
    n_phases = len(spectra)
    weights = [0.0 if computed[i] else _smoothing_weight(rows, prior) for i, rows in enumerate(spectra)]

    def finish(summed: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
        smooth = (summed + weight * prior) / (summed.sum() + weight)
        return np.asarray((1.0 - STRAY) * smooth + STRAY * flat)

    shape = np.array([finish(s, w) for s, w in zip(sums, weights, strict=True)])
    ratio = mixture_log_ratio(shape)
    omega = np.full(n_phases, template_error**2)
    scatter = np.zeros((n_phases, n_phases))
    rate = np.full((n_phases, 2), np.nan)
    counted = np.array([0 if c else len(rows) for c, rows in zip(computed, spectra, strict=True)])
    for phase, rows in enumerate(spectra):
        variance = np.maximum((ratio[phase] ** 2) @ shape[phase] - (ratio[phase] @ shape[phase]) ** 2, 0.0)
        if counted[phase] < 3:
            scatter[phase] = np.sqrt(variance * template_error**2 / SCATTER_DIRECTIONS)
            continue
        totals = rows.sum(axis=1)
        others = np.array([finish(sums[phase] - row, weights[phase]) for row in rows])
        omega[phase] = _omega(rows, totals, others)
        for other in range(n_phases):
            if other != phase:
                scatter[phase, other] = _scatter(rows, totals, others, ratio[phase, other], variance[other])
        if live_time_s is not None:
            mean = totals.mean()
            extra = max(float(totals.var(ddof=1) - mean), 0.0)
            rate[phase] = mean / live_time_s, max(math.sqrt(extra) / mean, 0.01)
    changes = scale_changes(shape, starts, axis, gain_sd, offset_sd_kev)
    return Templates(shape, changes, omega, counted.astype(np.int64), scatter, rate)


def _smoothing_weight(rows: NDArray[np.float64], prior: NDArray[np.float64]) -> float:
    """Weight of the prior under which the other spectra predict each spectrum best."""
    if len(rows) < 3:
        return DEFAULT_WEIGHT
    total = rows.sum(axis=0)
    gain = np.zeros(len(PRIOR_WEIGHTS))
    for row in rows:
        rest = total - row
        for i, weight in enumerate(PRIOR_WEIGHTS):
            gain[i] += row @ np.log((rest + weight * prior) / (rest.sum() + weight))
    return float(PRIOR_WEIGHTS[gain.argmax()])


def _omega(rows: NDArray[np.float64], totals: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """Chi-square per count beyond counting statistics of a spectrum against the others' shape; a cautious mean."""
    excess = np.empty(len(rows))
    error = np.empty(len(rows))
    for i, (row, total, shape) in enumerate(zip(rows, totals, others, strict=True)):
        expected = total * shape
        mean, deviation, _ = chi_square_moments(expected)
        excess[i] = (((row - expected) ** 2 / (expected + 1.0)).sum() - mean) / total
        error[i] = deviation / total
    return max(float(excess.mean()), 0.0) + float(error.mean()) / math.sqrt(len(rows))


def _scatter(
    rows: NDArray[np.float64],
    totals: NDArray[np.float64],
    others: NDArray[np.float64],
    ratio: NDArray[np.float64],
    variance: float,
) -> float:
    """Standard deviation per count of Σ n ln(mixture / phase) beyond counting statistics; a cautious estimate."""
    deviation = (rows @ ratio) / totals - others @ ratio
    poisson = float((variance / totals).mean())
    cautious = 1.0 - math.sqrt(2.0 / len(rows))
    return math.sqrt(max(float((deviation**2).mean()) - poisson * cautious, 0.0))
