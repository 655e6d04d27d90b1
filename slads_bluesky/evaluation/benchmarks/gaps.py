"""Patches that a map can miss: the largest at each fraction, and whether a smallest feature asked for is covered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ...phantom.microstructures import make_labels
from ...sampling.coverage import fraction_needed, largest_missed_patch
from ...sampling.factory import make_sampler, needs_training
from ..figures import Figure, at_most, measured
from .trials import Report, Trial

__all__ = ["FEATURES", "FRACTIONS", "gap_figures", "gap_trials"]

KIND, SIDE = "pbsn", 128
FRACTIONS = (0.02, 0.05, 0.10, 0.15)
"""Where the largest patch that can be missed is stated."""
FEATURES = (9, 16, 36)
"""Smallest features asked for, pixels; 4 takes a third of the pixels."""


def gap_trials(names: Sequence[str], seed: int) -> list[Trial]:
    """Trials of each sampler that needs no training, without a smallest feature and with each of `FEATURES`."""
    return [
        Trial(
            f"gaps-{name}-{smallest}-{seed}",
            f"gaps of {name}, smallest feature {smallest or 'not given'}",
            5.0,
            partial(_measure, name, smallest, seed),
        )
        for name in names
        if not needs_training(name)
        for smallest in (None, *FEATURES)
    ]


def _measure(name: str, smallest: int | None, seed: int, report: Report) -> dict[str, Any]:
    truth = make_labels(KIND, SIDE, seed + 1, "test")  # type: ignore[arg-type]
    labels = int(truth.max())
    sampler = make_sampler(name, truth.shape, labels=labels, seed=seed, smallest_feature=smallest)
    stops = FRACTIONS if smallest is None else (fraction_needed(smallest),)
    missed: list[int] = []
    for stop in stops:
        while sampler.n_measured < int(stop * truth.size):
            for suggestion in sampler.suggest():
                sampler.ingest(suggestion.pixel, int(truth.flat[suggestion.pixel]))
        missed.append(largest_missed_patch(sampler.measured))
        report(sampler.n_measured / truth.size / stops[-1])
    wrong = float(np.mean(sampler.reconstruct() != truth))
    return {"sampler": name, "smallest": smallest, "at": list(stops), "missed": missed, "td": wrong}


def gap_figures(results: Mapping[str, Mapping[str, Any]]) -> list[Figure]:
    """Return the figures of `gap_trials`.

    Of a smallest feature N, the largest patch of which more than 1 % can be missed has to be under N pixels at the
    fraction that the program states for N.
    """
    figures = []
    for row in results.values():
        if "missed" not in row:
            continue
        for at, pixels in zip(row["at"], row["missed"], strict=True):
            name = f"{row['sampler']}, {KIND}-{SIDE}: largest patch missed at {at:.1%}"
            if row["smallest"] is None:
                figures.append(measured(name, pixels, "px"))
            else:
                name = f"{name}, smallest feature {row['smallest']}"
                figures.append(at_most(name, pixels, row["smallest"] - 1, "px"))
    return figures
