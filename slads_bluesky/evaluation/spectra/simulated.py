"""How good the classifiers are on simulated spectra: what ``slads-bluesky bench spectra`` measures. No printing."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ...spectra.axis import EnergyAxis
from ...spectra.dwell import SequentialTest, count_preset
from ...spectra.likelihood.classifier import PhaseClassifier
from ...spectra.paper.training import train_classification
from ...spectra.physics.spectrum import expected_counts

__all__ = [
    "FULL_COUNTS",
    "SETS",
    "error_table",
    "reliability",
    "reliability_bands",
    "sequential_table",
    "set_shapes",
    "thinned",
    "train_on_draws",
]

Spec = str | dict[str, float]

SETS: dict[str, dict[str, Spec]] = {
    "Pb-Sn": {"Pb-Sn": {"Pb": 0.38, "Sn": 0.62}, "Sn": "Sn"},
    "powder": {"CaO": "CaO", "LaO": "LaO", "Si": "Si", "C": "C"},
    "steels": {
        "316": {"Fe": 0.68, "Cr": 0.17, "Ni": 0.11, "Mo": 0.025, "Mn": 0.015},
        "410": {"Fe": 0.87, "Cr": 0.12, "Mn": 0.01},
    },
}
"""Phases by mass: the paper's two, and two steels that are nearly alike."""

FULL_COUNTS = 1.2e5
"""Counts of a training spectrum: a Phenom's in 10 s."""


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
    for low, high in pairwise(edges):
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
