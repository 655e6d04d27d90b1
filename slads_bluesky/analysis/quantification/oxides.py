"""Oxygen by stoichiometry: the valence that an element has in its common oxide.

The table holds the common oxidation states of rock analysis (Si⁴⁺, Al³⁺, Fe²⁺ …); iron and manganese, which have
two, can be given by the user.
"""

from __future__ import annotations

from collections.abc import Mapping

import xraylib

from ...errors import ConfigError
from ...spectra.physics.composition import atomic_number, symbol_of

__all__ = ["oxygen_per_mass", "valences_of"]

OXYGEN = 8
ANIONS = (8, 9, 16, 17, 35, 53)
"""Elements that take no oxygen: O, F, S, Cl, Br, I."""
_VALENCES = {
    1: "H Li Na K Rb Cs Ag",
    2: "Be Mg Ca Sr Ba Fe Mn Zn Ni Co Cu Cd Pb",
    3: "B Al Sc Cr Ga As Y In Sb La Ce Pr Nd Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Bi",
    4: "C Si Ti Ge Zr Sn Hf Th U",
    5: "N P V Nb Ta",
    6: "Mo W",
}
VALENCES = {symbol: valence for valence, symbols in _VALENCES.items() for symbol in symbols.split()}


def valences_of(elements: tuple[int, ...], given: Mapping[str, float] | None = None) -> dict[int, float]:
    """Valence of each element in its oxide, 0 for those that take no oxygen.

    Parameters
    ----------
    elements : tuple of int
        Atomic numbers.
    given : mapping, optional
        Valences by symbol that take the table's place: ``{"Fe": 3}``.

    Raises
    ------
    ConfigError
        Naming an element without a valence, or a valence that cannot be.
    """
    own: dict[int, float] = {}
    for symbol, valence in (given or {}).items():
        if not 0 <= float(valence) <= 8:
            raise ConfigError(f"valence of {symbol} must be 0 to 8, not {valence}")
        own[atomic_number(symbol)] = float(valence)
    out: dict[int, float] = {}
    for z in elements:
        if z in own:
            out[z] = own[z]
        elif z in ANIONS:
            out[z] = 0.0
        elif symbol_of(z) in VALENCES:
            out[z] = float(VALENCES[symbol_of(z)])
        else:
            raise ConfigError(f"oxygen by stoichiometry: no valence of {symbol_of(z)} is known; give one")
    return out


def oxygen_per_mass(z: int, valence: float) -> float:
    """Mass of oxygen per mass of an element in its oxide."""
    return 0.5 * valence * float(xraylib.AtomicWeight(OXYGEN)) / float(xraylib.AtomicWeight(z))
