"""One trial: an experiment of the paper, by one method, with one seed, through the plan."""

from __future__ import annotations

import resource
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..experiment import make_agent, run_map
from ..models import Models, prepare_models
from ..phantom import Phantom, make_object
from .curves import checkpoints, distortions, knn, oracle_order, reached_at
from .figures_of_paper import PAPER

__all__ = ["METHODS", "SCORES", "Method", "reference_curves", "run_trial"]


@dataclass(frozen=True)
class Method:
    """A way to map a specimen."""

    title: str
    sampler: str
    classifier: str
    error: float | None = None
    """Wanted error of a label, for adaptive dwell; None for the paper's fixed dwell."""
    initial: float | None = None


METHODS = {
    "paper": Method("the paper's: SLADS, two networks, 10 s", "slads", "paper"),
    "ours": Method("ours: learned sampler, likelihood, adaptive dwell", "learned", "likelihood", error=1e-3),
}

SCORES = (
    "td", "td_paper_definition", "fraction_at_paper_td", "misclassification", "false_alarm", "counts_per_pixel",
    "dwell_per_pixel_s", "dose_nC", "dose_at_paper_td_nC", "decision_us", "point_ms", "peak_rss_mb",
)  # fmt: skip
"""Numbers of a trial that have a median and a worst over the seeds."""


def _reconstructor(models: Models) -> Callable[[NDArray[np.int16]], NDArray[np.uint8]]:
    if models.sampler_name != "learned":
        return knn
    from ..sampling.learned import NetworkReconstructor

    network = NetworkReconstructor(models.sampler)
    return lambda measured: network(measured)[0]


def run_trial(
    experiment: str,
    method: str,
    seed: int,
    *,
    soft: bool = True,
    subscribers: tuple[Callable[[str, dict[str, Any]], Any], ...] = (),
    told: Callable[[str], None] | None = None,
    fraction: float | None = None,
) -> dict[str, Any]:
    """Run a trial and score it.

    Parameters
    ----------
    experiment : str
        An object's name, a key of `PAPER`.
    method : str
        A key of `METHODS`.
    seed : int
        Seed of the object, of the training and of the start.
    soft : bool
        In-process devices, or the simulated microscope over Channel Access.
    subscribers : tuple of callable
        Take every document: a `Recorder`, a progress bar.
    told : callable, optional
        Told in a few words what is being prepared.
    fraction : float, optional
        Part of the pixels to measure instead of the paper's.

    Returns
    -------
    dict
        JSON: the figures of the map, `SCORES` among them, and ``curve``, rows of [n, dose in nC, TD].
    """
    how, paper = METHODS[method], PAPER[experiment]
    phantom = make_object(experiment, seed)
    models = prepare_models(experiment, sampler=how.sampler, classifier=how.classifier, seed=seed, told=told)
    agent = make_agent(phantom, models, fraction=fraction or paper.fraction, seed=seed, initial=how.initial)
    result = run_map(phantom, models, agent, soft=soft, subscribers=list(subscribers), error=how.error)
    statistics, reconstruct = result.statistics, _reconstructor(models)
    pixels, labels = statistics.pixels, statistics.labels
    numbers = checkpoints(phantom.truth.size, pixels.size)
    curve = distortions(phantom.truth, pixels, labels, numbers, reconstruct)
    n = reached_at(phantom.truth, pixels, labels, paper.td, reconstruct, numbers=numbers, curve=curve)
    dose = np.cumsum(statistics.doses_nc)
    figures = result.figures()
    return {
        **figures,
        "experiment": experiment,
        "method": method,
        "seed": seed,
        "fraction_at_paper_td": None if n is None else n / phantom.truth.size,
        "dose_at_paper_td_nC": None if n is None else float(dose[n - 1]),
        "counts_per_pixel": float(statistics.counts.mean()),
        "dwell_per_pixel_s": figures["dwell_total_s"] / pixels.size,
        "decision_us": figures["decision_us"]["median"],
        "point_ms": figures["point_ms"]["median"],
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "raster_dose_nC": float(statistics.doses_nc.mean() * phantom.truth.size),
        "curve": [[int(n), float(dose[n - 1]), float(td)] for n, td in zip(numbers, curve, strict=True)],
        "maps": _maps(phantom, result.measured, result.reconstruction),
    }


def _maps(phantom: Phantom, measured: NDArray[np.int16], reconstruction: NDArray[np.uint8]) -> dict[str, Any]:
    """What the four panels need, to be kept as arrays beside the JSON."""
    return {
        "measured": measured,
        "reconstruction": reconstruction,
        "truth": phantom.truth,
        "phases": list(phantom.phases),
    }


def reference_curves(experiment: str, seed: int, dose_per_pixel_nc: float) -> dict[str, list[list[float]]]:
    """Distortion curves of what asks no spectra: static samplings, and an oracle, all with perfect labels.

    Parameters
    ----------
    experiment, seed : str, int
        As of `run_trial`.
    dose_per_pixel_nc : float
        Dose that each pixel is reckoned at.

    Returns
    -------
    dict
        ``random``, ``low-discrepancy`` and ``oracle``, each rows of [n, dose in nC, TD].
    """
    from ..sampling import initial_pixels

    truth = make_object(experiment, seed).truth
    n = round(PAPER[experiment].fraction * truth.size)
    low = initial_pixels(truth.shape, n / truth.size, seed=seed)
    orders: dict[str, NDArray[np.integer]] = {
        "random": np.random.default_rng([seed, 0xA11]).permutation(truth.size)[:n],
        "low-discrepancy": low,
        "oracle": oracle_order(truth, initial_pixels(truth.shape, 0.01, seed=seed), n),
    }
    curves = {}
    for name, order in orders.items():
        numbers = checkpoints(truth.size, order.size, 16)
        td = distortions(truth, order, truth.ravel()[order], numbers)
        curves[name] = [
            [int(n), float(n * dose_per_pixel_nc), float(v)] for n, v in zip(numbers, td, strict=True)
        ]
    return curves
