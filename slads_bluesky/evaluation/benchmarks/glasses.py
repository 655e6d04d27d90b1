"""Quantification of NIST's glasses, by standards and without: how far each element lies from its certified value.

K412, SRM 470: composition as NIST's files state it. K309: nominal oxides. ADM-6005a: composition as the data
sheet has it. Beam currents of ADM-6005a and K309 are nominal, so that quantification takes their sums as 1 there;
where all elements are said to be asked for ("complete") that counts beside measured currents, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...analysis.quantification.quantify import quantify
from ...analysis.quantification.sources import conditions_of_file, read_standard, summed_signals
from ...spectra.physics.composition import Composition
from ..figures import Figure, at_least, at_most, measured

__all__ = ["GLASSES", "glass_figures", "measure_glasses"]

MAJOR, MINOR = 0.10, 0.01
"""Mass fractions over which the goals differ, and under which there is none."""
MODES: Mapping[str, tuple[bool, str, bool | None]] = {
    "standards": (True, "measured", None),
    "standards, complete": (True, "measured", True),
    "standards, O by stoichiometry": (True, "stoichiometry", None),
    "standards, complete, O by stoichiometry": (True, "stoichiometry", True),
    "standardless": (False, "measured", None),
    "standardless, O by stoichiometry": (False, "stoichiometry", None),
}
"""Name to: standards, oxygen, complete."""


@dataclass(frozen=True)
class Glass:
    """A glass: its spectra, what it is made of, and the standards."""

    name: str
    files: tuple[str, ...]
    truth: Mapping[str, float]
    standards: tuple[str, ...]
    valences: Mapping[str, float] = field(default_factory=dict)


def _of_oxides(oxides: Mapping[str, float]) -> dict[str, float]:
    out: dict[str, float] = {}
    for formula, share in oxides.items():
        oxide = Composition.parse(formula)
        for symbol, fraction in zip(oxide.symbols, oxide.mass_fraction, strict=True):
            out[symbol] = out.get(symbol, 0.0) + share * fraction
    return out


GLASSES: tuple[Glass, ...] = (
    Glass(
        "K412",
        tuple(f"nist_msa/III-E_K412_{i}__4_.msa" for i in range(5)),
        {"O": 0.42758, "Mg": 0.116567, "Al": 0.049061, "Si": 0.211982, "Ca": 0.10899, "Fe": 0.077742},
        (
            "nist_msa/Al2O3_std.msa=Al2O3:Al,O",
            "nist_msa/MgO_std.msa=MgO:Mg",
            "nist_msa/SiO2_std.msa=SiO2:Si",
            "nist_msa/CaF2_std.msa=CaF2:Ca",
            "nist_msa/Fe_std.msa=Fe",
        ),
    ),
    Glass(
        "K309",
        ("bruker_k309/K309.msa",),
        _of_oxides({"SiO2": 0.40, "Al2O3": 0.15, "CaO": 0.15, "Fe2O3": 0.15, "BaO": 0.15}),
        (
            "bruker_k309/Al2O3 std.msa=Al2O3:Al,O",
            "bruker_k309/Si std.msa=Si",
            "bruker_k309/CaF2 std.msa=CaF2:Ca",
            "bruker_k309/BaF2 std.msa=BaF2:Ba",
            "bruker_k309/Fe std.msa=Fe",
        ),
        {"Fe": 3},
    ),
    Glass(
        "ADM-6005a",
        tuple(f"adm6005a/ADM-6005a_{i}.msa" for i in range(1, 6)),
        {
            "O": 0.3398,
            "Al": 0.0664,
            "Si": 0.0405,
            "Ca": 0.0683,
            "Ti": 0.0713,
            "Zn": 0.1055,
            "Ge": 0.3037,
        },
        (
            "adm6005a/Al std.msa=Al",
            "adm6005a/SiO2 std.msa=SiO2:O",
            "adm6005a/Si std.msa=Si",
            "adm6005a/CaF2 std.msa=CaF2:Ca",
            "adm6005a/Ti trimmed.msa=Ti",
            "adm6005a/Zn std.msa=Zn",
            "adm6005a/Ge std.msa=Ge",
        ),
    ),
)


def measure_glasses(
    data: Path, *, spectra: int = 5, progress: Callable[[str, float], None] = lambda stage, done: None
) -> list[dict[str, Any]]:
    """Quantify every glass in every mode.

    Parameters
    ----------
    data : Path
        Folder with ``nist_msa``, ``bruker_k309`` and ``adm6005a``; glasses without their files are left out.
    spectra : int
        At most so many spectra of each glass.
    progress : callable

    Returns
    -------
    list of dict
        A row for each glass, spectrum, mode and element: ``true``, ``found``, ``error`` (relative), ``sd``
        (relative), ``inside`` (of the 95 % interval), ``total``, ``misfit``.
    """
    rows: list[dict[str, Any]] = []
    for k, glass in enumerate(GLASSES):
        if not all((data / name).is_file() for name in glass.files):
            continue
        progress(f"{glass.name}: standards", k / len(GLASSES))
        standards = [read_standard(str(data / text)) for text in glass.standards]
        for name in glass.files[:spectra]:
            progress(f"{glass.name}: {Path(name).stem}", (k + 0.5) / len(GLASSES))
            (signal,) = summed_signals(data / name)
            for mode, (with_standards, oxygen, complete) in MODES.items():
                found = quantify(
                    signal.counts.sum(axis=0),
                    signal.axis,
                    conditions_of_file(signal),
                    elements=list(glass.truth),
                    standards=standards if with_standards else (),
                    oxygen=oxygen,
                    valences=glass.valences,
                    complete=complete,
                )
                for symbol, true in glass.truth.items():
                    element = found[symbol]
                    low, high = element.interval95
                    rows.append(
                        {
                            "glass": glass.name,
                            "file": name,
                            "mode": mode,
                            "element": symbol,
                            "true": true,
                            "found": element.mass_fraction,
                            "error": element.mass_fraction / true - 1.0,
                            "sd": element.mass_fraction_sd / true,
                            "inside": bool(low <= true <= high),
                            "total": found.analytical_total,
                            "misfit": found.fit.misfit,
                        }
                    )
    return rows


def _worst(rows: Sequence[Mapping[str, Any]], low: float, high: float) -> float | None:
    """Return the largest error, in per cent, of the means over a glass's spectra."""
    groups: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if low < row["true"] <= high:
            groups.setdefault((row["glass"], row["element"]), []).append(row["error"])
    return max((100 * abs(float(np.mean(errors))) for errors in groups.values()), default=None)


