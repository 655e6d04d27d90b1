"""One trial: an experiment of the paper, by one method, with one seed, through the plan."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...agent import SladsAgent
from ...memory import peak_rss_mb
from ...phantom import Phantom, make_object
from ...phantom.paper_results import PAPER
from ...progress import Progress, no_progress
from ...simulation.models import Models, prepare_models
from ...simulation.run import make_agent, run_map
from ..process import forget_peak
from .curves import DistortionCurve, Reconstruct, checkpoints, knn, oracle_order

__all__ = [
    "METHODS",
    "REFERENCES",
    "SCORES",
    "Method",
    "reconstructor",
    "reference_curves",
    "run_trial",
    "run_trial_here",
]


@dataclass(frozen=True)
class Method:
    """A way to map a specimen."""

    title: str
    column: str
    """Heading of its column in the table."""
    about: str
    sampler: str
    classifier: str
    error: float | None = None
    """Wanted error of a label, for adaptive dwell; None for the paper's fixed dwell."""
    initial: float | None = None


METHODS = {
    "paper": Method(
        "the paper's method", "its method, here", "SLADS, two networks, 10 s per pixel", "slads", "paper"
    ),
    "ours": Method(
        "ours", "ours", "learned sampler, likelihood, adaptive dwell", "learned", "likelihood", error=1e-3
    ),
}

SCORES = (
    "td", "td_paper_definition", "fraction_at_paper_td", "fraction_at_paper_definition", "misclassification",
    "false_alarm", "counts_per_pixel", "dwell_per_pixel_s", "dose_nC", "dose_at_paper_td_nC", "decision_us",
    "point_ms", "peak_rss_mb",
)  # fmt: skip
"""Numbers of a trial that have a median and a worst over the seeds."""


def reconstructor(agent: SladsAgent, models: Models) -> Reconstruct:
    """Make the map that an agent's own sampler would have made of the first labels of its run.

    SLADS votes; the learned sampler is fed the labels again, in their order, since it chooses at some moments of a
    run between its network and the vote.

    Parameters
    ----------
    agent : SladsAgent
        As it was configured for the run.
    models : Models
        Of the run.
    """
    if models.sampler_name != "learned":
        return knn
    configuration = agent.configuration()
    fed = np.zeros((0, 2), np.int64)
    sampler = agent.sampler

    def reconstruct(
        shape: tuple[int, int], pixels: NDArray[np.integer], labels: NDArray[np.integer]
    ) -> NDArray[np.uint8]:
        nonlocal fed, sampler
        wanted = np.stack([pixels, labels], axis=1)
        if not len(fed) or len(fed) > len(wanted) or not np.array_equal(fed, wanted[: len(fed)]):
            sampler = SladsAgent.from_configuration(configuration, models.sampler).sampler
            fed = wanted[:0]
        for pixel, label in wanted[len(fed) :].tolist():
            sampler.ingest(pixel, label)
        fed = wanted
        return sampler.reconstruct()

    return reconstruct


