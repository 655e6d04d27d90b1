"""Characteristic X-rays: shells, edges, yields, Coster–Kronig transfer and lines of an element, from xraylib.

Approximations, each named:

- Vacancies are made by electron impact and moved within a shell by Coster–Kronig transitions (Krause,
  J. Phys. Chem. Ref. Data 8, 307 (1979), as tabulated in xraylib); cascades from K to L to M are left out, since
  an electron beam ionises outer shells far more often than inner ones.
- xraylib tabulates no M5 yield under Z = 58 and no M radiative rates under Z = 60: there the nearest tabulated
  element at most three places up stands in. M lines are the weakest part of the model.
- Where the 3d shell is open (Sc to Ni), Krause's L yields with the rates of free atoms make Lα and Lβ about twice
  as strong as metals show them beside Ll and K: `OPEN_3D` halves them. The factor is set by NIST's iron
  standards at 20 and 15 kV (public domain): their agreement with the model is therefore no independent check.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import xraylib
from numpy.typing import NDArray

__all__ = ["SHELLS", "ElementLines", "element_lines"]

SHELLS = ("K", "L1", "L2", "L3", "M1", "M2", "M3", "M4", "M5")
PRINCIPAL = np.array([1, 2, 2, 2, 3, 3, 3, 3, 3])
"""Principal quantum number of each of `SHELLS`."""

_TRANSFERS = tuple(
    (SHELLS.index(source), SHELLS.index(target), getattr(xraylib, f"F{source}{target[1]}_TRANS"))
    for source, target in (
        ("L1", "L2"), ("L1", "L3"), ("L2", "L3"),
        ("M1", "M2"), ("M1", "M3"), ("M1", "M4"), ("M1", "M5"), ("M2", "M3"), ("M2", "M4"), ("M2", "M5"),
        ("M3", "M4"), ("M3", "M5"), ("M4", "M5"),
    )
)  # fmt: skip
_LINES = tuple(
    (match[0][:-5], SHELLS.index(match[1]), getattr(xraylib, name))
    for name in sorted(dir(xraylib))
    if (match := re.fullmatch(r"(K|L[123]|M[1-5])([LMNOP][1-7])_LINE", name)) and match[1][0] != match[2][0]
)
_MIN_RATE = 1e-4
_MIN_ENERGY_KEV = 0.1
_BORROW = 3
OPEN_3D = 0.5


@dataclass(frozen=True)
class ElementLines:
    """What an element emits, per vacancy made by the beam.

    Parameters
    ----------
    z : int
        Atomic number.
    edge_kev : (9,) float64
        Ionisation energy of each shell of `SHELLS`; NaN where the element has no such shell.
    electrons : (9,) float64
        Electrons in each shell.
    transfer : (9, 9) float64
        ``transfer[i, j]``: vacancies in shell j per vacancy made in shell i, Coster–Kronig included.
    yields : (9,) float64
        Fluorescence yield of each shell.
    energy_kev, rate : (n,) float64
        Energy of each line, and its share of the X-rays of its shell.
    shell : (n,) intp
        Shell whose vacancy the line fills.
    names : tuple of str
        Siegbahn-free names, ``"KL3"``.
    """

    z: int
    edge_kev: NDArray[np.float64]
    electrons: NDArray[np.float64]
    transfer: NDArray[np.float64]
    yields: NDArray[np.float64]
    energy_kev: NDArray[np.float64]
    rate: NDArray[np.float64]
    shell: NDArray[np.intp]
    names: tuple[str, ...]


def _value(function: Callable[..., float], *arguments: int) -> float:
    """Return a tabulated value, or 0 where xraylib has none."""
    try:
        return float(function(*arguments))
    except ValueError:
        return 0.0


def _borrowed(function: Callable[..., float], z: int, what: int) -> float:
    """Return a value of this element or, where missing, of the nearest one at most three places up."""
    for neighbour in range(z, z + _BORROW + 1):
        value = _value(function, neighbour, what)
        if value > 0:
            return value
    return 0.0


@lru_cache(maxsize=128)
def element_lines(z: int) -> ElementLines:
    """Lines of element `z` with energies of 0.1 keV and more and a share of at least 10⁻⁴ of their shell."""
    edge = np.array([_value(xraylib.EdgeEnergy, z, shell) for shell in range(len(SHELLS))])
    electrons = np.array([_value(xraylib.ElectronConfig, z, shell) for shell in range(len(SHELLS))])
    open_shell = (edge > 0) & (electrons > 0)
    heavy = z >= 57  # where 4f electrons can fill M4 and M5: below, those vacancies hardly radiate
    yields = np.array([
        (_borrowed if heavy else _value)(xraylib.FluorYield, z, shell) if open_shell[shell] else 0.0
        for shell in range(len(SHELLS))
    ])  # fmt: skip
    step = np.zeros((len(SHELLS), len(SHELLS)))
    for source, target, name in _TRANSFERS:
        if open_shell[source] and open_shell[target]:
            step[source, target] = _value(xraylib.CosKronTransProb, z, name)
    # A vacancy may move more than once (L1 -> L2 -> L3): sum of all powers of the strictly upper step matrix.
    transfer = np.linalg.inv(np.eye(len(SHELLS)) - step).astype(np.float64)
    names, energies, rates, shells = [], [], [], []
    for name, shell, line in _LINES:
        if not open_shell[shell]:
            continue
        rate = (_borrowed if heavy and shell >= 4 else _value)(xraylib.RadRate, z, line)
        if 21 <= z <= 28 and name in ("L2M4", "L3M4", "L3M5"):
            rate *= OPEN_3D
        energy = _value(xraylib.LineEnergy, z, line)
        if energy == 0.0 and heavy and name in ("M5N7", "M5N6", "M4N6"):
            energy = edge[shell]  # 4f electrons of lanthanum and cerium are bound by less than 1 eV
        if rate > _MIN_RATE and energy >= _MIN_ENERGY_KEV:
            names.append(name)
            energies.append(energy)
            rates.append(rate)
            shells.append(shell)
    return ElementLines(
        z,
        np.where(open_shell, edge, np.nan).astype(np.float64),
        electrons,
        transfer,
        yields,
        np.array(energies),
        np.array(rates),
        np.array(shells, dtype=np.intp),
        tuple(names),
    )
