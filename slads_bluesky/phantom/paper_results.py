"""The paper's own figures (sections 3.2.1 and 3.2.2), to compare with."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PAPER", "PaperResult"]


@dataclass(frozen=True)
class PaperResult:
    """One experiment of the paper."""

    fraction: float
    """Part of the pixels that was measured."""
    td: float
    """Total distortion (Eq. 14), label 0 counted as a class of the truth."""
    misclassification: float
    dwell_s: float = 10.0
    """Acquisition time of one spectrum in spot mode (3.1)."""


PAPER = {
    "pbsn-128": PaperResult(0.15, 0.0015, 0.0002),
    "pbsn-1024": PaperResult(0.05, 0.0013, 0.0),
    "powder-256": PaperResult(0.20, 0.006, 0.005),
    "powder-1024": PaperResult(0.05, 0.02, 0.0009),
}
"""By the name of our object of the same kind and size."""
