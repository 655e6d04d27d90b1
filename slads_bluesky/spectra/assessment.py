"""How good the classifiers are: the measurements behind ``slads-bluesky bench spectra``. Pure; no printing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .axis import EnergyAxis
from .classifier import PhaseClassifier
from .detector import Detector, Film
from .formats import MeasuredSpectra, read_msa
from .paper import PaperClassifier
from .physics import expected_counts
from .sequential import SequentialTest, count_preset
from .training import train_classification

__all__ = [
    "SETS",
    "Dacite",
    "dacite_errors",
    "error_table",
    "half_and_half",
    "nist_errors",
    "nist_fit",
    "read_dacite",
    "read_nist",
    "reliability",
    "sequential_table",
    "thinned",
    "verdict_table",
]

Spec = str | dict[str, float]

SETS: dict[str, dict[str, Spec]] = {
    "Pb-Sn": {"Pb-Sn": {"Pb": 0.38, "Sn": 0.62}, "Sn": "Sn"},
    "powder": {"CaO": "CaO", "LaO": "LaO", "Si": "Si", "C": "C"},
    "steels": {
        "304": {"Fe": 0.70, "Cr": 0.19, "Ni": 0.09, "Mn": 0.02},
        "316": {"Fe": 0.68, "Cr": 0.17, "Ni": 0.11, "Mo": 0.025, "Mn": 0.015},
    },
}
"""Phases by mass: the paper's two, and two steels that are nearly alike."""

FULL_COUNTS = 1.2e5
"""Counts of a training spectrum: a Phenom's in 10 s."""

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


