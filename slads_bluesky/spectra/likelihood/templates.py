"""What is known of each phase before a spectrum is classified: its shape, how sure it is, how much it scatters.

Everything is learnt in bins (`likelihood.bin_starts`). Of M training spectra of a phase:

- the shape is their sum, each bin shrunk to the mean of all phases as far as the differences between phases there
  are not larger than their noise (empirical Bayes): with few counts a phase's own noise would cost more than it says;
- Ω, the scatter of single spectra about it beyond counting statistics, as chi-square per count: of each spectrum
  against the shape of the others. Plain Poisson statistics would reject every real spectrum at a high dose;
- the same along the way to each other phase, where it makes spectra look mixed;
- how far the likelihood is to be tempered, so that left-out spectra find their phase as often as it says;
- the count rate and its scatter, if the live time is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...threads import one_thread
from ..axis import EnergyAxis
from .settings import ClassifierSettings

__all__ = ["MIXTURE", "Templates", "add_template", "build_templates", "chi_square_moments"]

STRAY = 1e-4
"""Part of every spectrum that may lie anywhere (stray electrons, pile-up, cosmic rays)."""
MIXTURE = 0.2
"""Part of another phase that the test for mixtures looks for."""
FLAT_PRIOR = 0.02
"""Flat part of the shape to which bins are shrunk, so that no bin expects nothing."""
NEIGHBOURS = 2
"""Bins to either side with which a bin's difference between phases is estimated."""
TEMPERING = np.concatenate([[0.0], np.geomspace(1e-6, 0.1, 26)])
"""Temperings to choose from."""
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
    tempering : (1,) float64
        ω: log-likelihoods of N counts are divided by 1 + N ω.
    """

    shape: NDArray[np.float64]
    changes: NDArray[np.float64]
    omega: NDArray[np.float64]
    n_spectra: NDArray[np.int64]
    scatter: NDArray[np.float64]
    rate: NDArray[np.float64]
    tempering: NDArray[np.float64]


def flat_shape(starts: NDArray[np.int32]) -> NDArray[np.float64]:
    """Shape of a spectrum with as many counts in each channel, (n_bins,)."""
    return np.diff(starts) / float(starts[-1] - starts[0])


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
    settings: ClassifierSettings,
) -> Templates:
    """Learn from binned spectra, one (M, n_bins) array a phase.

    Parameters
    ----------
    spectra : list of (M, n_bins) float64
    computed : (L,) bool
        Whether a phase's single "spectrum" is a computed expectation, without noise.
    starts : (n_bins + 1,) int32
    axis : EnergyAxis
    settings : ClassifierSettings
        Ω of computed shapes, and of phases of one or two measured spectra, is the square of its template error.
    """
    flat = flat_shape(starts)
    sums = np.array([rows.sum(axis=0) for rows in spectra])
    n_phases = len(spectra)
    shape = shrunk_shapes(sums, computed, flat)
    ratio = mixture_log_ratio(shape)
    omega = np.full(n_phases, settings.template_error**2)
    scatter = np.zeros((n_phases, n_phases))
    rate = np.full((n_phases, 2), np.nan)
    counted = np.array([0 if c else len(rows) for c, rows in zip(computed, spectra, strict=True)])
    assumed = assumed_tempering(settings)
    left_out: list[NDArray[np.float64]] = []
    for phase, rows in enumerate(spectra):
        variance = np.maximum((ratio[phase] ** 2) @ shape[phase] - (ratio[phase] @ shape[phase]) ** 2, 0.0)
        if counted[phase] < 3:
            scatter[phase] = np.sqrt(variance * assumed)
            continue
        totals = rows.sum(axis=1)
        others = np.empty_like(rows)
        for i, row in enumerate(rows):
            rest = sums.copy()
            rest[phase] -= row
            shapes = shrunk_shapes(rest, computed, flat)
            others[i] = shapes[phase]
            value = np.log(shapes) @ row
            left_out.append(np.append(value - value[phase], totals[i]))
        omega[phase] = _omega(rows, totals, others)
        for other in range(n_phases):
            if other != phase:
                scatter[phase, other] = _scatter(rows, totals, others, ratio[phase, other], variance[other])
        if settings.live_time_s is not None:
            mean = totals.mean()
            extra = max(float(totals.var(ddof=1) - mean), 0.0)
            rate[phase] = mean / settings.live_time_s, max(math.sqrt(extra) / mean, 0.01)
    tempering = max(
        best_tempering(np.array(left_out)) if left_out else 0.0, assumed if (counted < 3).any() else 0.0
    )
    changes = scale_changes(shape, starts, axis, settings.gain_sd, settings.offset_sd_kev)
    return Templates(shape, changes, omega, counted.astype(np.int64), scatter, rate, np.array([tempering]))


@one_thread()
def add_template(
    templates: Templates,
    rows: NDArray[np.float64],
    starts: NDArray[np.int32],
    axis: EnergyAxis,
    settings: ClassifierSettings,
) -> Templates:
    """Add a phase from binned spectra (M, n_bins); what was learnt of the others stays.

    Their scatter along the way to the new phase is not known: Ω over `SCATTER_DIRECTIONS` stands in.
    """
    new = build_templates([rows], np.array([False]), starts, axis, settings)
    shape = np.vstack([templates.shape, new.shape])
    omega = np.append(templates.omega, new.omega)
    ratio = mixture_log_ratio(shape)
    mean = (ratio * shape[:, None, :]).sum(axis=2)
    variance = np.maximum((ratio**2 * shape[:, None, :]).sum(axis=2) - mean**2, 0.0)
    scatter = np.sqrt(variance * omega[:, None] / SCATTER_DIRECTIONS)
    scatter[:-1, :-1] = templates.scatter
    return Templates(
        shape,
        np.concatenate([templates.changes, new.changes]),
        omega,
        np.append(templates.n_spectra, new.n_spectra),
        scatter,
        np.vstack([templates.rate, new.rate]),
        np.maximum(templates.tempering, new.tempering),
    )


def shrunk_shapes(
    sums: NDArray[np.float64], computed: NDArray[np.bool_], flat: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Shapes (L, n_bins) of summed counts (L, n_bins), shrunk to their mean; computed ones stay as they are.

    In bin g, phase l has the relative difference r = p / m - 1 from the mean m, with noise of variance 1 / (N m).
    The variance τ² of the true differences follows from Σ r² N m over phases and neighbouring bins; what is kept of r
    is τ² / (τ² + 1 / (N m)).
    """
    totals = sums.sum(axis=1, keepdims=True)
    raw = sums / totals
    mean = (1.0 - FLAT_PRIOR) * raw.mean(axis=0) + FLAT_PRIOR * flat
    shape = raw.copy()
    measured = np.flatnonzero(~computed)
    if len(measured):
        information = totals[measured] * mean
        difference = raw[measured] / mean - 1.0
        window = np.ones(2 * NEIGHBOURS + 1) / (2 * NEIGHBOURS + 1)
        found = np.convolve((difference**2 * information).mean(axis=0), window, mode="same")
        weight = np.convolve(information.mean(axis=0), window, mode="same")
        true = np.maximum(found - (1.0 - 1.0 / len(sums)), 0.0) / weight
        kept = true * information / (true * information + 1.0)
        shape[measured] = mean * (1.0 + kept * difference)
        shape[measured] /= shape[measured].sum(axis=1, keepdims=True)
    return np.asarray((1.0 - STRAY) * shape + STRAY * flat)


def assumed_tempering(settings: ClassifierSettings) -> float:
    """ω of phases whose scatter no spectra have shown."""
    return settings.template_error**2 / SCATTER_DIRECTIONS


def best_tempering(left_out: NDArray[np.float64]) -> float:
    """ω under which left-out spectra, rows (log-likelihoods less that of the truth, total), are likeliest."""
    return float(TEMPERING[int(np.argmax(tempering_gains(left_out)))])


def tempering_gains(left_out: NDArray[np.float64], mislabelled: float = 0.0) -> NDArray[np.float64]:
    """Log-likelihood of left-out spectra under each of `TEMPERING`.

    Rows are log-likelihoods less that of the truth, and the total. `mislabelled` is the part of the spectra that may
    be of any phase: it bounds what a single one says.
    """
    values, totals = left_out[:, :-1], left_out[:, -1:]
    other = math.log(mislabelled / values.shape[1]) if mislabelled else -math.inf
    right = math.log1p(-mislabelled)
    gains = [
        np.logaddexp(right - np.logaddexp.reduce(values / (1.0 + omega * totals), axis=1), other).sum()
        for omega in TEMPERING
    ]
    return np.array(gains)


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
