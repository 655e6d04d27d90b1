"""The α lines of elements in an energy range, to label a spectrum with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..spectra.physics.lines import element_lines

__all__ = ["LineLabel", "line_labels"]


ALPHA = {"K": "KL3", "L": "L3M5", "M": "M5N7"}
"""Siegbahn's α₁ of each family in the notation of the line tables."""


@dataclass(frozen=True)
class LineLabel:
    """A label on the energy axis."""

    text: str
    energy_kev: float


def line_labels(elements: Sequence[str], low_kev: float, high_kev: float) -> list[LineLabel]:
    """Label the α line of each family (K, L, M) of each element.

    Parameters
    ----------
    elements : sequence of str
        Symbols.
    low_kev, high_kev : float
        Range of the axis; families whose edge lies above it are not excited by the beam and left out.

    Returns
    -------
    list of LineLabel
        By energy; such as ``Sn Lα``.
    """
    import xraylib

    out = []
    for symbol in elements:
        lines = element_lines(xraylib.SymbolToAtomicNumber(symbol))
        for letter, name in ALPHA.items():
            if name not in lines.names:
                continue
            i = lines.names.index(name)
            energy, edge = float(lines.energy_kev[i]), float(lines.edge_kev[lines.shell[i]])
            if low_kev <= energy <= high_kev and edge <= high_kev:
                out.append(LineLabel(f"{symbol} {letter}α", energy))
    return sorted(out, key=lambda label: label.energy_kev)
