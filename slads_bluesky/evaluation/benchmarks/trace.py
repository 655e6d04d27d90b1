"""A sampler run pixel by pixel on an image whose labels are known."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...images.distortion import total_distortion
from ...sampling.factory import make_sampler, needs_training
from ...sampling.slads.training import train_slads

__all__ = ["ADAPTED", "LEVEL", "Trace", "Trained", "look_at", "trace", "trains"]

ADAPTED = "adapted"
"""The learned sampler, its model adapted to the images that SLADS is trained on: a name of the benchmarks only."""
LEVEL = 0.9
"""Level of the interval of the distortion whose coverage is counted."""
LOOKS = 12
"""How often in a run, about, the interval is asked for: it costs a pass over the map."""


class Trace(NamedTuple):
    """Figures of a run of a sampler on a known image."""

    fractions: list[float]
    td: list[float]
    """Total distortion at each of `fractions`."""
    covered: list[bool]
    """For each interval of the distortion asked for, whether it contained the true one."""
    decision_us: list[float]
    """Each decision but the first: taking a label and choosing the next pixel."""
    first_s: float
    """The first decision, which sets everything up, with the last label of the initial mask."""

    def figures(self, wanted: float) -> dict[str, Any]:
        """Return the figures of a table.

        ``reached``: whether the distortion came down to `wanted`; ``curve``: fractions and distortions.
        """
        speeds = self.decision_us
        return {
            "fraction": self.fractions[-1],
            "td": self.td[-1],
            "reached": self.td[-1] <= wanted,
            "curve": [self.fractions, self.td],
            "covered": self.covered,
            "decision_us": float(np.median(speeds)) if speeds else None,
            "decision_mean_us": float(np.mean(speeds)) if speeds else None,
            "first_decision_s": None if np.isnan(self.first_s) else self.first_s,
        }


def look_at(n_pixels: int, last: float, step: float) -> list[int]:
    """Numbers of measurements at which to compare with the truth: every `step` from 1 % of the pixels to `last`."""
    return sorted({max(1, int(f * n_pixels)) for f in np.arange(0.01, last + step / 2, step)})


def trace(
    name: str,
    model: Any,
    truth: NDArray[np.uint8],
    stops: Sequence[int],
    seed: int,
    wanted: float = -1.0,
    report: Callable[[float], None] = lambda part: None,
) -> Trace:
    """Run a sampler pixel by pixel; at `stops` look at its map and, where it has one, at its interval.

    Parameters
    ----------
    name : str
        Sampler, as `slads_bluesky.sampling.factory.make_sampler` knows it, or `ADAPTED`.
    model : object
        Its model, None where it needs none.
    truth : (rows, columns) uint8 array
        Labels 1 … L.
    stops : sequence of int
        Numbers of measurements, ascending.
    seed : int
        Seed of the sampler.
    wanted : float
        The run ends at the last stop, or at the first whose distortion is not above this.
    report : callable, optional
        Called with the fraction of the run that is done.

    Returns
    -------
    Trace
    """
    phases = [int(v) for v in np.unique(truth) if v > 0]
    kind = "learned" if name == ADAPTED else name
    sampler = make_sampler(kind, truth.shape, labels=phases, model=model, seed=seed)
    flat = truth.ravel()
    out = Trace([], [], [], [], float("nan"))
    first, ingested, n = float("nan"), 0.0, 0
    clock = time.perf_counter
    looks = set(stops[:: max(1, len(stops) // LOOKS)])
    for stop in stops:
        while n < stop:
            start = clock()
            suggested = sampler.suggest()
            taken = clock() - start
            if not suggested:
                break
            pixel = suggested[0].pixel
            if not np.isnan(suggested[0].erd):
                if np.isnan(first):
                    first = ingested + taken
                else:
                    out.decision_us.append(1e6 * (ingested + taken))
            start = clock()
            sampler.ingest(pixel, int(flat[pixel]))
            ingested = clock() - start
            n += 1
        td = total_distortion(truth, sampler.reconstruct())
        out.fractions.append(n / truth.size)
        out.td.append(td)
        if stop in looks and hasattr(sampler, "distortion_interval"):
            low, high = sampler.distortion_interval(LEVEL)
            if not np.isnan(low):
                out.covered.append(bool(low <= td <= high))
        if td <= wanted:
            break
        report(stop / stops[-1])
    return out._replace(first_s=first)


def trains(name: str) -> bool:
    """Whether a sampler of the benchmarks is trained on images of the specimen's kind."""
    return name == ADAPTED or needs_training(name)


class Trained:
    """A sampler's model, trained when it is first needed: kept trials need none.

    Parameters
    ----------
    name : str
        Sampler.
    images : callable
        Makes the label images to train on.
    seed : int
        Seed of the training.
    """

    def __init__(self, name: str, images: Callable[[], Sequence[NDArray[np.uint8]]], seed: int) -> None:
        self._name, self._images, self._seed = name, images, seed
        self._made: tuple[Any, float] | None = None

    def __call__(self) -> tuple[Any, float]:
        """Return the model, None where the sampler needs no training, and the seconds that it took."""
        if self._made is None:
            if not trains(self._name):
                self._made = (None, 0.0)
            else:
                from ...sampling.learned.adaptation import adapt

                images = self._images()
                start = time.perf_counter()
                train = adapt if self._name == ADAPTED else train_slads
                self._made = (train(images, seed=self._seed), time.perf_counter() - start)
        return self._made
