"""The classifier on real detectors of four makers: what ``slads-bluesky bench spectra --data`` measures. No printing.

Each set is one instrument at one beam energy, its phases with nominal compositions (minerals vary; these are the
formulas of handbooks, not analyses of the specimens). Spectra are thinned to a number of counts by multinomial draws;
the full count is the spectrum itself. See the folder's SOURCES.md for licences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from ...spectra.axis import EnergyAxis
from ...spectra.io.formats import read_spectra
from ...spectra.likelihood.calibration import calibrate
from ...spectra.likelihood.classifier import PhaseClassifier
from ...spectra.likelihood.kernel import bin_starts, binned
from ...spectra.physics.composition import Composition, symbol_of
from ...spectra.physics.detector import Detector
from ...spectra.physics.spectrum import expected_counts
from ...spectra.rebin import rebinned
from .simulated import Spec, thinned

__all__ = [
    "CALIBRATED_ON",
    "DETECTOR_SETS",
    "PLACES",
    "DetectorSet",
    "bayes_limit",
    "chernoff_distance",
    "chernoff_distances",
    "composition_only",
    "drifted",
    "half_of_each",
    "k411_as_k412",
    "left_out",
    "light_elements",
    "measured_templates",
    "mineral_distances",
    "other_places",
    "read_detector_set",
]


def _oxides(parts: Mapping[str, float]) -> dict[str, float]:
    """Mass fractions of elements from those of oxides."""
    out: dict[str, float] = {}
    for oxide, part in parts.items():
        material = Composition.parse(oxide)
        for z, fraction in zip(material.z, material.mass_fraction, strict=True):
            out[symbol_of(z)] = out.get(symbol_of(z), 0.0) + part * fraction
    return out


K309 = _oxides({"SiO2": 0.40, "Al2O3": 0.15, "CaO": 0.15, "Fe2O3": 0.15, "BaO": 0.15})
K411 = {"O": 0.4239, "Mg": 0.0885, "Si": 0.2538, "Ca": 0.1106, "Fe": 0.1121}
K412 = {"O": 0.42758, "Mg": 0.116567, "Al": 0.049061, "Si": 0.211982, "Ca": 0.10899, "Fe": 0.077742}
ADM = {"O": 0.3398, "Al": 0.0664, "Si": 0.0405, "Ca": 0.0683, "Ti": 0.0713, "Zn": 0.1055, "Ge": 0.3037}


@dataclass(frozen=True)
class DetectorSet:
    """Where a set's spectra are, and what is known of its instrument.

    Parameters
    ----------
    folder : str
    beam_energy_kev, takeoff_deg, resolution_ev : float
    phases : phase name to (composition, file name)
        A file name of ``""``: a phase of the classifier without a spectrum.
    """

    folder: str
    beam_energy_kev: float
    takeoff_deg: float
    resolution_ev: float
    phases: Mapping[str, tuple[Spec, str]]


DETECTOR_SETS: dict[str, DetectorSet] = {
    "K309 (Bruker)": DetectorSet(
        "bruker_k309",
        15.0,
        40.0,
        125.0,
        {
            "K309": (K309, "K309.msa"),
            "Al2O3": ("Al2O3", "Al2O3 std.msa"),
            "BaF2": ("BaF2", "BaF2 std.msa"),
            "CaF2": ("CaF2", "CaF2 std.msa"),
            "Fe": ("Fe", "Fe std.msa"),
            "Si": ("Si", "Si std.msa"),
            "Ti": ("Ti", "Ti std.msa"),
            "Zn": ("Zn", "Zn std.msa"),
        },
    ),
    "minerals (EDAX)": DetectorSet(
        "edax_minerals",
        15.0,
        36.7,
        126.2,
        {
            "albite": ("NaAlSi3O8", "albite.msa"),
            "oligoclase": ("Na0.8Ca0.2Al1.2Si2.8O8", "oligoclase.msa"),
            "labradorite": ("Na0.4Ca0.6Al1.6Si2.4O8", "labradorite.msa"),
            "augite": ("Ca0.8Na0.1Mg0.8Fe0.25Al0.2Si1.85O6", "augite.msa"),
            "hornblende": ("Na0.6K0.2Ca1.8Mg3.2Fe1.5Al1.9Si6.6O24H2", "hornblende.msa"),
            "enstatite": ("MgSiO3", "enstatite.msa"),
            "biotite": ("KMg1.7Fe1.2Al1.3Si2.8O12H2", "biotite.msa"),
            "apatite": ("Ca5P3O12F", "apatite.msa"),
            "titanite": ("CaTiSiO5", "titanite.msa"),
        },
    ),
    "NIST 20 kV": DetectorSet(
        "nist_msa",
        20.0,
        35.0,
        130.0,
        {
            "Al2O3": ("Al2O3", "Al2O3_std.msa"),
            "CaF2": ("CaF2", "CaF2_std.msa"),
            "Fe": ("Fe", "Fe_std.msa"),
            "MgO": ("MgO", "MgO_std.msa"),
            "SiO2": ("SiO2", "SiO2_std.msa"),
            "K412": (K412, "III-E_K412_0__4_.msa"),
        },
    ),
    "ADM-6005a (Bruker)": DetectorSet(
        "adm6005a",
        20.0,
        40.0,
        128.0,
        {
            "ADM-6005a": (ADM, "ADM-6005a_1.msa"),
            "Al": ("Al", "Al std.msa"),
            "CaF2": ("CaF2", "CaF2 std.msa"),
            "Ge": ("Ge", "Ge std.msa"),
            "Si": ("Si", "Si std.msa"),
            "SiO2": ("SiO2", "SiO2 std.msa"),
            "Ti": ("Ti", "Ti trimmed.msa"),
            "Zn": ("Zn", "Zn std.msa"),
        },
    ),
    "light elements 25 kV": DetectorSet(
        "light_elements",
        25.0,
        35.0,
        130.0,
        {
            "B": ("B", "B std.msa"),
            "C": ("C", "C std.msa"),
            "BN": ("BN", "BN std.msa"),
            "N": ("N", ""),
            "O": ("O", ""),
        },
    ),
}


def read_detector_set(
    folder: Path, chosen: DetectorSet, rng: np.random.Generator
) -> tuple[EnergyAxis, dict[str, NDArray[np.int64]]]:
    """Energy axis of the first file, and each phase's counts on it, (n_channels,)."""
    axis: EnergyAxis | None = None
    out: dict[str, NDArray[np.int64]] = {}
    for name, (_, file) in chosen.phases.items():
        if not file:
            continue
        found = read_spectra(folder / chosen.folder / file)
        axis = axis if axis is not None else found.axis
        counts = np.round(found.counts[0])
        if found.axis != axis:
            counts = rebinned(counts, found.axis, axis, rng)
        out[name] = counts.astype(np.int64)
    assert axis is not None
    return axis, out


