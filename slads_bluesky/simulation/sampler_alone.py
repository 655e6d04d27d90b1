"""A sampler alone on a known label image, looked at on its way: to compare samplers with."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..images.distortion import total_distortion
from ..progress import Progress, no_progress
from ..sampling.coverage import largest_missed_patch
from ..sampling.factory import make_sampler
from ..sampling.slads.reconstruct import knn_reconstruct

__all__ = ["run_simulation"]

STATIC = ("random", "low-discrepancy")
"""Samplers whose every pixel is a decision: they have no initial mask."""


def run_simulation(
    labels: NDArray[np.uint8],
    name: str,
    model: Any,
    *,
    checkpoints: Sequence[float],
    initial: float | None,
    seed: int,
    smallest_feature: int | None = None,
    image: NDArray[np.float32] | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Run a sampler on a known label image up to the last checkpoint, one pixel at a time, and time it.

    The first decision, with the last label of the initial mask, sets everything up and is timed on its own. Compiling
    happens once per installation and is not counted.

    Parameters
    ----------
    labels : (rows, columns) uint8 array
        0 where ill.
    name : str
        Sampler.
    model : object
        Its model, or None.
    checkpoints : sequence of float
        Fractions of the pixels at which to look, ascending.
    initial : float, optional
        Fraction of the initial mask.
    seed : int
        Of the initial mask or the static order.
    smallest_feature : int, optional
        Pixels of the smallest patch of which 99 % must hold a measured pixel.
    image : (rows, columns) array, optional
        Grey-level frame that guides the sampler.
    progress : callable, optional
        Called as ``progress("sampling", fraction)``.

    Returns
    -------
    dict
        ``checkpoints`` with the total distortion of the sampler's own map (td) and of the k-NN vote on the same
        pixels (td_knn), and the pixels of the largest patch that can be missed (largest_missed_patch);
        ``decision_us``, the time of taking a label and choosing the next pixel; and ``first_decision_s``.
    """
    phases = [int(v) for v in np.unique(labels) if v > 0]
    numbers = [max(1, round(f * labels.size)) for f in checkpoints]
    truth = labels.ravel()
    found: list[dict[str, Any]] = []
    if name == "slads":  # compiled, or loaded from the cache, on a map of a few pixels
        small = np.arange(64, dtype=np.uint8).reshape(8, 8) % len(phases)
        warm = make_sampler(name, (8, 8), labels=phases, model=model)
        for _ in range(4):
            pixel = warm.suggest()[0].pixel
            warm.ingest(pixel, phases[small.ravel()[pixel]])
    sampler = make_sampler(
        name,
        labels.shape,
        labels=phases,
        model=model,
        seed=seed,
        initial=initial,
        smallest_feature=smallest_feature,
        image=image,
    )
    first: float | None = None
    decisions: list[float] = []
    clock = time.perf_counter
    ingested = 0.0

    def choose() -> int:
        """Next pixel, -1 if none is left; timed if it is a decision and no pixel of the initial mask."""
        nonlocal first
        start = clock()
        suggested = sampler.suggest()
        taken = clock() - start
        if not suggested:
            return -1
        if name in STATIC or not np.isnan(suggested[0].erd):
            if first is None:
                first = ingested + taken
            else:
                decisions.append(ingested + taken)
        return suggested[0].pixel

    n, pixel = 0, choose()
    for fraction, number in zip(checkpoints, numbers, strict=True):
        while n < number and pixel >= 0:
            start = clock()
            sampler.ingest(pixel, int(truth[pixel]))
            ingested = clock() - start
            n += 1
            progress("sampling", n / numbers[-1])
            pixel = choose()
        measured = sampler.measured
        voted = knn_reconstruct(measured) if (measured > 0).any() else sampler.reconstruct()
        found.append(
            {
                "fraction": fraction if n == number else n / labels.size,
                "n": n,
                "td": total_distortion(labels, sampler.reconstruct()),
                "td_knn": total_distortion(labels, voted),
                "largest_missed_patch": largest_missed_patch(measured),
            }
        )
    micro = np.array(decisions) * 1e6
    times = (
        {
            "median": float(np.median(micro)),
            "mean": float(micro.mean()),
            "p99": float(np.percentile(micro, 99)),
        }
        if micro.size
        else {"median": None, "mean": None, "p99": None}
    )
    return {"checkpoints": found, "decision_us": times, "first_decision_s": first}
