"""What a spectrum can be, as the prior of a phase's shape: a sum of the elements' lines and backgrounds.

A shape with a weak Dirichlet prior may be any curve, so a split of a phase in two has to pay for every bin: two
phases that are nearly alike are never worth it. Under this prior a shape is a mixture of the shapes of pure elements
by the physics model, as well as the model goes (a Dirichlet prior around it, of `AGREEMENT` counts), and pays for its
elements: for as many parts (½ log N each, Schwarz 1978), and for which of all elements they are. The evidence of a
phase is the mean of both priors': a spectrum that no sum of elements explains is still a spectrum.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.special import gammaln

from ..axis import EnergyAxis
from ..physics.detector import Detector
from .bins import joined

__all__ = ["ElementPrior"]

Floats = NDArray[np.float64]

AGREEMENT = (1_000.0, 10_000.0, 100_000.0)
"""Counts at which the model's own error is as large as that of counting; which of them is not known."""
PRESENT = 0.003
"""Part of the counts that an element has at least; the fit leaves smaller ones out."""
TAKEOFF_DEG = 28.5
"""The shapes hardly depend on it."""
LEAST = 1e-4
"""Part of the flat spectrum in each shape."""


class ElementPrior:
    """Prior of shapes that are sums of element spectra.

    Parameters
    ----------
    elements : (E, bins) float64
        Shape of each pure element; rows sum to 1.

    Examples
    --------
    Two groups that are nearly alike are worth a split sooner than if they could be any curve:

    >>> import numpy as np
    >>> elements = np.eye(2, 40) * 0.5 + 0.5 / 40
    >>> prior = ElementPrior(elements / elements.sum(axis=1, keepdims=True))
    >>> alike = np.array([[0.55, 0.45], [0.45, 0.55]]) @ prior.elements[:2]
    >>> groups = 5000 * alike
    >>> bool(prior.log_evidence(groups).sum() > prior.log_evidence(groups.sum(0, keepdims=True))[0])
    True
    """

    def __init__(self, elements: Floats) -> None:
        bins = elements.shape[1]
        flat = np.full((1, bins), 1.0 / bins)
        self.elements: Floats = np.concatenate([(1.0 - LEAST) * elements + LEAST * flat, flat])

    def joined(self, starts: NDArray[np.int64]) -> Self:
        """The same prior in joined bins."""
        other = object.__new__(type(self))
        other.elements = joined(self.elements, starts)
        return other

    @classmethod
    def of(cls, axis: EnergyAxis, beam_energy_kev: float, bin_channels: int) -> Self:
        """The prior of a detector's spectra, in bins of so many channels."""
        from ..likelihood.library import element_shapes

        starts = np.append(np.arange(0, axis.n_channels, bin_channels), axis.n_channels).astype(np.int32)
        return cls(element_shapes(axis, starts, beam_energy_kev, TAKEOFF_DEG, Detector()))

    def fit(self, sums: Floats) -> tuple[Floats, NDArray[np.int64]]:
        """Fit summed counts (K, bins) by elements: shapes (K, bins), and how many elements each has."""
        shapes, n_elements = np.empty_like(sums), np.zeros(len(sums), np.int64)
        for k, row in enumerate(sums):
            total = max(float(row.sum()), 1e-9)
            weight = 1.0 / np.sqrt(row + 1.0)
            columns, target = self.elements.T * weight[:, None], row / total * weight
            parts, misfit = nnls(columns, target)
            chosen = np.flatnonzero(parts > PRESENT * parts.sum())
            price = 0.5 * np.log1p(total) + np.log(len(self.elements))
            # leave out what the counts do not pay for, the smallest first
            for element in chosen[np.argsort(parts[chosen])]:
                fewer = chosen[chosen != element]
                if not fewer.size:
                    break
                found, rest = nnls(columns[:, fewer], target)
                if 0.5 * total**2 * (rest**2 - misfit**2) < price:
                    chosen, misfit = fewer, rest
                    parts = np.zeros(len(self.elements))
                    parts[fewer] = found
            parts[np.setdiff1d(np.arange(len(parts)), chosen)] = 0.0
            parts[-1] = max(parts[-1], LEAST * max(parts.sum(), 1e-12))
            shapes[k], n_elements[k] = parts @ self.elements / parts.sum(), (parts > 0).sum()
        return shapes, n_elements

    def log_evidence(self, sums: Floats) -> Floats:
        """Log of the marginal likelihood of each phase's summed counts (K, bins), up to a constant of the spectra."""
        shape, n_elements = self.fit(sums)
        total = sums.sum(axis=1)
        found = []
        for agreement in AGREEMENT:
            alpha = agreement * shape
            found.append(
                gammaln(agreement)
                - gammaln(agreement + total)
                + (gammaln(alpha + sums) - gammaln(alpha)).sum(1)
            )
        mean = np.logaddexp.reduce(found, axis=0) - np.log(len(AGREEMENT))
        # which elements, and how much of each
        choices = gammaln(len(self.elements) + 1) - gammaln(n_elements + 1)
        choices -= gammaln(len(self.elements) - n_elements + 1)
        return np.asarray(mean - choices - 0.5 * n_elements * np.log1p(total))