def thinned(shape: NDArray[np.float64], counts: int, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw (n, n_channels) spectra of so many counts from expected or measured counts (n_channels,)."""
    return rng.multinomial(counts, shape / shape.sum(), size=n)


def set_shapes(name: str, axis: EnergyAxis) -> NDArray[np.float64]:
    """Expected spectra of one of `SETS`, (L, n_channels), each of sum 1."""
    return np.array([expected_counts(spec, axis, total_counts=1.0) for spec in SETS[name].values()])


def train_on_draws(
    name: str, axis: EnergyAxis, rng: np.random.Generator, n: int = 24
) -> tuple[PhaseClassifier, dict[str, NDArray[np.float64]]]:
    """Train the default classifier on `n` drawn spectra a phase, as it would be on measured ones."""
    shapes = set_shapes(name, axis)
    spectra = {
        phase: rng.poisson(FULL_COUNTS * shape, (n, axis.n_channels)).astype(np.float64)
        for phase, shape in zip(SETS[name], shapes, strict=True)
    }
    return PhaseClassifier.from_spectra(spectra, axis), spectra


# ---- physics


def read_nist(folder: Path) -> dict[str, MeasuredSpectra]:
    """Read the standards in a folder; DataError naming the one that is missing."""
    return {name: read_msa(folder / file) for name, (_, file) in NIST.items()}


def nist_fit(standards: Mapping[str, MeasuredSpectra]) -> dict[str, dict[str, float]]:
    """Cosine between each standard and its computed spectrum, no fit; and one overall ratio of their counts."""
    detector = Detector(resolution_ev=NIST_RESOLUTION_EV, low_cutoff_kev=NIST_CUTOFF_KEV)
    out = {}
    for name, measured in standards.items():
        coated = measured.beam_kev == 20.0 and name not in ("Fe", "K412")
        dose = (measured.current_na or 1.0) * (measured.live_time_s or 1.0)
        model = expected_counts(
            NIST[name][0],
            measured.axis,
            beam_kev=measured.beam_kev or 20.0,
            takeoff_deg=measured.takeoff_deg or 35.0,
            detector=detector,
            dose_nc=dose,
            coating=CARBON_COAT if coated else None,
        )
        seen = np.where(measured.axis.energies() >= NIST_CUTOFF_KEV, measured.counts[0], 0.0)
        cosine = float(model @ seen / np.sqrt((model @ model) * (seen @ seen)))
        out[name] = {
            "beam_kev": float(measured.beam_kev or 0.0),
            "cosine": cosine,
            "measured_over_model": float(seen.sum() / model.sum()),
        }
    return out


# ---- error


def error_table(
    name: str, counts: list[int], axis: EnergyAxis, n: int, rng: np.random.Generator, *, paper: bool = True
) -> list[dict[str, float]]:
    """Error of the Bayes limit (true templates), of the default classifier and of the paper's network.

    The same `n` spectra a phase for all three. The network is trained at each dose, on thinned copies of the same 24
    spectra a phase that the default classifier learnt from, without the paper's noise.
    """
    shapes = set_shapes(name, axis)
    classifier, spectra = train_on_draws(name, axis, rng)
    floor = 1e-12 / axis.n_channels
    log_true = np.log(shapes + floor)
    rows = []
    for total in counts:
        wrong = {"bayes": 0, "classifier": 0, "paper": 0}
        network = None
        if paper:
            network = train_classification(spectra, _thinning(total, rng), seed=int(rng.integers(2**31)))
        for phase, shape in enumerate(shapes):
            drawn = thinned(shape, total, n, rng)
            wrong["bayes"] += int(((drawn @ log_true.T).argmax(axis=1) != phase).sum())
            best = np.array([classifier.posterior(row)[:-1].argmax() for row in drawn])
            wrong["classifier"] += int((best != phase).sum())
            if network is not None:
                wrong["paper"] += int((network.probabilities(drawn).argmax(axis=1) != phase).sum())
        size = n * len(shapes)
        row: dict[str, float] = {"counts": total, "n": size}
        row.update({key: value / size for key, value in wrong.items() if paper or key != "paper"})
        rows.append(row)
    return rows


def _thinning(total: int, rng: np.random.Generator) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    def thin(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([rng.multinomial(total, row / row.sum()) for row in counts], dtype=np.float64)

    return thin


def reliability(
    name: str, counts: list[int], axis: EnergyAxis, n: int, rng: np.random.Generator
) -> list[dict[str, float]]:
    """Whether posteriors come true: by bands of the posterior, its mean and the part that was right."""
    classifier, _ = train_on_draws(name, axis, rng)
    values: list[float] = []
    right: list[bool] = []
    for phase, shape in enumerate(set_shapes(name, axis)):
        for total in counts:
            for row in thinned(shape, total, n, rng):
                posterior = classifier.posterior(row)[:-1]
                values.append(float(posterior.max()))
                right.append(int(posterior.argmax()) == phase)
    return reliability_bands(np.array(values), np.array(right))


def reliability_bands(values: NDArray[np.float64], right: NDArray[np.bool_]) -> list[dict[str, float]]:
    """Mean posterior and part that was right, by bands of the posterior."""
    edges = [0.0, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0 + 1e-9]
    out = []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        band = (values >= low) & (values < high)
        if band.sum() >= 20:
            out.append(
                {
                    "from": low,
                    "n": int(band.sum()),
                    "posterior": float(values[band].mean()),
                    "right": float(right[band].mean()),
                }
            )
    return out


# ---- real spectra


def nist_errors(
    standards: Mapping[str, MeasuredSpectra], counts: list[int], n: int, rng: np.random.Generator
) -> list[dict[str, float]]:
    """Six materials thinned, told apart by computed templates alone: the error, and the part that is doubted."""
    axis = standards["Fe"].axis
    classifier = PhaseClassifier.from_compositions(
        {name: NIST[name][0] for name in SIX},
        axis,
        beam_kev=20.0,
        takeoff_deg=35.0,
        resolution_ev=NIST_RESOLUTION_EV,
    )
    rows = []
    for total in counts:
        wrong, doubted = 0, 0
        for phase, name in enumerate(SIX):
            drawn = thinned(standards[name].counts[0], total, n, rng)
            best = np.array([classifier.posterior(row)[:-1].argmax() for row in drawn])
            wrong += int((best != phase).sum())
            verdicts = classifier.classify_batch(drawn)[2]
            doubted += int(np.isin(verdicts, ["mixed", "unknown", "ill"]).sum())
        rows.append(
            {
                "counts": total,
                "n": n * len(SIX),
                "error": wrong / (n * len(SIX)),
                "doubted": doubted / (n * len(SIX)),
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
    try:
        with np.load(path, allow_pickle=False) as data:
            counts = data["counts"]
            axis = EnergyAxis(float(data["energy_offset"]), float(data["energy_scale"]), counts.shape[-1])
            labels = data["labels"].ravel().astype(np.int64)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path}: {error}") from error
    return Dacite(counts.reshape(-1, counts.shape[-1]).astype(np.float64), labels, axis)


def dacite_errors(
    dacite: Dacite, counts: list[int | None], draws: int, rng: np.random.Generator
) -> tuple[list[dict[str, Any]], list[dict[str, float]]]:
    """Error against the reference labels, and what is doubted, averaged over `draws` of training pixels.

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
            doubted = np.isin(verdicts, ["mixed", "unknown", "ill"]).mean()
            table[total].append(
                (1 - hit.mean(), float(doubted), float(1 - hit[ok].mean()) if ok.any() else 0.0)
            )
            if total is None:
                values.append(posterior.max(axis=1))
                right.append(hit)
    rows: list[dict[str, Any]] = [
        {
            "counts": total if total is not None else float(dacite.counts.sum(axis=1).mean()),
            "error": float(np.mean([r[0] for r in found])),
            "worst_draw": float(np.max([r[0] for r in found])),
            "doubted": float(np.mean([r[1] for r in found])),
            "error_of_ok": float(np.mean([r[2] for r in found])),
        }
        for total, found in table.items()
    ]
    return rows, reliability_bands(np.concatenate(values), np.concatenate(right)) if values else []


# ---- verdicts


def verdict_table(
    classifier: PhaseClassifier,
    shapes: Mapping[str, NDArray[np.float64]],
    counts: int,
    n: int,
    rng: np.random.Generator,
    *,
    paper: PaperClassifier | None = None,
    beam_kev: float = 15.0,
) -> dict[str, dict[str, float]]:
    """Part of spectra of each sort whose verdict is not ``ok``.

    Parameters
    ----------
    classifier : PhaseClassifier
        Trained on spectra of the full count at a live time of 10 s, in which it expects `counts` counts here.
    shapes : phase name to (n_channels,) float64
        Measured or computed, of the phases in order.
    counts : int
    n : int
        Spectra of each sort and phase.
    paper : PaperClassifier, optional
        The same for the paper's networks.
    """
    axis = classifier.axis
    table = [shape / shape.sum() for shape in shapes.values()]
    energies = axis.energies()
    first = table[0]
    foreign = [
        expected_counts(element, axis, beam_kev=beam_kev, total_counts=1.0)
        for element in ("Al", "Ti", "Cu", "Zr", "Au")
        if element not in {name for name in shapes}
    ]
    pairs = [(a, b) for i, a in enumerate(table) for b in table[:i]]
    sorts: dict[str, list[NDArray[np.float64]]] = {
        "good": table,
        "Poisson(20)": [np.full(axis.n_channels, 1.0 / axis.n_channels)],
        "unknown element": foreign,
        "50/50 mixture": [0.5 * a + 0.5 * b for a, b in pairs],
        "80/20 mixture": [0.8 * a + 0.2 * b for pair in pairs for a, b in (pair, pair[::-1])],
        "gain +2 %": [np.interp(energies / 1.02, energies, shape) for shape in table],
        "offset +3 channels": [np.roll(shape, 3) for shape in table],
    }
    out: dict[str, dict[str, float]] = {}
    for name, spectra in sorts.items():
        found, seen = [], []
        for shape in spectra:
            drawn = thinned(shape, counts, n, rng)
            found.append(_flagged(classifier.classify_batch(drawn)[2], name))
            if paper is not None:
                seen.append(float((paper.classify_batch(drawn)[2] != "ok").mean()))
        out[name] = {"worst" if name != "good" else "worst": max(found) if name == "good" else min(found)}
        out[name]["mean"] = float(np.mean(found))
        if paper is not None:
            out[name]["paper"] = float(np.mean(seen))
    blank = np.zeros((1, axis.n_channels), np.int64)
    out["blank"] = {
        "worst": float(classifier.classify_batch(blank)[2][0] != "ok"),
        "mean": float(classifier.classify_batch(blank)[2][0] != "ok"),
    }
    if paper is not None:
        out["blank"]["paper"] = float(paper.classify_batch(blank)[2][0] != "ok")
    if np.isfinite(classifier.templates.rate).all():
        live = counts / float(classifier.templates.rate[0, 0])
        half = rng.poisson(0.5 * counts * first, (n, axis.n_channels))
        good = rng.poisson(counts * first, (n, axis.n_channels))
        verdicts = [classifier.classify(row, live).verdict != "ok" for row in half]
        alarms = [classifier.classify(row, live).verdict != "ok" for row in good]
        out["half dose"] = {"worst": float(np.mean(verdicts)), "mean": float(np.mean(verdicts))}
        out["good, rate checked"] = {"worst": float(np.mean(alarms)), "mean": float(np.mean(alarms))}
        if paper is not None:
            out["half dose"]["paper"] = float((paper.classify_batch(half)[2] != "ok").mean())
            out["good, rate checked"]["paper"] = float((paper.classify_batch(good)[2] != "ok").mean())
    return out


def _flagged(verdicts: NDArray[np.str_], sort: str) -> float:
    """Part that is doubted; few counts are no fault of a good spectrum."""
    if sort == "good":
        return float(np.isin(verdicts, ["mixed", "unknown", "ill"]).mean())
    return float((verdicts != "ok").mean())


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
    glass = [read_msa(folder / f"III-E_K412_{i}__4_.msa").counts[0] for i in range(5)]
    train["K412"] = np.array(glass[:3])
    rest["K412"], rest["K412 elsewhere"] = glass[3], glass[4]
    classifier = PhaseClassifier.from_spectra(
        train, standards["Fe"].axis, beam_kev=20.0, takeoff_deg=35.0, resolution_ev=NIST_RESOLUTION_EV
    )
    return classifier, rest


# ---- dose


def sequential_table(
    name: str, errors: list[float], axis: EnergyAxis, n: int, rng: np.random.Generator
) -> list[dict[str, float]]:
    """Counts that the sequential test takes, and how often it is wrong; and the preset of the same error."""
    classifier, _ = train_on_draws(name, axis, rng)
    shapes = set_shapes(name, axis)
    rows = []
    for error in errors:
        test = SequentialTest(classifier, error, cap_s=10.0)
        used, wrong, undecided = [], 0, 0
        for phase, shape in enumerate(shapes):
            for _ in range(n):
                test.reset()
                counts = np.zeros(axis.n_channels, np.int64)
                while True:
                    step = 2 if counts.sum() < 60 else max(2, int(counts.sum()) // 20)
                    counts += rng.multinomial(step, shape)
                    decision = test.update(counts, counts.sum() / FULL_COUNTS * 10.0)
                    if decision is not None:
                        break
                used.append(int(counts.sum()))
                wrong += decision.label not in (phase + 1, 0)
                undecided += decision.verdict != "ok"
        size = n * len(shapes)
        rows.append(
            {
                "error": error,
                "n": size,
                "mean_counts": float(np.mean(used)),
                "p99_counts": float(np.quantile(used, 0.99)),
                "wrong": wrong / size,
                "not_ok": undecided / size,
                "preset_counts": count_preset(classifier, error, seed=int(rng.integers(2**31))),
                "dose_factor": FULL_COUNTS / float(np.mean(used)),
            }
        )
    return rows
