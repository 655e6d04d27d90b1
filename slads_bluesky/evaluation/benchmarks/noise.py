"""Labels that may be wrong: distortion left with and without overruling the samples that all others contradict."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from ...phantom.microstructures import make_labels
from ...sampling.learned.sampler import LearnedSampler
from ..figures import Figure, at_most, measured
from .trials import Report, Trial

__all__ = ["SHARES", "noise_figures", "noise_trials"]

OBJECTS = (("pbsn", 128), ("powder", 128))
SHARES = (0.0, 0.01, 0.03)
"""Of the pixels whose label is wrong: any other of the map's labels."""
FRACTIONS = (0.05, 0.10, 0.15)


def noise_trials(seed: int) -> list[Trial]:
    """Trials of the learned sampler on each object with each share of wrong labels."""
    return [
        Trial(
            f"noise-{kind}-{size}-{share}-{seed}",
            f"{kind}-{size}, {share:.0%} of the labels wrong",
            4.0,
            partial(_measure, kind, size, share, seed),
        )
        for kind, size in OBJECTS
        for share in SHARES
    ]


def _measure(kind: Any, size: int, share: float, seed: int, report: Report) -> dict[str, Any]:
    truth = make_labels(kind, size, seed + 1, "test")
    labels = int(truth.max())
    rng = np.random.default_rng([seed, 0x4E])
    wrong = rng.random(truth.shape) < share
    noisy = np.where(wrong, (truth - 1 + rng.integers(1, labels, truth.shape)) % labels + 1, truth)
    sampler = LearnedSampler(truth.shape, labels=labels, seed=seed)
    rows = []
    for fraction in FRACTIONS:
        while sampler.n_measured < int(fraction * truth.size):
            for suggestion in sampler.suggest(8):
                sampler.ingest(suggestion.pixel, int(noisy.flat[suggestion.pixel]))
        errors = sampler.label_errors()
        rows.append(
            {
                "fraction": fraction,
                "kept": float(np.mean(sampler.prediction().labels != truth)),
                "overruled": float(np.mean(sampler.reconstruct() != truth)),
                "share": errors.share,
                "contradicted": int(errors.pixels.size),
                "rightly": int(wrong.flat[errors.pixels].sum()),
            }
        )
        report(fraction / FRACTIONS[-1])
    return {"noise": share, "noise_object": f"{kind}-{size}", "rows": rows}


def noise_figures(results: Mapping[str, Mapping[str, Any]]) -> list[Figure]:
    """Figures of `noise_trials`: nothing is overruled where no label is wrong, and it never costs distortion."""
    figures = []
    for result in results.values():
        if "noise" not in result:
            continue
        name = f"{result['noise_object']}, {result['noise']:.0%} of the labels wrong"
        for row in result["rows"]:
            at = f"{name}, at {row['fraction']:.0%}"
            if result["noise"] == 0.0:
                figures.append(at_most(f"{at}: samples overruled", row["contradicted"], 0))
                continue
            figures.append(at_most(f"{at}: distortion", row["overruled"], row["kept"]))
            figures.append(measured(f"{at}: samples overruled", row["contradicted"]))
            figures.append(measured(f"{at}: of these, wrong", row["rightly"]))
    return figures
