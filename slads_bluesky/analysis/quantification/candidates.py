"""What a composition may be: minerals, oxides and alloys whose compositions it matches, with a probability.

Minerals and compounds have their ideal formulas, alloys the nominal or mid-range composition of the standard that
the table names. The distance of a measured composition c from a candidate's r is
χ² = Σ (c - r)² / (s² + (0.04 r + 0.004)²), with the measurement's standard deviation s and a tolerance for what real
phases substitute; elements that spectra do not show (H, and C where it was ignored) are left out of the candidate.
Against all candidates stands "none of them", under which each mass fraction is spread by 0.15.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from ...errors import ConfigError, DataError
from ...spectra.physics.composition import Composition
from .result import Quantification

__all__ = ["Candidate", "Match", "candidate_table", "match_composition"]

TOLERANCE, LEAST_TOLERANCE = 0.04, 0.004
NONE_SPREAD = 0.15
"""Standard deviation of each mass fraction if it is none of the candidates."""
UNSEEN = ("H",)
"""Elements that make no X-rays here."""


@dataclass(frozen=True)
class Candidate:
    """A phase that a composition may be: its name, composition, and where that comes from."""

    name: str
    composition: Composition
    source: str


@dataclass(frozen=True)
class Match:
    """A candidate and how well it fits.

    Parameters
    ----------
    name : str
        ``""`` for none of the candidates.
    probability : float
        Among all candidates and none of them.
    distance : float
        Root of χ² per element; infinite for none of them.
    """

    name: str
    probability: float
    distance: float


def candidate_table(path: Path | None = None) -> tuple[Candidate, ...]:
    """Read the shipped table, and the user's own after it.

    Parameters
    ----------
    path : Path, optional
        A .csv with the columns ``name``, ``composition`` and, if wanted, ``source``; a composition is a formula
        (``SiO2``) or mass fractions (``Cu:0.70 Zn:0.30``).

    Raises
    ------
    ConfigError
        Naming the file and the line that cannot be.

    Examples
    --------
    >>> [c.name for c in candidate_table() if c.name.startswith("quartz")]
    ['quartz']
    """
    shipped = _shipped()
    if path is None:
        return shipped
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None
    return (*shipped, *_read(text.splitlines(), str(path)))


@lru_cache(maxsize=1)
def _shipped() -> tuple[Candidate, ...]:
    source = files(__package__).joinpath("candidates.csv")
    return tuple(_read(source.read_text(encoding="utf-8").splitlines(), "candidates.csv"))


def _read(lines: Sequence[str], where: str) -> list[Candidate]:
    reader = csv.DictReader(lines)
    if not {"name", "composition"} <= set(reader.fieldnames or ()):
        raise ConfigError(f"{where}: the first line must name the columns name, composition and source")
    out = []
    for row in reader:
        try:
            name, text = str(row["name"] or "").strip(), str(row["composition"] or "").strip()
            if not name:
                raise ConfigError("no name")
            out.append(Candidate(name, Composition.parse(_composition(text)), str(row.get("source") or "")))
        except (ConfigError, ValueError) as error:
            raise ConfigError(f"{where}, line {reader.line_num}: {error}") from None
    return out


def _composition(text: str) -> str | dict[str, float]:
    if ":" not in text:
        return text
    return {symbol: float(value) for symbol, value in (part.split(":", 1) for part in text.split())}


def match_composition(
    found: Quantification,
    candidates: Iterable[Candidate] | None = None,
    *,
    unseen: Sequence[str] = UNSEEN,
    most: int = 5,
) -> list[Match]:
    """Match a composition with candidates.

    Parameters
    ----------
    found : Quantification
    candidates : iterable of Candidate, optional
        Default: the shipped table.
    unseen : sequence of str
        Elements that the spectrum could not show; the candidates are compared without them.
    most : int
        Matches to return.

    Returns
    -------
    list of Match
        The most probable first; "none of them" has the name ``""``.

    Raises
    ------
    DataError
        If no element was found.
    """
    measured = found.normalised
    if not measured:
        raise DataError("no element was found to match a composition with")
    divisor = sum(e.mass_fraction for e in found.elements)
    spread = {e.symbol: e.mass_fraction_sd / divisor for e in found.elements}
    table = tuple(candidates) if candidates is not None else candidate_table()
    blind = {*unseen, *({"C"} if "C" not in spread else ())}
    names, logs, distances = [""], [0.0], [math.inf]
    for candidate in table:
        theirs = {
            symbol: fraction
            for symbol, fraction in zip(
                candidate.composition.symbols, candidate.composition.mass_fraction, strict=True
            )
            if symbol not in blind
        }
        total = sum(theirs.values())
        if total <= 0:
            continue
        symbols = sorted({*theirs, *measured})
        chi2, log = 0.0, 0.0
        for symbol in symbols:
            r = theirs.get(symbol, 0.0) / total
            c, s = measured.get(symbol, 0.0), spread.get(symbol, 0.0)
            sigma2 = s * s + (TOLERANCE * r + LEAST_TOLERANCE) ** 2
            chi2 += (c - r) ** 2 / sigma2
            if symbol in measured:
                log += math.log(NONE_SPREAD / math.sqrt(sigma2))
        names.append(candidate.name)
        logs.append(log - 0.5 * chi2)
        distances.append(math.sqrt(chi2 / len(symbols)))
    values = np.array(logs)
    weights = np.exp(values - values.max())
    weights /= weights.sum()
    order = np.lexsort((np.array(distances), -weights))
    return [Match(names[i], float(weights[i]), distances[i]) for i in order[:most]]
