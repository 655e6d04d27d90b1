"""What known materials have in common: the detector's own nuisances, and how far another material may lie from them.

With the amplitudes t of a material known to the precision W (without its prior), t is normal about the detector's m
with the covariance V + W⁻¹, m about 0 with 1. m is found with a small V, so that a material that shows a value well
decides it. Then V, diagonal, is found by expectation and maximisation (Dempster, Laird & Rubin, J. R. Stat. Soc. B
39, 1 (1977)), shrunk to 0.6 of the width without a calibration: three materials show little of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LINE", "MaterialFit", "common_values", "shared_names"]

LINE = "line"
"""Name of the strengths of line families, which are each material's own."""
SHARED_SD = 0.3
"""Scatter among materials with which their common value is found."""
SHRUNK_SD = 0.6
SHRUNK_WORTH = 2.0
"""Materials that the assumed scatter `SHRUNK_SD` is worth."""
ROUNDS = 30


@dataclass(frozen=True, eq=False)
class MaterialFit:
    """Nuisances as one known material shows them.

    Parameters
    ----------
    names : tuple of str
        Of the amplitudes, in their order; `LINE` for each line family.
    amplitude : (K,) float64
        The most probable, with a standard normal prior.
    information : (K, K) float64
        Fisher matrix of the amplitudes without the prior, in counting statistics alone.
    dispersion : float
        Variance that the model's misfit gives each count, in that of counting.
    """

    names: tuple[str, ...]
    amplitude: NDArray[np.float64]
    information: NDArray[np.float64]
    dispersion: float

    def shown(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What the spectrum says of its amplitudes without their prior: W t (K,) and W (K, K)."""
        # (W + 1) θ = W t
        said = self.information @ self.amplitude + self.amplitude
        return said / self.dispersion, self.information / self.dispersion

    def shared(self, names: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the same of the amplitudes `names` alone, in their order; of what it lacks it says nothing.

        The strengths of lines are integrated out with their prior.
        """
        said, matrix = self.shown()
        own = np.array([name == LINE for name in self.names])
        cross = matrix[~own][:, own]
        inside = np.linalg.inv(matrix[own][:, own] + np.eye(int(own.sum())))
        said = said[~own] - cross @ inside @ said[own]
        matrix = matrix[~own][:, ~own] - cross @ inside @ cross.T
        held = [name for name in self.names if name != LINE]
        place = [i for i, name in enumerate(names) if name in held]
        order = [held.index(names[i]) for i in place]
        out, wide = np.zeros(len(names)), np.zeros((len(names), len(names)))
        out[place] = said[order]
        wide[np.ix_(place, place)] = matrix[np.ix_(order, order)]
        return out, wide


def shared_names(fits: Sequence[MaterialFit]) -> list[str]:
    """Nuisances of the detector that some material shows, each once."""
    return list(dict.fromkeys(name for fit in fits for name in fit.names if name != LINE))


def common_values(
    fits: Sequence[MaterialFit],
    names: Sequence[str],
    unlearnt: dict[str, float] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Amplitudes that materials have in common, and how far those of another may lie from them; (K,) each.

    Parameters
    ----------
    fits : sequence of MaterialFit
    names : sequence of str
        Of the amplitudes.
    unlearnt : dict, optional
        Amplitudes that nothing is learnt of, with their values without a calibration; their scatter is 1.
    """
    fixed = unlearnt if unlearnt is not None else {}
    learnt = np.array([name not in fixed for name in names])
    start = np.array([fixed.get(name, 0.0) for name in names])
    one = np.eye(len(names))
    shared = [fit.shared(names) for fit in fits]
    shown = [w for _, w in shared]
    said = [s - w @ start for s, w in shared]
    scatter = np.where(learnt, SHARED_SD**2, 1.0)
    through = [np.linalg.inv(one + w * scatter) for w in shown]
    precision = one + sum(t @ w for t, w in zip(through, shown, strict=True))
    score = sum(t @ s for t, s in zip(through, said, strict=True))
    left = np.zeros_like(one)
    block = np.ix_(learnt, learnt)
    left[block] = np.linalg.inv(precision[block])
    common = left @ score
    for _ in range(ROUNDS):
        squares = np.zeros(len(names))
        for w, s in zip(shown, said, strict=True):
            posterior = np.linalg.inv(w + np.diag(1.0 / scatter))
            squares += (posterior @ (s - w @ common)) ** 2 + np.diag(posterior)
        found = (SHRUNK_WORTH * SHRUNK_SD**2 + squares) / (SHRUNK_WORTH + len(fits))
        scatter = np.where(learnt, np.minimum(found, 1.0), 1.0)
    return common + start, np.minimum(np.sqrt(scatter + np.diag(left)), 1.0)
