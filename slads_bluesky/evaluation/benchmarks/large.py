"""Start-up, decisions and memory of a sampler on a large grid, in a process of its own.

``python -m slads_bluesky.evaluation.benchmarks.large`` is that process: its memory is that of the one sampler
alone.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...memory import peak_rss_mb
from ...phantom.microstructures import make_labels
from ...sampling.factory import load_model, make_sampler, needs_training
from ...sampling.slads.training import train_slads
from ..process import run_module
from .trials import Report, Trial

__all__ = ["HUGE", "START", "large_trials", "measure_large"]

START, HUGE = 1024, 4096
"""Sides of the grids: that on which start-up is timed, and the largest that is supported."""
INITIAL = 0.01
"""Fraction of the start mask, for every sampler."""
DECISIONS = 5000
"""Timed decisions; of a sampler that plans in batches, a whole batch if that is more."""


def large_trials(names: Sequence[str], sides: Sequence[int], seed: int) -> list[Trial]:
    """Trials of each sampler on grids of `sides`²; their results are those of `measure_large`."""
    return [
        Trial(
            f"large-{side}-{name}-{seed}",
            f"{side}² at {INITIAL:.0%}, {name}",
            10.0 + 8e-6 * side**2,
            partial(_measure, name, side, seed),
        )
        for side in sides
        for name in names
    ]


def _measure(name: str, side: int, seed: int, report: Report) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="slads-large-") as scratch:
        truth, model = Path(scratch) / "truth.npy", Path(scratch) / "model.safetensors"
        np.save(truth, _truth(side, seed))
        arguments = [name, str(truth), str(seed)]
        if needs_training(name):
            # time and memory of a decision do not depend on what is learnt: a small image is enough
            small = make_labels("pbsn", 256, seed, "train")
            train_slads([small], seed=seed, cs=(8.0,), calibrated=False).save(model)
            arguments.append(str(model))
        report(0.1)
        return run_module(f"{__package__}.large", *arguments)


def _truth(side: int, seed: int) -> NDArray[np.uint8]:
    """Make an object of the side; beyond 1024 of mirrored tiles, as generating one takes minutes."""
    tile = make_labels("pbsn", min(side, 1024), seed + 1, "test")
    whole = tile
    while whole.shape[0] < side:
        whole = np.concatenate([whole, whole[:, ::-1]], axis=1)
        whole = np.concatenate([whole, whole[::-1]], axis=0)
    return np.ascontiguousarray(whole[:side, :side])


def measure_large(
    name: str, truth: NDArray[np.uint8], model: Any, seed: int, n_decisions: int = DECISIONS
) -> dict[str, Any]:
    """Time start-up and decisions of a sampler; compiling, once per installation, is not counted.

    Parameters
    ----------
    name : str
        Sampler.
    truth : (rows, columns) uint8 array
        Labels 1 … L.
    model : object
        Its model, or None.
    seed : int
        Of its start mask.
    n_decisions : int
        Least number of timed decisions.

    Returns
    -------
    dict
        ``start_s`` (making the sampler, taking the start mask, first decision), ``first_decision_s`` alone,
        ``decision_us`` (median, mean, p99 and worst of those after it), ``peak_rss_mb``, and ``rss_before_mb``, the
        same before the sampler was made.
    """
    phases = [int(v) for v in np.unique(truth) if v > 0]
    flat, clock = truth.ravel(), time.perf_counter
    options: dict[str, Any] = {"labels": phases, "model": model, "seed": seed, "initial": INITIAL}
    _warm_up(name, phases, options)
    before = peak_rss_mb()
    began = clock()
    sampler = make_sampler(name, truth.shape, **options)
    mask = [s.pixel for s in sampler.suggest(truth.size) if np.isnan(s.erd)]
    for pixel in mask[:-1]:
        sampler.ingest(pixel, int(flat[pixel]))
    last = clock()
    sampler.ingest(mask[-1], int(flat[mask[-1]]))
    chosen = sampler.suggest()
    ready = clock()
    # whole batches, so that the cost of planning one is spread over all of its decisions
    n = max(n_decisions, getattr(sampler, "batch", 0))
    times = np.full(n, np.nan)
    for i in range(n):
        if not chosen:
            break
        pixel = chosen[0].pixel
        start = clock()
        sampler.ingest(pixel, int(flat[pixel]))
        chosen = sampler.suggest()
        times[i] = 1e6 * (clock() - start)
    times = times[np.isfinite(times)]
    return {
        "sampler": name,
        "side": truth.shape[0],
        "start_s": ready - began,
        "first_decision_s": ready - last,
        "decisions": int(times.size),
        "decision_us": {
            "median": float(np.median(times)),
            "mean": float(times.mean()),
            "p99": float(np.percentile(times, 99)),
            "worst": float(times.max()),
        },
        "peak_rss_mb": peak_rss_mb(),
        "rss_before_mb": before,
    }


def _warm_up(name: str, phases: list[int], options: dict[str, Any]) -> None:
    """Have everything compiled, or loaded from the cache, on a map of a few pixels."""
    sampler = make_sampler(name, (32, 32), **options)
    for i in range(40):
        pixel = sampler.suggest()[0].pixel
        sampler.ingest(pixel, phases[i % len(phases)])


def main(arguments: Sequence[str]) -> None:
    """Measure a sampler on a truth from a file, and print the figures as a line of JSON."""
    name, truth, seed, *files = arguments
    model = load_model(name, files[0]) if files else None
    sys.stdout.write(json.dumps(measure_large(name, np.load(truth), model, int(seed))) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
