"""The compiled arithmetic of the likelihood: counts to bins, bins to log-likelihoods and to a test of the fit.

Channels are joined to bins a third of the detector's resolution wide: no line is lost by that, and the sums are
four times shorter. For a phase of shape p (bins, sum 1), n the binned counts and N their sum:

- log-likelihood Σ n ln p, with two small unknown errors of the energy scale (gain and offset, normal priors)
  integrated out by Laplace's method: with scores s = Σ n u/p and Fisher matrix N F, F = Σ u uᵀ/p, for the changes u
  of p under one standard deviation of each, + ½ sᵀ (1 + N F)⁻¹ s − ½ ln |1 + N F|;
- fit: X² = Σ (n − Np)² / (Np + 1), less what the same two errors explain. The 1 tames bins that expect next to
  nothing, which would give Pearson's sum the tail of 1/Np.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..axis import EnergyAxis
from ..jit import compiled
from ..physics.detector import Detector

__all__ = ["bin_counts", "bin_starts", "binned", "chi_square", "counts_outside", "phase_log_likelihoods"]

BINS_PER_FWHM = 3.0


def bin_starts(
    axis: EnergyAxis, resolution_ev: float, low_kev: float = -math.inf, high_kev: float = math.inf
) -> NDArray[np.int32]:
    """First channel of each bin, and the channel after the last bin: (n_bins + 1,).

    Bins that begin under `low_kev` or whose middle lies over `high_kev` are left out; by default all channels are in.
    """
    sigma = Detector(resolution_ev=resolution_ev).sigma_kev(axis.energies())
    width = np.maximum(1, np.round(2.3548 * sigma / BINS_PER_FWHM / axis.width_kev)).astype(int)
    starts = [0]
    while starts[-1] < axis.n_channels:
        starts.append(min(starts[-1] + int(width[starts[-1]]), axis.n_channels))
    energies = axis.energies()
    first = np.array(starts[:-1])
    middle = energies[(first + np.array(starts[1:]) - 1) // 2]
    live = np.flatnonzero((energies[first] >= low_kev) & (middle <= high_kev))
    return np.array(starts[live[0] : live[-1] + 2], dtype=np.int32)


def binned(counts: NDArray[Any], starts: NDArray[np.int32]) -> NDArray[np.float64]:
    """Sum spectra (…, n_channels) into bins: (…, n_bins)."""
    live = np.asarray(counts, dtype=np.float64)[..., starts[0] : starts[-1]]
    return np.asarray(np.add.reduceat(live, starts[:-1] - starts[0], axis=-1))


@compiled
def bin_counts(counts: NDArray[np.float64], starts: NDArray[np.int32], out: NDArray[np.float64]) -> float:
    """Sum counts (n_channels,) into bins `out` (n_bins,). Returns their sum; NaN if one is negative or not finite."""
    total = 0.0
    low = 0.0
    for g in range(len(out)):
        part = 0.0
        for i in range(starts[g], starts[g + 1]):
            value = counts[i]
            part += value
            low = min(low, value)
        out[g] = part
        total += part
    if low < 0.0 or not (total < 1e300):
        return np.nan
    return total


@compiled
def counts_outside(counts: NDArray[np.float64], starts: NDArray[np.int32]) -> float:
    """Sum of the counts (n_channels,) in no bin; NaN if one is negative or not finite."""
    total = 0.0
    low = 0.0
    for i in range(starts[0]):
        total += counts[i]
        low = min(low, counts[i])
    for i in range(starts[-1], len(counts)):
        total += counts[i]
        low = min(low, counts[i])
    return np.nan if low < 0.0 or not (total < 1e300) else total


@compiled
def phase_log_likelihoods(
    bins: NDArray[np.float64],
    total: float,
    tables: NDArray[np.float64],
    fisher: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Log-likelihood of each phase, up to a common constant.

    `tables` (L, 3, n_bins): ln p, u_gain / p, u_offset / p; `fisher` (L, 3): F of gain, offset, and both.
    """
    for phase in range(len(tables)):
        table = tables[phase]
        value = 0.0
        s0 = 0.0
        s1 = 0.0
        for g in range(len(bins)):
            n = bins[g]
            value += n * table[0, g]
            s0 += n * table[1, g]
            s1 += n * table[2, g]
        a = 1.0 + total * fisher[phase, 0]
        b = 1.0 + total * fisher[phase, 1]
        c = total * fisher[phase, 2]
        determinant = a * b - c * c
        fit = (b * s0 * s0 - 2.0 * c * s0 * s1 + a * s1 * s1) / determinant
        out[phase] = value + 0.5 * fit - 0.5 * math.log(determinant)


@compiled
def chi_square(
    bins: NDArray[np.float64], total: float, shape: NDArray[np.float64], changes: NDArray[np.float64]
) -> float:
    """X² of bins against `total` × `shape` (n_bins,), less what `changes` (2, n_bins) of the shape explain."""
    value = 0.0
    s0 = 0.0
    s1 = 0.0
    a = 1.0
    b = 1.0
    c = 0.0
    for g in range(len(bins)):
        expected = total * shape[g]
        weight = 1.0 / (expected + 1.0)
        miss = bins[g] - expected
        u0 = total * changes[0, g]
        u1 = total * changes[1, g]
        value += miss * miss * weight
        s0 += miss * u0 * weight
        s1 += miss * u1 * weight
        a += u0 * u0 * weight
        b += u1 * u1 * weight
        c += u0 * u1 * weight
    return value - (b * s0 * s0 - 2.0 * c * s0 * s1 + a * s1 * s1) / (a * b - c * c)
