"""Times, errors and verdicts of the classifiers; what needs no simulated object is in `spectra.assessment`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from ...phantom import make_object, training_spectra
from ...spectra.axis import EnergyAxis
from ...spectra.likelihood.classifier import PhaseClassifier
from ...spectra.paper.classifier import PaperClassifier
from ...spectra.paper.network import ClassificationNetwork
from ...spectra.paper.training import make_torch_network, train_paper_classifier
from ...spectra.physics.spectrum import expected_counts
from ..spectra.simulated import FULL_COUNTS, SETS, set_shapes, train_on_draws
from ..spectra.verdicts import verdict_table

__all__ = ["SPEED_COUNTS", "measure_objects", "measure_speed", "measure_verdicts"]

OBJECTS = ("pbsn-128", "powder-256")
SPEED_COUNTS = (50, 1000, 20_000)
TRAINING_SPECTRA = 24
"""Of each phase, as many as the paper takes (3.1.3)."""


def _median_us(call: Callable[[], Any], n: int) -> float:
    """Median processor time of a call, in µs; a busy machine does not count."""
    times = np.empty(n)
    for _ in range(3):
        call()
    for i in range(n):
        start = time.thread_time_ns()
        call()
        times[i] = time.thread_time_ns() - start
    return float(np.median(times)) * 1e-3


def measure_speed(rng: np.random.Generator) -> dict[str, float]:
    """Processor times of both classifiers, that of the paper's network in eager torch beside them."""
    axis = EnergyAxis.phenom()
    classifier, spectra = train_on_draws("powder", axis, rng)
    paper = train_paper_classifier(spectra, axis)
    one = rng.poisson(FULL_COUNTS * set_shapes("powder", axis)[1]).astype(np.int32)
    many = np.tile(one, (512, 1))
    network = make_torch_network(axis.n_channels, 4)

    def eager() -> None:
        network(torch.from_numpy(ClassificationNetwork.prepare(one[None])[:, None]))

    computed = PhaseClassifier.from_compositions(SETS["powder"], axis)
    times = {}
    for total in SPEED_COUNTS:
        drawn = rng.poisson(total * set_shapes("powder", axis)[1]).astype(np.int32)
        times[f"classify_{total}_us"] = _median_us(partial(classifier.classify, drawn), 300)
        times[f"classify_computed_{total}_us"] = _median_us(partial(computed.classify, drawn), 300)
    return {
        **times,
        "classify_us": _median_us(lambda: classifier.classify(one), 500),
        "classify_batch_us": _median_us(lambda: classifier.classify_batch(many), 10) / len(many),
        "paper_us": _median_us(lambda: paper.classify(one), 300),
        "paper_eager_torch_us": _median_us(eager, 100),
        "physics_ms": _median_us(lambda: expected_counts({"Pb": 0.38, "Sn": 0.62}, axis), 30) / 1e3,
    }


def measure_objects(n_pixels: int, rng: np.random.Generator, seed: int) -> dict[str, dict[str, float]]:
    """Both classifiers on pixels of the simulated objects, trained on other spectra of the same kind.

    Parameters
    ----------
    n_pixels : int
        Of each object.
    rng : numpy.random.Generator
        Draws pixels and ill spectra.
    seed : int
        Of the objects and of the training.
    """
    found: dict[str, dict[str, float]] = {}
    for name in OBJECTS:
        phantom = make_object(name, seed)
        spectra = training_spectra(name, seed)
        noise = phantom.recipe.noise_rate
        pixels = rng.choice(phantom.truth.size, n_pixels, replace=False)
        drawn = np.array([phantom.spectrum(int(pixel)) for pixel in pixels])
        labels = phantom.labels.ravel()[pixels]
        ill = rng.poisson(phantom.recipe.ill_rate, (1000, phantom.axis.n_channels))
        made: dict[str, PhaseClassifier | PaperClassifier] = {
            "default": PhaseClassifier.from_spectra(spectra, phantom.axis, noise_lambda=noise, seed=seed),
            "paper": train_paper_classifier(spectra, phantom.axis, noise_lambda=noise, seed=seed),
        }
        for kind, classifier in made.items():
            given = classifier.classify_batch(drawn)[0]
            good = labels > 0
            found[f"{name}, {kind}"] = {
                "n": int(good.sum()),
                "misclassified": float((good & (given > 0) & (given != labels)).sum() / good.sum()),
                "false_alarms": float((given[good] == 0).mean()),
                "ill_caught": float((classifier.classify_batch(ill)[0] == 0).mean()),
            }
    return found


def measure_verdicts(
    name: str, counts: Sequence[int], n: int, rng: np.random.Generator, *, paper: bool
) -> dict[int, Any]:
    """Verdicts on simulated spectra of a set of phases, by their number of counts.

    Parameters
    ----------
    name : str
        A key of `spectra.assessment.SETS`.
    counts : sequence of int
        Counts of the spectra.
    n : int
        Spectra of each sort.
    rng : numpy.random.Generator
        Draws them, and those to train on.
    paper : bool
        With the paper's detection for comparison, trained again at each number of counts.
    """
    axis = EnergyAxis.phenom()
    shapes = dict(zip(SETS[name], set_shapes(name, axis), strict=True))

    def draw(total: float) -> dict[str, Any]:
        size = (TRAINING_SPECTRA, axis.n_channels)
        return {phase: rng.poisson(total * shape, size).astype(np.float64) for phase, shape in shapes.items()}

    classifier = PhaseClassifier.from_spectra(draw(FULL_COUNTS), axis, live_time_s=10.0)
    tables = {}
    for total in counts:
        other = None
        if paper:
            training = draw(total)
            other = train_paper_classifier(training, axis, noise_lambda=0.0, seed=int(rng.integers(2**31)))
        tables[total] = verdict_table(classifier, shapes, total, n, rng, paper=other)
    return tables
