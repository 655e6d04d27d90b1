"""Whether the fit of a spectrum is accepted: thresholds that hold at every dose, and what else it may be if not.

A spectrum is *flagged* if it fits its best phase worse than one in 1/`false_alarm_rate` spectra of that phase would
(X² of `likelihood`), or if it fits better with a fifth of another phase mixed in. The thresholds are computed, not
drawn: X² has known moments under Poisson statistics (a Pearson III distribution takes its three), to which the
scatter learnt from training spectra is added with the tail of an F distribution, since it was learnt from few.

A flagged spectrum is fitted again: abundances of all phases and of a flat spectrum by maximum likelihood; if they
fit, it is ``mixed``, or ``ill`` where the flat part matters, or ``ok`` after all where the admixture is too small
to matter; a phase on a wrong energy scale is ``ill``; anything else is ``unknown``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtri, gammaincinv, ndtri, stdtrit

from ..axis import EnergyAxis
from ..jit import compiled
from .kernel import chi_square
from .templates import Templates, chi_square_moments, flat_shape, mixture_log_ratio, shift_shape

__all__ = ["Thresholds", "Verdicts", "make_thresholds"]

LEVELS = np.geomspace(1.0, 1e8, 33)
"""Total counts at which thresholds are tabulated."""
SCATTER_FREEDOM = 4
"""Degrees of freedom of the scatter between spectra, in the tail of its F distribution."""
ASSUMED_SPECTRA = 6
"""Training spectra that an assumed template error is worth, for the same tail."""
SMALLEST_PART = 0.05
"""Admixtures under this part are no reason to flag a spectrum."""
FLAT_PART = 0.1
"""A flat part from which on a spectrum is ill."""
GRID_SLACK = 5.0
"""The search for a wrong energy scale goes in steps; so many times the usual small errors are absorbed between."""
COARSE_GAIN = np.linspace(-0.05, 0.05, 11)
COARSE_OFFSET_FWHM = np.linspace(-1.5, 1.5, 11)
FINE = np.linspace(-1.0, 1.0, 9)


@dataclass(frozen=True, eq=False)
class Thresholds:
    """Limits at the `LEVELS` of total counts.

    Parameters
    ----------
    fit : (L, n_levels) float64
        Of X², for each phase.
    mixture : (L, L, n_levels) float64
        Of the log-likelihood ratio for phase l with a part of m; infinite on the diagonal.
    """

    fit: NDArray[np.float64]
    mixture: NDArray[np.float64]


def fit_threshold(
    shape: NDArray[np.float64], total: float, omega: float, n_spectra: int, rate: float
) -> float:
    """Limit of X² for `total` counts of a phase that scatters by `omega`, at a false-alarm rate."""
    mean, deviation, skewness = chi_square_moments(total * shape)
    shape_parameter = 4.0 / skewness**2  # Pearson III: a gamma distribution, shifted and scaled
    quantile = (gammaincinv(shape_parameter, 1.0 - rate) - shape_parameter) / math.sqrt(shape_parameter)
    tail = deviation * float(quantile)
    freedom = SCATTER_FREEDOM * max(n_spectra, ASSUMED_SPECTRA)
    extra = omega * total
    extra_tail = extra * (float(fdtri(SCATTER_FREEDOM, freedom, 1.0 - rate)) - 1.0)
    return mean + extra + math.hypot(tail, extra_tail)


def make_thresholds(
    templates: Templates, false_alarm_rate: float, nuisance_sd: NDArray[np.float64] | None = None
) -> Thresholds:
    """Tabulate both limits; half of the false-alarm rate goes to each test.

    `nuisance_sd` (L, L, n_levels): what fitted nuisances leave uncertain of the mixture's log ratio, a count.
    """
    shape = templates.shape
    n_phases = len(shape)
    half = 0.5 * false_alarm_rate
    fit = np.array([
        [fit_threshold(p, n, omega, int(m), half) for n in LEVELS]
        for p, omega, m in zip(shape, templates.omega, templates.n_spectra, strict=True)
    ])  # fmt: skip
    mixture = np.full((n_phases, n_phases, len(LEVELS)), np.inf)
    ratio = mixture_log_ratio(shape)
    each = half / max(n_phases - 1, 1)
    normal = float(ndtri(1.0 - each))
    for phase in range(n_phases):
        m = max(int(templates.n_spectra[phase]), ASSUMED_SPECTRA)
        few = float(stdtrit(m - 1, 1.0 - each))
        for other in range(n_phases):
            if other == phase:
                continue
            mean = float(ratio[phase, other] @ shape[phase])
            second = ratio[phase, other] - mean
            variance = float(second**2 @ shape[phase])
            skewness = float(second**3 @ shape[phase]) / max(variance, 1e-30) ** 1.5
            # Cornish-Fisher for the skewness; and no ratio exceeds ln(1/α) with more than probability α (Markov).
            quantile = normal + (normal**2 - 1.0) / 6.0 * skewness / np.sqrt(LEVELS)
            poisson = np.sqrt(variance * LEVELS) * quantile
            spread = few * templates.scatter[phase, other] * LEVELS
            if nuisance_sd is not None:
                spread = np.hypot(spread, normal * nuisance_sd[phase, other] * LEVELS)
            limit = LEVELS * mean + np.hypot(np.maximum(poisson, 0.0), spread)
            mixture[phase, other] = np.minimum(limit, math.log(1.0 / each) + spread)
    return Thresholds(fit, mixture)


@compiled
def abundances(bins: NDArray[np.float64], shapes: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """Parts of each of `shapes` (K, n_bins) in a spectrum, by maximum likelihood (EM): (K,), sum 1."""
    k, n_bins = shapes.shape
    part = np.full(k, 1.0 / k)
    total = bins.sum()
    for _ in range(steps):
        new = np.zeros(k)
        for g in range(n_bins):
            if bins[g] == 0.0:
                continue
            mixed = 0.0
            for i in range(k):
                mixed += part[i] * shapes[i, g]
            for i in range(k):
                new[i] += bins[g] * part[i] * shapes[i, g] / mixed
        change = 0.0
        for i in range(k):
            new[i] /= total
            change = max(change, abs(new[i] - part[i]))
            part[i] = new[i]
        if change < 1e-4:
            break
    return part


@compiled
def best_scale(
    bins: NDArray[np.float64],
    shape: NDArray[np.float64],
    edges: NDArray[np.float64],
    gains: NDArray[np.float64],
    offsets: NDArray[np.float64],
) -> tuple[float, float]:
    """Gain and offset, of those given, under which bins (n_bins,) are likeliest of a shape with `edges` in keV."""
    n = len(shape)
    cumulative = np.zeros(n + 1)
    for g in range(n):
        cumulative[g + 1] = cumulative[g] + shape[g]
    best, best_gain, best_offset = -np.inf, 0.0, 0.0
    for gain in gains:
        for offset in offsets:
            value = 0.0
            k = 0
            below = 0.0
            for g in range(n + 1):
                true = (edges[g] - offset) / (1.0 + gain)  # what the wrong scale calls edges[g]
                while k < n - 1 and edges[k + 1] < true:
                    k += 1
                part = min(max((true - edges[k]) / (edges[k + 1] - edges[k]), 0.0), 1.0)
                here = cumulative[k] + part * shape[k]
                if g > 0 and bins[g - 1] > 0.0:
                    value += bins[g - 1] * np.log(here - below + 1e-9)
                below = here
            if value > best:
                best, best_gain, best_offset = value, gain, offset
    return best_gain, best_offset


class Verdicts:
    """Verdicts on flagged spectra.

    Parameters
    ----------
    templates : Templates
    starts : (n_bins + 1,) int32
    axis : EnergyAxis
    resolution_ev : float
    false_alarm_rate : float
    """

    def __init__(
        self,
        templates: Templates,
        starts: NDArray[np.int32],
        axis: EnergyAxis,
        resolution_ev: float,
        false_alarm_rate: float,
    ) -> None:
        self._templates = templates
        self._starts = starts
        self._axis = axis
        self._resolution_kev = resolution_ev * 1e-3
        self._rate = 0.5 * false_alarm_rate
        self._flat = flat_shape(starts)
        self._shapes = np.vstack([templates.shape, self._flat])
        self._edges = axis.offset_kev + axis.width_kev * (starts.astype(np.float64) - 0.5)

    def parts(self, bins: NDArray[np.float64]) -> NDArray[np.float64]:
        """Abundances of the phases and, last, of a flat spectrum in bins (n_bins,): (L + 1,)."""
        return abundances(bins, self._shapes, 200)

    def gain(self, bins: NDArray[np.float64], parts: NDArray[np.float64]) -> float:
        """How much likelier, as a log ratio, the mixture of these `parts` is than the likeliest phase alone."""
        alone = np.log(self._templates.shape) @ bins
        return float(np.log(parts @ self._shapes) @ bins - alone.max())

    def explain(self, bins: NDArray[np.float64], total: float, phase: int) -> tuple[str, NDArray[np.float64]]:
        """Verdict and abundances (L + 1,) of a spectrum that does not fit `phase` as it should."""
        parts = self.parts(bins)
        main = int(parts[:-1].argmax())
        mixture = parts @ self._shapes
        omega = float(self._templates.omega.max())
        spectra = int(self._templates.n_spectra.min())
        limit = fit_threshold(mixture, total, omega, spectra, self._rate)
        if self._fits(bins, total, mixture, main, limit):
            if parts[-1] >= FLAT_PART:
                return "ill", parts
            if 1.0 - parts[main] - parts[-1] >= SMALLEST_PART:
                return "mixed", parts
            return "ok", parts
        if parts[-1] >= 0.9 or self._misplaced(bins, total, phase, limit):
            return "ill", parts
        return "unknown", parts

    def _fits(
        self, bins: NDArray[np.float64], total: float, shape: NDArray[np.float64], main: int, limit: float
    ) -> bool:
        """Whether a mixture of this shape, most of it the phase `main`, fits."""
        return bool(chi_square(bins, total, shape, self._templates.changes[main]) <= limit)

    def _misplaced(self, bins: NDArray[np.float64], total: float, phase: int, limit: float) -> bool:
        """Whether some phase on another energy scale fits."""
        fwhm = 0.5 * self._resolution_kev  # about that of a line under 1 keV
        order = [phase, *[i for i in range(len(self._templates.shape)) if i != phase]]
        for index in order[:4]:
            shape, changes = self._templates.shape[index], self._templates.changes[index]
            gain, offset = best_scale(bins, shape, self._edges, COARSE_GAIN, COARSE_OFFSET_FWHM * fwhm)
            gain, offset = best_scale(
                bins, shape, self._edges, gain + 0.01 * FINE, offset + 0.3 * fwhm * FINE
            )
            moved = shift_shape(shape, self._starts, self._axis, gain, offset)
            if chi_square(bins, total, moved, GRID_SLACK * changes) <= limit:
                return True
        return False
