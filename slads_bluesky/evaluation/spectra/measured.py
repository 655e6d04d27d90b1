"""How good physics model and classifiers are on real spectra: NIST's standards, and a map of a dacite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...spectra.axis import EnergyAxis
from ...spectra.io.emsa import read_emsa
from ...spectra.io.maps import read_map
from ...spectra.io.measured import MeasuredSpectra
from ...spectra.likelihood.classifier import PhaseClassifier
from ...spectra.physics.detector import Detector, Film
from ...spectra.physics.spectrum import expected_counts
from .simulated import Spec, reliability_bands, thinned

__all__ = [
    "SIX",
    "Dacite",
    "dacite_errors",
    "half_and_half",
    "nist_errors",
    "nist_fit",
    "read_dacite",
    "read_nist",
]

_K412 = {"O": 0.42758, "Mg": 0.116567, "Al": 0.049061, "Si": 0.211982, "Ca": 0.10899, "Fe": 0.077742}
NIST: dict[str, tuple[Spec, str]] = {
    "Al2O3": ("Al2O3", "Al2O3_std.msa"),
    "CaF2": ("CaF2", "CaF2_std.msa"),
    "MgO": ("MgO", "MgO_std.msa"),
    "SiO2": ("SiO2", "SiO2_std.msa"),
    "K412": (_K412, "III-E_K412_0__4_.msa"),
    "Fe": ("Fe", "Fe_std.msa"),
    "Fe 15 kV": ("Fe", "ex2_Fe_std.msa"),
    "MgO 15 kV": ("MgO", "ex2_MgO_std.msa"),
    "Al 15 kV": ("Al", "ex2_Al_std.msa"),
    "Si 15 kV": ("Si", "ex2_Si_std.msa"),
}
"""Standards, their composition (that of K412 from the file's header) and their files."""
SIX = ("Al2O3", "CaF2", "Fe", "MgO", "SiO2", "K412")
NIST_RESOLUTION_EV = 130.0
"""Read off the iron Kα line of the standards themselves, like their energy scale."""
NIST_CUTOFF_KEV = 0.15
CARBON_COAT = Film("C", 1.9, 0.010)
"""As the standards' headers state it; iron is not coated."""


def read_nist(folder: Path) -> dict[str, MeasuredSpectra]:
    """Read the standards in a folder; DataError naming the one that is missing."""
    return {name: read_emsa(folder / file) for name, (_, file) in NIST.items()}


def nist_fit(standards: Mapping[str, MeasuredSpectra]) -> dict[str, dict[str, float]]:
    """Cosine between each standard and its computed spectrum, no fit; and one overall ratio of their counts."""
    detector = Detector(resolution_ev=NIST_RESOLUTION_EV, low_cutoff_kev=NIST_CUTOFF_KEV)
    out = {}
    for name, measured in standards.items():
        coated = measured.beam_energy_kev == 20.0 and name not in ("Fe", "K412")
        dose = (measured.current_na or 1.0) * (measured.live_time_s or 1.0)
        model = expected_counts(
            NIST[name][0],
            measured.axis,
            beam_energy_kev=measured.beam_energy_kev or 20.0,
            takeoff_deg=measured.takeoff_deg or 35.0,
            detector=detector,
            dose_nc=dose,
            coating=CARBON_COAT if coated else None,
        )
        seen = np.where(measured.axis.energies() >= NIST_CUTOFF_KEV, measured.counts[0], 0.0)
        cosine = float(model @ seen / np.sqrt((model @ model) * (seen @ seen)))
        out[name] = {
            "beam_energy_kev": float(measured.beam_energy_kev or 0.0),
            "cosine": cosine,
            "measured_over_model": float(seen.sum() / model.sum()),
        }
    return out


def nist_errors(
    standards: Mapping[str, MeasuredSpectra], counts: list[int], n: int, rng: np.random.Generator
) -> list[dict[str, float]]:
    """Six materials thinned, classified by computed templates alone: the error, and the fraction that is flagged."""
    axis = standards["Fe"].axis
    classifier = PhaseClassifier.from_compositions(
        {name: NIST[name][0] for name in SIX},
        axis,
        beam_energy_kev=20.0,
        takeoff_deg=35.0,
        resolution_ev=NIST_RESOLUTION_EV,
    )
    rows = []
    for total in counts:
        wrong, flagged = 0, 0
        for phase, name in enumerate(SIX):
            drawn = thinned(standards[name].counts[0], total, n, rng)
            best = np.array([classifier.posterior(row)[:-1].argmax() for row in drawn])
            wrong += int((best != phase).sum())
            verdicts = classifier.classify_batch(drawn)[2]
            flagged += int(np.isin(verdicts, ["mixed", "unknown", "ill"]).sum())
        rows.append(
            {
                "counts": total,
                "n": n * len(SIX),
                "error": wrong / (n * len(SIX)),
                "flagged": flagged / (n * len(SIX)),
            }
        )
    return rows


class Dacite:
    """The dacite map: counts (n, n_channels), reference labels (n,) and the axis."""

    def __init__(self, counts: NDArray[np.float64], labels: NDArray[np.int64], axis: EnergyAxis) -> None:
        self.counts, self.labels, self.axis = counts, labels, axis

    def train(self, rng: np.random.Generator, n: int = 12) -> PhaseClassifier:
        """Train on `n` random pixels a class."""
        chosen = {
            str(label): self.counts[rng.choice(np.flatnonzero(self.labels == label), n, replace=False)]
            for label in np.unique(self.labels)
        }
        return PhaseClassifier.from_spectra(chosen, self.axis, resolution_ev=130.0)


def read_dacite(path: Path) -> Dacite:
    """Read the map; DataError naming the file and what is missing."""
    found = read_map(path)
    if found.labels is None:
        raise DataError(f"{path}: field labels is missing")
    return Dacite(found.spectra.astype(np.float64), found.labels.ravel().astype(np.int64) - 1, found.axis)


def dacite_errors(
    dacite: Dacite, counts: list[int | None], draws: int, rng: np.random.Generator
) -> tuple[list[dict[str, Any]], list[dict[str, float]]]:
    """Error against the reference labels, and what is flagged, averaged over `draws` of training pixels.

    Also the reliability of the posteriors at the full count, pooled over the draws.
    """
    table: dict[int | None, list[tuple[float, float, float]]] = {c: [] for c in counts}
    values, right = [], []
    for _ in range(draws):
        classifier = dacite.train(rng)
        for total in counts:
            spectra = (
                dacite.counts
                if total is None
                else np.array([rng.multinomial(total, row / row.sum()) for row in dacite.counts])
            )
            posterior = np.array([classifier.posterior(row)[:-1] for row in spectra])
            hit = posterior.argmax(axis=1) == dacite.labels
            verdicts = classifier.classify_batch(spectra)[2]
            ok = verdicts == "ok"
            flagged = np.isin(verdicts, ["mixed", "unknown", "ill"]).mean()
            table[total].append(
                (1 - hit.mean(), float(flagged), float(1 - hit[ok].mean()) if ok.any() else 0.0)
            )
            if total is None:
                values.append(posterior.max(axis=1))
                right.append(hit)
    rows: list[dict[str, Any]] = [
        {
            "counts": total if total is not None else float(dacite.counts.sum(axis=1).mean()),
            "error": float(np.mean([r[0] for r in found])),
            "worst_draw": float(np.max([r[0] for r in found])),
            "flagged": float(np.mean([r[1] for r in found])),
            "error_of_ok": float(np.mean([r[2] for r in found])),
        }
        for total, found in table.items()
    ]
    return rows, reliability_bands(np.concatenate(values), np.concatenate(right)) if values else []


def half_and_half(
    standards: Mapping[str, MeasuredSpectra], folder: Path, rng: np.random.Generator
) -> tuple[PhaseClassifier, dict[str, NDArray[np.float64]]]:
    """Train on a half of each standard's counts, in 12 parts, and on three K412 spectra; what is left is for tests.

    A binomial half and its rest are independent; K412's other two spectra were taken at other places.
    """
    train, rest = {}, {}
    for name in SIX[:-1]:
        whole = standards[name].counts[0].astype(np.int64)
        half = rng.binomial(whole, 0.5)
        train[name] = np.array([rng.binomial(half, 1.0 / 12.0) for _ in range(12)])
        rest[name] = (whole - half).astype(np.float64)
    glass = [read_emsa(folder / f"III-E_K412_{i}__4_.msa").counts[0] for i in range(5)]
    train["K412"] = np.array(glass[:3])
    rest["K412"], rest["K412 elsewhere"] = glass[3], glass[4]
    classifier = PhaseClassifier.from_spectra(
        train, standards["Fe"].axis, beam_energy_kev=20.0, takeoff_deg=35.0, resolution_ev=NIST_RESOLUTION_EV
    )
    return classifier, rest
