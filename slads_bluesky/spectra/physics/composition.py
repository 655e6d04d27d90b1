"""Compositions: from a formula or from mass fractions to elements and their mass fractions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import xraylib

from ...errors import ConfigError

__all__ = ["Composition", "is_symbol", "symbol_of"]

MAX_Z = 94
"""Last element for which xraylib holds what the model needs."""


@dataclass(frozen=True)
class Composition:
    """Elements of a homogeneous material, by mass.

    Parameters
    ----------
    z : tuple of int
        Atomic numbers, rising, each once.
    mass_fraction : tuple of float
        Mass fraction of each; they sum to 1.
    """

    z: tuple[int, ...]
    mass_fraction: tuple[float, ...]

    @classmethod
    def parse(cls, value: str | Mapping[str, float] | Composition) -> Composition:
        """Read a formula (``"CaO"``, ``"K2O2"``) or mass fractions (``{"Pb": 0.38, "Sn": 0.62}``).

        Mass fractions are normalised to sum 1 if they sum to 0.98 … 1.02 (or the same in per cent).

        Raises
        ------
        ConfigError
            Naming the element or the formula that does not exist, a fraction that is not positive, or a sum
            that is neither 1 nor 100 %.
        """
        if isinstance(value, Composition):
            return value
        if isinstance(value, str):
            return cls._from_formula(value)
        if not value:
            raise ConfigError("composition: no element given")
        fractions: dict[int, float] = {}
        for symbol, fraction in value.items():
            number = atomic_number(symbol)
            if not (isinstance(fraction, (int, float)) and math.isfinite(fraction) and fraction > 0):
                raise ConfigError(
                    f"composition: mass fraction of {symbol} must be a positive number, not {fraction}"
                )
            fractions[number] = float(fraction)
        total = sum(fractions.values())
        if not (0.98 <= total <= 1.02 or 98.0 <= total <= 102.0):
            raise ConfigError(f"composition: mass fractions sum to {total:.4g}, neither to 1 nor to 100 %")
        ordered = sorted(fractions)
        return cls(tuple(ordered), tuple(fractions[n] / total for n in ordered))

    @classmethod
    def _from_formula(cls, formula: str) -> Composition:
        try:
            parsed = xraylib.CompoundParser(formula)
        except ValueError as error:
            raise ConfigError(f"composition {formula!r}: {error}") from error
        for number in parsed["Elements"]:
            _check(number, formula)
        return cls(tuple(parsed["Elements"]), tuple(parsed["massFractions"]))

    @property
    def symbols(self) -> tuple[str, ...]:
        """Chemical symbols, in the order of `z`."""
        return tuple(xraylib.AtomicNumberToSymbol(number) for number in self.z)


def symbol_of(number: int) -> str:
    """Chemical symbol of an atomic number, ``""`` if there is no such element."""
    return str(xraylib.AtomicNumberToSymbol(number)) if 1 <= number <= MAX_Z else ""


def is_symbol(text: str) -> bool:
    """Whether a text is the symbol of an element with X-ray data."""
    try:
        return bool(text) and 1 <= int(xraylib.SymbolToAtomicNumber(text)) <= MAX_Z
    except ValueError:
        return False


def atomic_number(symbol: str) -> int:
    """Atomic number of a chemical symbol; ConfigError if there is no such element."""
    try:
        number = int(xraylib.SymbolToAtomicNumber(symbol))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"composition: there is no element {symbol!r}") from error
    return _check(number, symbol)


def _check(number: int, what: str) -> int:
    if not 1 <= number <= MAX_Z:
        raise ConfigError(f"composition {what!r}: element {number} is beyond the X-ray data (1 to {MAX_Z})")
    return number