def run_trial(
    experiment: str,
    method: str,
    seed: int,
    *,
    soft: bool = True,
    subscribers: tuple[Callable[[str, dict[str, Any]], Any], ...] = (),
    progress: Progress = no_progress,
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
    progress : callable, optional
        Called with the stage of the preparation and the fraction done.
    fraction : float, optional
        Part of the pixels to measure instead of the paper's.

    Returns
    -------
    dict
        JSON: the figures of the map, `SCORES` among them, and ``curve``, rows of [n, dose in nC, TD].
    """
    began = time.perf_counter()
    how, paper = METHODS[method], PAPER[experiment]
    phantom = make_object(experiment, seed)
    models = prepare_models(
        experiment,
        sampler=how.sampler,
        classifier=how.classifier,
        seed=seed,
        progress=progress,
    )
    prepared = time.perf_counter()
    gc.collect()
    forget_peak()  # the memory that training took is not the map's
    agent = make_agent(phantom, models, fraction=fraction or paper.fraction, seed=seed, initial=how.initial)
    result = run_map(
        phantom,
        models,
        agent,
        soft=soft,
        subscribers=list(subscribers),
        error=how.error,
        md={"num_points": agent.n_wanted},
    )
    peak = peak_rss_mb()
    pixels = result.statistics.pixels
    distortion = DistortionCurve(
        phantom.truth,
        pixels,
        result.measured.ravel()[pixels],  # as the agent took them: only verdicts "ok" have a label
        labelled=phantom.labels,
        reconstruct=reconstructor(agent, models),
    )
    numbers = checkpoints(phantom.truth.size, pixels.size)
    curve = distortion.curve(numbers)
    n = distortion.first_at(paper.td, numbers)
    n_as_paper = distortion.first_at(paper.td, numbers, count_invalid=True)
    doses = result.statistics.doses_nc
    dose = np.cumsum(doses)
    figures = result.figures()
    return {
        **figures,
        "experiment": experiment,
        "method": method,
        "seed": seed,
        "soft": soft,
        "fraction_at_paper_td": None if n is None else n / phantom.truth.size,
        "fraction_at_paper_definition": None if n_as_paper is None else n_as_paper / phantom.truth.size,
        "dose_at_paper_td_nC": None if n is None else float(dose[n - 1]),
        "counts_per_pixel": float(result.statistics.counts.mean()),
        "dwell_per_pixel_s": figures["dwell_total_s"] / pixels.size,
        "decision_us": figures["decision_us"]["median"],
        "point_ms": figures["point_ms"]["median"],
        "peak_rss_mb": peak,
        "raster_dose_nC": float(doses.mean() * phantom.truth.size),
        "curve": [[int(n), float(dose[n - 1]), float(td)] for n, td in zip(numbers, curve, strict=True)],
        "maps": _maps(phantom, result.measured, result.reconstruction),
        "prepared_s": prepared - began,
        "trial_s": time.perf_counter() - began,
    }


def run_trial_here(
    experiment: str, method: str, seed: int, record: Path | None, *, alone: bool = True
) -> dict[str, Any]:
    """Run a trial in a process of its own; `run_trial` says what comes back.

    Parameters
    ----------
    experiment, method, seed : str, str, int
        As of `run_trial`.
    record : Path, optional
        With a record, through the whole system: the simulated microscope over Channel Access, journal, catalog.
        Without one, on soft devices.
    alone : bool
        Draw a progress bar and compute with all cores; otherwise on one core, as other trials run at the same time.
    """
    import torch
    from rich.console import Console

    from ...callbacks.progress import MapProgress
    from ...record import Recorder

    console = Console(stderr=True, highlight=False)
    bar = MapProgress(lambda: float("nan"), console)
    shown = (bar,) if alone else ()
    if not alone:
        torch.set_num_threads(1)
    if record is None:
        return run_trial(experiment, method, seed, subscribers=shown)
    with Recorder(record, on_problem=lambda text: console.print(f"catalog: {text}")) as recorder:
        result = run_trial(experiment, method, seed, soft=False, subscribers=(recorder, *shown))
        recorder.flush(timeout=600)
    return result


def _maps(phantom: Phantom, measured: NDArray[np.int16], reconstruction: NDArray[np.uint8]) -> dict[str, Any]:
    """What the four panels need, kept as arrays next to the JSON file."""
    return {
        "measured": measured,
        "reconstruction": reconstruction,
        "truth": phantom.truth,
        "phases": list(phantom.phases),
    }


REFERENCES = ("random", "low-discrepancy", "oracle")
"""Samplers that need no spectra."""


def reference_curves(experiment: str, seed: int) -> dict[str, Any]:
    """Distortion curves without spectra: static samplings, and an oracle, all with perfect labels.

    Parameters
    ----------
    experiment, seed : str, int
        As of `run_trial`.

    Returns
    -------
    dict
        ``curves``, for each of `REFERENCES` rows of [n, TD]; ``trial_s``.
    """
    from ...sampling import initial_pixels

    began = time.perf_counter()
    truth = make_object(experiment, seed).truth
    n = round(PAPER[experiment].fraction * truth.size)
    # at 1024² a reconstruction takes a second: fewer of them, and the oracle is hardly the worse for it
    growth = 0.03 if truth.size < 2**18 else 0.08
    orders: dict[str, NDArray[np.integer]] = {
        "random": np.random.default_rng([seed, 0xA11]).permutation(truth.size)[:n],
        "low-discrepancy": initial_pixels(truth.shape, n / truth.size, seed=seed),
        "oracle": oracle_order(truth, initial_pixels(truth.shape, 0.01, seed=seed), n, growth),
    }
    curves = {}
    for name in REFERENCES:
        order = orders[name]
        numbers = checkpoints(truth.size, order.size, 16)
        td = DistortionCurve(truth, order, truth.ravel()[order]).curve(numbers)
        curves[name] = [[int(n), float(v)] for n, v in zip(numbers, td, strict=True)]
    return {"curves": curves, "trial_s": time.perf_counter() - began}
