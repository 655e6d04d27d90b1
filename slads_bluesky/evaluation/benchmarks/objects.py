"""Samples needed, or distortion left, on generated objects whose seeds no training uses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ...images.distortion import boundary_fraction
from ...phantom.microstructures import Kind, make_labels
from .trace import ADAPTED, Trained, look_at, trace, trains
from .trials import Report, Trial

__all__ = ["ROWS", "SEEDS", "Row", "object_trials", "summarise", "summary"]

SEEDS = 3
TRAINING_IMAGES = 3


class Row(NamedTuple):
    """One line of the table: an object and the figure that is measured on it."""

    kind: Kind
    size: int
    wanted: float
    """Total distortion to reach; NaN where the distortion at `at` is measured instead."""
    at: float
    goal: float
    """Goal for SLADS; `learned_goal` for the learned sampler."""
    learned_goal: float

    @property
    def name(self) -> str:
        """Name of the object."""
        return f"{self.kind}-{self.size}"

    @property
    def asks_fraction(self) -> bool:
        """Whether the figure is the fraction of pixels for a distortion, not the distortion at a fraction."""
        return not math.isnan(self.wanted)

    @property
    def asked(self) -> str:
        """Name of the figure, for a table."""
        return f"fraction for TD {self.wanted:g}" if self.asks_fraction else f"TD at {self.at:.0%}"


NAN = float("nan")
ROWS = (
    Row("pbsn", 128, 0.0015, NAN, 0.135, 0.062),
    Row("powder", 256, 0.006, NAN, 0.087, 0.044),
    Row("pbsn", 1024, NAN, 0.05, 0.0115, 0.0001),
    Row("powder", 1024, NAN, 0.05, 0.020, 0.0022),
)


def _key(row: Row, name: str, seed: int, number: int) -> str:
    return f"object-{row.name}-{name}-{seed}-{number}"


def object_trials(rows: Sequence[Row], names: Sequence[str], seed: int, seeds: int = SEEDS) -> list[Trial]:
    """Trials of each sampler on `seeds` objects of each row.

    Parameters
    ----------
    rows : sequence of Row
    names : sequence of str
        Samplers.
    seed : int
        Seed of the training; the objects have the seeds that follow.
    seeds : int
        Objects of each row.
    """
    trials = []
    for row in rows:
        for name in names:
            trained = Trained(name, partial(_training_images, row, seed), seed)
            for number in range(seeds):
                trials.append(
                    Trial(
                        _key(row, name, seed, number),
                        f"{row.name}, {name}, object {number + 1} of {seeds}",
                        _work(row, name, number),
                        partial(_measure, row, name, seed, number, trained),
                    )
                )
    return trials


def _work(row: Row, name: str, number: int) -> float:
    training = 0.0
    if number == 0 and trains(name):
        training = 120.0 if name == ADAPTED else 15.0 + 8e-5 * row.size**2
    return 2.0 + 4e-5 * row.size**2 + training


def _training_images(row: Row, seed: int) -> list[Any]:
    return [make_labels(row.kind, row.size, seed + s, "train") for s in range(TRAINING_IMAGES)]


def _measure(row: Row, name: str, seed: int, number: int, trained: Trained, report: Report) -> dict[str, Any]:
    image = make_labels(row.kind, row.size, seed + 1 + number, "test")
    b = boundary_fraction(image)
    model, train_s = trained()
    wanted = row.wanted if row.asks_fraction else -1.0
    stops = look_at(image.size, 2.5 * b, 0.001) if row.asks_fraction else look_at(image.size, row.at, 0.005)
    found = trace(name, model, image, stops, seed + number, wanted, report)
    return {**found.figures(wanted), "boundary_fraction": b, "train_s": train_s}


def summary(values: Sequence[float]) -> dict[str, float | None]:
    """Median and worst of figures, None where the wanted distortion was not reached (infinite)."""
    worst, middle = float(np.max(values)), float(np.median(values))
    return {
        "median": middle if math.isfinite(middle) else None,
        "worst": worst if math.isfinite(worst) else None,
    }


def summarise(
    row: Row, name: str, seed: int, results: Mapping[str, Mapping[str, Any]], seeds: int = SEEDS
) -> dict[str, Any]:
    """Figures of one row and sampler, from the results of `object_trials`."""
    of_row = [results[_key(row, name, seed, number)] for number in range(seeds)]
    values = [(r["fraction"] if r["reached"] else math.inf) if row.asks_fraction else r["td"] for r in of_row]
    return {
        "object": row.name,
        "boundary_fraction": [r["boundary_fraction"] for r in of_row],
        "asked": row.asked,
        "sampler": name,
        "values": [v if math.isfinite(v) else None for v in values],
        **summary(values),
        "goal": row.learned_goal if name in ("learned", ADAPTED) else row.goal,
        **{key: [r[key] for r in of_row] for key in ("decision_us", "decision_mean_us", "first_decision_s")},
        "train_s": max(r["train_s"] for r in of_row),
        "covered": [held for r in of_row for held in r["covered"]],
    }
