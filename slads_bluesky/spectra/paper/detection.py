"""Is this spectrum of any known phase at all? The paper's detection step, section 2.3.1.

A network of five hidden layers of Q = 100 maps every training spectrum onto one preset straight line f (Eq. 7). How
far a spectrum misses it, as the variance over the outputs of |f - f̂| (Eqs. 8 to 10), is compared with a threshold T
(Eq. 11). The paper leaves open: the scaling of the input (here the counts over the root mean square length of the
training spectra), the activation (ReLU), f (from 0 to 1) and T (here from validation spectra, for a stated
false-alarm rate). The layers have no biases: with them the constant function f̂ = f solves Eq. 7 exactly, whatever
the spectrum, and training comes so near to it that ill spectra pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f as fisher

from ...errors import ConfigError

__all__ = ["HIDDEN_LAYERS", "DetectionNetwork", "Q", "choose_threshold", "preset_line"]

Q = 100
HIDDEN_LAYERS = 5


def preset_line() -> NDArray[np.float32]:
    """The straight line f, (Q,) from 0 to 1."""
    return np.linspace(0.0, 1.0, Q, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class DetectionNetwork:
    """A trained network with its threshold.

    Parameters
    ----------
    weights : sequence of (n_in, n_out) float32
        Of the five hidden layers and the output layer.
    scale : float
        Counts that become 1.
    threshold : float
        T of Eq. 11.
    """

    weights: tuple[NDArray[np.float32], ...]
    scale: float
    threshold: float = np.inf

    @staticmethod
    def prepare(counts: NDArray[Any], scale: float) -> NDArray[np.float32]:
        """Input of the network for counts (…, n_channels)."""
        return np.asarray(counts, dtype=np.float32) * np.float32(1.0 / scale)

    def variance(self, counts: NDArray[Any]) -> NDArray[np.float64]:
        """σ² of Eq. 9 for counts (…, n_channels): (…)."""
        x = self.prepare(counts, self.scale)
        for weight in self.weights[:-1]:
            x = np.maximum(x @ weight, 0.0)
        miss = np.abs(x @ self.weights[-1] - preset_line())
        return np.asarray(miss.var(axis=-1), dtype=np.float64)

    def is_ill(self, counts: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether spectra (…, n_channels) are of no known phase (Eq. 11): (…)."""
        return np.asarray(self.variance(counts) > self.threshold)


def choose_threshold(variances: Sequence[NDArray[np.float64]], false_alarm_rate: float) -> float:
    """Threshold T for a wanted false-alarm rate.

    Draws of the noise are free, but there are only a dozen validation spectra a phase, whose differences in dose and
    composition make up most of σ²: a quantile of 10⁻³ cannot be read off them. σ² is a sum of squared deviations;
    with the fewest degrees of freedom it can have, one, and n spectra to learn its mean, one more spectrum's σ² over
    that mean follows F(1, n). T is the mean times that quantile, the largest over the phases. With more degrees
    of freedom the rate comes out lower than stated.

    Parameters
    ----------
    variances : for each phase, (n_spectra, n_copies) float64
        σ² of each validation spectrum under several draws of the noise.
    false_alarm_rate : float
        Wanted part of good spectra that are called ill, over 0 and under 0.5.

    Returns
    -------
    float
    """
    if not 0.0 < false_alarm_rate < 0.5:
        raise ConfigError(f"false-alarm rate must be over 0 and under 0.5, not {false_alarm_rate}")
    limits = [
        float(table.mean()) * float(fisher.ppf(1.0 - false_alarm_rate, 1, len(table))) for table in variances
    ]
    return max(limits)