def _settings(chosen: DetectorSet) -> dict[str, Any]:
    return {
        "beam_energy_kev": chosen.beam_energy_kev,
        "takeoff_deg": chosen.takeoff_deg,
        "resolution_ev": chosen.resolution_ev,
    }


def _draws(
    counts: NDArray[np.int64], total: int | None, n: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    return counts[None] if total is None else thinned(counts.astype(np.float64), total, n, rng)


def _tally(
    classifier: PhaseClassifier,
    spectra: Mapping[str, NDArray[np.int64]],
    total: int | None,
    n: int,
    rng: np.random.Generator,
) -> dict[str, dict[str, float]]:
    """For each phase, parts of its spectra that are ok, wrong among ok, flagged, and low_counts."""
    out: dict[str, dict[str, float]] = {}
    for name, counts in spectra.items():
        labels, _, verdicts = classifier.classify_batch(_draws(counts, total, n, rng))
        ok = verdicts == "ok"
        right = np.array([label > 0 and classifier.phases[label - 1] == name for label in labels])
        out[name] = {
            "n": len(labels),
            "ok": float(ok.mean()),
            "wrong": float((ok & ~right).mean()),
            "flagged": float(np.isin(verdicts, ["mixed", "unknown", "ill"]).mean()),
            "low_counts": float((verdicts == "low_counts").mean()),
        }
    return out


CALIBRATED_ON = {
    "K309 (Bruker)": ("Fe", "Al2O3", "CaF2"),
    "minerals (EDAX)": ("apatite", "albite", "enstatite"),
    "NIST 20 kV": ("Fe", "Al2O3", "CaF2"),
    "ADM-6005a (Bruker)": ("Ge", "SiO2", "CaF2"),
}
"""Three materials of each set that a detector is calibrated on."""


def composition_only(
    folder: Path,
    name: str,
    counts: Sequence[int | None],
    n: int,
    rng: np.random.Generator,
    *,
    calibrated: bool = False,
) -> dict[str, dict[str, dict[str, float]]]:
    """Classify each spectrum of a set by templates from compositions; by count and phase.

    With `calibrated` the detector is calibrated on `CALIBRATED_ON`, whose spectra are left out of the result.
    """
    chosen = DETECTOR_SETS[name]
    axis, spectra = read_detector_set(folder, chosen, rng)
    calibration = None
    if calibrated:
        materials = {phase: (chosen.phases[phase][0], spectra.pop(phase)) for phase in CALIBRATED_ON[name]}
        calibration = calibrate(materials, axis, **_settings(chosen))
    classifier = PhaseClassifier.from_compositions(
        {phase: spec for phase, (spec, _) in chosen.phases.items()},
        axis,
        calibration=calibration,
        **_settings(chosen),
    )
    return {str(total or "full"): _tally(classifier, spectra, total, n, rng) for total in counts}


def half_of_each(
    counts: Mapping[str, NDArray[np.int64]], parts: int, rng: np.random.Generator
) -> tuple[dict[str, NDArray[np.int64]], dict[str, NDArray[np.int64]]]:
    """A binomial half of each spectrum in so many parts to train on, and the independent rest to test on."""
    train, rest = {}, {}
    for name, whole in counts.items():
        half = rng.binomial(whole, 0.5)
        share = [rng.multinomial(c, np.full(parts, 1.0 / parts)) for c in half]
        train[name] = np.ascontiguousarray(np.array(share).T)
        rest[name] = whole - half
    return train, rest


def measured_templates(
    folder: Path, name: str, counts: Sequence[int], n: int, rng: np.random.Generator
) -> dict[str, dict[str, dict[str, float]]]:
    """Train on one half of each spectrum's counts, classify the other; by count and phase."""
    chosen = DETECTOR_SETS[name]
    axis, spectra = read_detector_set(folder, chosen, rng)
    train, rest = half_of_each(spectra, 12, rng)
    classifier = PhaseClassifier.from_spectra(train, axis, **_settings(chosen))
    return {str(total): _tally(classifier, rest, total, n, rng) for total in counts}


def drifted(
    folder: Path, name: str, counts: Sequence[int], n: int, rng: np.random.Generator, gain: float
) -> tuple[dict[str, dict[str, dict[str, float]]], dict[str, float]]:
    """Train on one half of each spectrum's counts, classify the other as a detector whose scale is off by `gain`.

    Returns
    -------
    tallies, found
        As `measured_templates`; and the drift that the whole of each phase's other half shows.
    """
    chosen = DETECTOR_SETS[name]
    axis, spectra = read_detector_set(folder, chosen, rng)
    train, rest = half_of_each(spectra, 12, rng)
    classifier = PhaseClassifier.from_spectra(train, axis, **_settings(chosen))
    read_as = EnergyAxis(axis.offset_kev * (1.0 + gain), axis.width_kev * (1.0 + gain), axis.n_channels)
    off = {phase: rebinned(c, read_as, axis, rng).astype(np.int64) for phase, c in rest.items()}
    found = {}
    for label, phase in enumerate(classifier.phases, start=1):
        shown = classifier.energy_drift(off[phase], label)
        found[phase] = float("nan") if shown is None else shown[0]
    return {str(total): _tally(classifier, off, total, n, rng) for total in counts}, found


def k411_as_k412(counts: int, n: int, rng: np.random.Generator) -> float:
    """Part of computed spectra of the glass K411 that a classifier of NIST's materials and it calls K412, ``ok``."""
    chosen = DETECTOR_SETS["NIST 20 kV"]
    axis, settings = EnergyAxis(0.0, 0.01, 2048), _settings(chosen)
    known = {phase: spec for phase, (spec, _) in chosen.phases.items()}
    classifier = PhaseClassifier.from_compositions({**known, "K411": K411}, axis, **settings)
    detector = Detector(resolution_ev=chosen.resolution_ev)
    shape = expected_counts(
        K411, axis, beam_energy_kev=chosen.beam_energy_kev, takeoff_deg=chosen.takeoff_deg, detector=detector,
        total_counts=1.0,
    )  # fmt: skip
    labels, _, verdicts = classifier.classify_batch(rng.multinomial(counts, shape / shape.sum(), size=n))
    called = labels == classifier.phases.index("K412") + 1
    return float((called & (verdicts == "ok")).mean())


PLACES = {
    "K412": ("nist_msa", [f"III-E_K412_{i}__4_.msa" for i in range(5)], "NIST 20 kV", "K412"),
    "ADM-6005a": ("adm6005a", [f"ADM-6005a_{i}.msa" for i in range(1, 6)], "ADM-6005a (Bruker)", "ADM-6005a"),
}
"""Glasses measured at five places each: folder, files, the set whose other phases are known too, its name there."""


def other_places(
    folder: Path, name: str, counts: Sequence[int], n: int, rng: np.random.Generator
) -> dict[str, dict[str, float]]:
    """Train on three places of a glass (and halves of its set's other phases), classify the two others; by count."""
    sub, files, set_name, own = PLACES[name]
    chosen = DETECTOR_SETS[set_name]
    axis, spectra = read_detector_set(folder, chosen, rng)
    places = []
    for file in files:
        found = read_spectra(folder / sub / file)
        whole = np.round(found.counts[0])
        places.append(
            (whole if found.axis == axis else rebinned(whole, found.axis, axis, rng)).astype(np.int64)
        )
    train, _ = half_of_each({k: v for k, v in spectra.items() if k != own}, 12, rng)
    train = {own: np.concatenate([rng.binomial(c, 0.125, (8, len(c))) for c in places[:3]]), **train}
    classifier = PhaseClassifier.from_spectra(train, axis, **_settings(chosen))
    out = {}
    for total in counts:
        tallies = [_tally(classifier, {own: c}, total, n, rng)[own] for c in places[3:]]
        out[str(total)] = {key: float(np.mean([t[key] for t in tallies])) for key in tallies[0]}
    return out


LIGHT = ("B", "C", "N", "O")


def light_elements(
    folder: Path, counts: Sequence[int], n: int, rng: np.random.Generator
) -> dict[str, dict[str, float]]:
    """Pure light elements by compositions alone: part ok as another element.

    B and C as measured at 25 kV, all four as computed with a detector of 126 eV at 5, 10, 15, 20 and 25 kV.
    """
    out: dict[str, dict[str, float]] = {}
    chosen = DETECTOR_SETS["light elements 25 kV"]
    axis, spectra = read_detector_set(folder, chosen, rng)
    compositions = {element: element for element in LIGHT}
    classifier = PhaseClassifier.from_compositions(compositions, axis, **_settings(chosen))
    for element in ("B", "C"):
        out[f"{element}, measured, 25 kV"] = {
            str(c): _tally(classifier, {element: spectra[element]}, c, n, rng)[element]["wrong"]
            for c in counts
        }
    axis = EnergyAxis.phenom()
    for kilovolt in (5.0, 10.0, 15.0, 20.0, 25.0):
        classifier = PhaseClassifier.from_compositions(compositions, axis, beam_energy_kev=kilovolt)
        for element in LIGHT:
            shape = expected_counts(element, axis, beam_energy_kev=kilovolt, total_counts=1e8)
            whole = np.round(shape).astype(np.int64)
            out[f"{element}, computed, {kilovolt:g} kV"] = {
                str(c): _tally(classifier, {element: whole}, c, n, rng)[element]["wrong"] for c in counts
            }
    return out


def bayes_limit(
    folder: Path,
    name: str,
    counts: Sequence[int],
    n: int,
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
) -> dict[str, dict[str, dict[str, float]]]:
    """Part of spectra whose posterior under the set's own measured shapes reaches the confidence; by count and phase.

    No classifier can call more of them ``ok`` with as few errors: the counts do not decide.
    """
    chosen = DETECTOR_SETS[name]
    axis, spectra = read_detector_set(folder, chosen, rng)
    starts = bin_starts(axis, chosen.resolution_ev, 0.12, 1.02 * chosen.beam_energy_kev)
    shapes = np.array([binned(c, starts) + 0.5 for c in spectra.values()])
    log_shapes = np.log(shapes / shapes.sum(axis=1, keepdims=True))
    out: dict[str, dict[str, dict[str, float]]] = {}
    for total in counts:
        row = {}
        for i, (phase, whole) in enumerate(spectra.items()):
            score = binned(_draws(whole, total, n, rng), starts) @ log_shapes.T
            posterior = np.exp(score - score.max(axis=1, keepdims=True))
            posterior /= posterior.sum(axis=1, keepdims=True)
            ok = posterior.max(axis=1) >= confidence
            row[phase] = {
                "ok": float(ok.mean()),
                "wrong": float((ok & (posterior.argmax(axis=1) != i)).mean()),
            }
        out[str(total)] = row
    return out


def mineral_distances(folder: Path, name: str, rng: np.random.Generator) -> dict[tuple[str, str], float]:
    """Chernoff distances a count between the measured spectra of a set."""
    chosen = DETECTOR_SETS[name]
    axis, spectra = read_detector_set(folder, chosen, rng)
    starts = bin_starts(axis, chosen.resolution_ev, 0.12, 1.02 * chosen.beam_energy_kev)
    return chernoff_distances(spectra, starts)


def left_out(
    folder: Path,
    name: str,
    counts: Sequence[int],
    n: int,
    rng: np.random.Generator,
    *,
    computed: bool = False,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Classify each phase's spectra by a classifier that does not know it: part ok, and as which.

    By count and phase: ``ok``, ``as`` (the phase it is called most often) and the Chernoff distance to that one.
    """
    chosen = DETECTOR_SETS[name]
    axis, spectra = read_detector_set(folder, chosen, rng)
    train, rest = half_of_each(spectra, 12, rng)
    out: dict[str, dict[str, dict[str, Any]]] = {str(total): {} for total in counts}
    for missing in spectra:
        known = {phase: rows for phase, rows in train.items() if phase != missing}
        if computed:
            compositions = {phase: chosen.phases[phase][0] for phase in known}
            classifier = PhaseClassifier.from_compositions(compositions, axis, **_settings(chosen))
        else:
            classifier = PhaseClassifier.from_spectra(known, axis, **_settings(chosen))
        for total in counts:
            labels, _, verdicts = classifier.classify_batch(_draws(rest[missing], total, n, rng))
            ok = labels[verdicts == "ok"]
            most = classifier.phases[np.bincount(ok).argmax() - 1] if len(ok) else ""
            out[str(total)][missing] = {"ok": len(ok) / len(labels), "as": most}
    return out


def chernoff_distances(
    spectra: Mapping[str, NDArray[np.int64]], starts: NDArray[np.int32]
) -> dict[tuple[str, str], float]:
    """Chernoff distance a count between the shapes of each pair of phases, in bins."""
    shapes = {name: binned(c, starts) + 0.5 for name, c in spectra.items()}
    shapes = {name: row / row.sum() for name, row in shapes.items()}
    out = {}
    for a, p in shapes.items():
        for b, q in shapes.items():
            if a < b:
                out[a, b] = chernoff_distance(p, q)
    return out


def chernoff_distance(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """Chernoff distance a count of two shapes (bins,) that sum to 1: -min ln Σ pˢ q¹⁻ˢ over 0 ≤ s ≤ 1."""
    found = minimize_scalar(
        lambda s: float(np.log((p**s * q ** (1.0 - s)).sum())), bounds=(0.0, 1.0), method="bounded"
    )
    return -float(found.fun)
