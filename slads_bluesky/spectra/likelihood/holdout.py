"""Hold-out validation inside a detector's calibration: what is learnt must predict materials it was not learnt from.

Each known material is left out in turn. The evidence of its spectrum is that of a normal likelihood with the
amplitudes t and the precision W that it shows, and of a normal prior, either what the others have shown of the
detector or what is assumed without a calibration:

    ln ∫ exp(sᵀθ − ½ θᵀWθ) N(θ; μ, D) dθ = sᵀμ − ½ μᵀWμ + ½ rᵀ(W + D⁻¹)⁻¹r − ½ ln|1 + W D|,  s = W t, r = s − W μ

summed over the materials. Starting from all that was learnt, the nuisance whose removal raises the sum most, or
lowers it least, is taken back to its prior, until each that is left makes the left-out materials e times likelier or
more (`LEAST_WORTH`); then these are widened by the largest factor that is as good as the best within the same. A few
materials cannot prove less, and a prior that is too narrow costs more than one that is too wide. So a calibration is
never a worse prediction of the known materials than none at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .common_values import LINE, MaterialFit, common_values, shared_names

__all__ = ["HoldOut", "line_scatter", "validated"]

WIDENED = (1.0, 1.25, 1.6, 2.0, 2.5, 3.2)
LEAST_WORTH = 1.0
"""Log evidence by which a nuisance must improve the prediction of left-out materials to be kept."""
LINE_SD = 0.4
"""Scatter of the strengths of line families, which hold errors of the yields that no calibration learns."""
LINE_WORTH = 2.0
"""Line families that this is worth."""


@dataclass(frozen=True)
class HoldOut:
    """What hold-out validation has found.

    Parameters
    ----------
    dropped : tuple of str
        Nuisances that are left at their prior.
    widened : float
        Factor by which the scatter of all others is wider than it was learnt.
    gain : float
        By how much the log evidence of left-out materials rises by the calibration, on average.
    """

    dropped: tuple[str, ...]
    widened: float
    gain: float


def line_scatter(fits: Sequence[MaterialFit]) -> float:
    """Scatter of the strengths of line families, in that without a calibration."""
    amplitudes = np.concatenate([fit.amplitude[[name == LINE for name in fit.names]] for fit in fits])
    squares = float((amplitudes**2).sum())
    return min(math.sqrt((LINE_WORTH * LINE_SD**2 + squares) / (LINE_WORTH + len(amplitudes))), 1.0)


def validated(fits: Sequence[MaterialFit], prior: Mapping[str, float]) -> HoldOut:
    """Find which nuisances of a calibration predict a left-out material better than their prior.

    Parameters
    ----------
    fits : sequence of MaterialFit
        Two or more.
    prior : mapping
        Mean of each nuisance without a calibration; its standard deviation is 1.
    """
    names = shared_names(fits)
    learnt = []
    for i in range(len(fits)):
        others = [fit for j, fit in enumerate(fits) if j != i]
        mean, sd = common_values(others, names)
        learnt.append(
            {
                LINE: (0.0, line_scatter(others)),
                **{name: (float(mean[k]), float(sd[k])) for k, name in enumerate(names)},
            }
        )

    def total(kept: set[str], widened: float) -> float:
        return sum(
            _evidence(fit, _prior(fit.names, found, prior, kept, widened))
            for fit, found in zip(fits, learnt, strict=True)
        )

    kept = {*names, LINE}
    none = total(set(), 1.0)
    best = total(kept, 1.0)
    while kept:
        without = {name: total(kept - {name}, 1.0) for name in sorted(kept)}
        worst = max(without, key=without.__getitem__)
        if without[worst] < best - LEAST_WORTH:
            break
        best = without[worst]
        kept.remove(worst)
    wider = {factor: total(kept, factor) for factor in WIDENED}
    widened = max(factor for factor in WIDENED if wider[factor] >= max(wider.values()) - LEAST_WORTH)
    dropped = tuple(name for name in [*names, LINE] if name not in kept)
    return HoldOut(dropped, widened, (wider[widened] - none) / len(fits))


def _prior(
    names: Sequence[str],
    found: Mapping[str, tuple[float, float]],
    prior: Mapping[str, float],
    kept: set[str],
    widened: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (K,) of a material's amplitudes."""
    mean = [found[name][0] if name in kept else prior.get(name, 0.0) for name in names]
    sd = [min(widened * found[name][1], 1.0) if name in kept else 1.0 for name in names]
    return np.array(mean), np.array(sd)


def _evidence(fit: MaterialFit, prior: tuple[NDArray[np.float64], NDArray[np.float64]]) -> float:
    """Log evidence of what a material shows, but for a constant."""
    (said, shown), (mean, sd) = fit.shown(), prior
    rest = said - shown @ mean
    posterior = np.linalg.inv(shown + np.diag(1.0 / sd**2))
    _, occam = np.linalg.slogdet(np.eye(len(sd)) + shown * sd**2)
    return float(said @ mean - 0.5 * mean @ shown @ mean + 0.5 * rest @ posterior @ rest - 0.5 * occam)