def _share(rows: Sequence[Mapping[str, Any]], low: float, high: float, limit: float) -> str:
    groups: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if low < row["true"] <= high:
            groups.setdefault((row["glass"], row["element"]), []).append(row["error"])
    good = sum(abs(float(np.mean(errors))) <= limit for errors in groups.values())
    return f"{good} of {len(groups)}"


def glass_figures(rows: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """Return the figures of the issue, and how many elements of each kind hold."""
    out: list[Figure] = []
    for mode in MODES:
        mine = [row for row in rows if row["mode"] == mode]
        if not mine:
            continue
        major, minor = (0.02, 0.05) if mode.startswith("standards") else (0.05, 0.10)
        out += [
            at_most(f"{mode}: worst element over 10 % by mass", _worst(mine, MAJOR, 1.0), 100 * major, "%"),
            measured(f"{mode}: elements over 10 % within {100 * major:g} %", _share(mine, MAJOR, 1.0, major)),
            at_most(f"{mode}: worst element of 1 to 10 %", _worst(mine, MINOR, MAJOR), 100 * minor, "%"),
            measured(
                f"{mode}: elements of 1 to 10 % within {100 * minor:g} %", _share(mine, MINOR, MAJOR, minor)
            ),
        ]
    inside = [row["inside"] for row in rows if row["mode"] in ("standards", "standardless")]
    covered = 100 * float(np.mean(inside)) if inside else None
    for mode in MODES:
        held = [row["inside"] for row in rows if row["mode"] == mode]
        if held:
            share = 100 * float(np.mean(held))
            out.append(measured(f"{mode}: 95 % intervals that hold the true value", share, "%"))
    out += [
        at_least("95 % intervals that hold the true value, all glasses", covered, 90.0, "%"),
        at_most("95 % intervals that hold the true value, all glasses", covered, 98.0, "%"),
    ]
    return out
