"""What a quantification says: composition, uncertainties, detection limits, how good the fit is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .spectral_fit import SpectralFit

__all__ = ["ElementResult", "Quantification"]

Z95 = 1.959964


@dataclass(frozen=True)
class ElementResult:
    """One element of a composition.

    Parameters
    ----------
    symbol, line : str
        ``"Fe"``, ``"K"``; line ``"stoichiometry"`` for oxygen that was computed.
    method : str
        ``"standard"``, ``"standardless"`` or ``"stoichiometry"``.
    standard : str
        Name of the standard, ``""`` without one.
    mass_fraction, mass_fraction_sd : float
    atomic_fraction : float
    detection_limit : float
        Mass fraction (3.29 σ of the blank, Currie 1968); NaN for oxygen by stoichiometry.
    counts : float
        Net counts of the line family.
    k_ratio : float
        To the standard, or to the pure element of the model; NaN by stoichiometry.
    counting_sd, template_sd, matrix_sd : float
        Relative standard deviations: of the counts, of the fitted shapes, and of the matrix correction (without a
        standard also of generation and detector).
    overlaps : tuple of str
        Families whose amplitudes correlate by more than 0.5 with this one.
    """

    symbol: str
    line: str
    method: str
    standard: str
    mass_fraction: float
    mass_fraction_sd: float
    atomic_fraction: float
    detection_limit: float
    counts: float
    k_ratio: float
    counting_sd: float
    template_sd: float
    matrix_sd: float
    overlaps: tuple[str, ...] = ()

    @property
    def interval95(self) -> tuple[float, float]:
        """Mass fractions between which the true one lies with 95 %."""
        half = Z95 * self.mass_fraction_sd
        return max(self.mass_fraction - half, 0.0), self.mass_fraction + half

    @property
    def detected(self) -> bool:
        """Whether the element is above its detection limit."""
        return not self.mass_fraction < self.detection_limit


@dataclass(frozen=True, eq=False)
class Quantification:
    """A composition with its uncertainties.

    Parameters
    ----------
    elements : tuple of ElementResult
        By rising atomic number.
    covariance : (n, n) float64
        Of the mass fractions.
    method : str
        ``"standards-based"``, ``"standardless"`` or ``"mixed"``.
    analytical_total : float or None
        Sum of the mass fractions; None where they were normalised, because no standard or no dose was known.
    total_sd : float or None
    fit : SpectralFit
    warnings : tuple of str
        What a reader of the table has to know.
    total_assumed : bool
        Whether the mass fractions were fitted to a sum of 1 ± 0.01: their elements are all there is. The analytical
        total is that before, by the dose.
    """

    elements: tuple[ElementResult, ...]
    covariance: NDArray[np.float64]
    method: str
    analytical_total: float | None
    total_sd: float | None
    fit: SpectralFit
    warnings: tuple[str, ...] = ()
    total_assumed: bool = False

    def __getitem__(self, symbol: str) -> ElementResult:
        """Return the result of an element by its symbol."""
        for element in self.elements:
            if element.symbol == symbol:
                return element
        raise KeyError(symbol)

    @property
    def mass_fractions(self) -> dict[str, float]:
        """Mass fraction of each element by its symbol."""
        return {e.symbol: e.mass_fraction for e in self.elements}

    @property
    def normalised(self) -> dict[str, float]:
        """Mass fractions scaled to a sum of 1, elements that were not found left out."""
        total = sum(e.mass_fraction for e in self.elements)
        return {e.symbol: e.mass_fraction / total for e in self.elements if e.mass_fraction > 0}

    def to_json(self) -> dict[str, Any]:
        """Plain values, finite or None."""
        return {
            "method": self.method,
            "analytical_total": self.analytical_total,
            "analytical_total_sd": self.total_sd,
            "total_assumed": self.total_assumed,
            "reduced_chi2": self.fit.reduced_chi2,
            "misfit": self.fit.misfit,
            "resolution_ev": self.fit.resolution_ev,
            "energy_axis": self.fit.axis.to_json(),
            "warnings": list(self.warnings),
            "elements": [
                {
                    "symbol": e.symbol,
                    "line": e.line,
                    "method": e.method,
                    "standard": e.standard or None,
                    "mass_fraction": e.mass_fraction,
                    "mass_fraction_sd": e.mass_fraction_sd,
                    "interval95": list(e.interval95),
                    "atomic_fraction": e.atomic_fraction,
                    "detection_limit": _finite(e.detection_limit),
                    "detected": e.detected,
                    "counts": e.counts,
                    "k_ratio": _finite(e.k_ratio),
                    "relative_sd": {
                        "counting": e.counting_sd,
                        "template": e.template_sd,
                        "matrix": e.matrix_sd,
                    },
                    "overlaps": list(e.overlaps),
                }
                for e in self.elements
            ],
        }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
