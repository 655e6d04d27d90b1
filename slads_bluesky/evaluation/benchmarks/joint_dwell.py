"""How many counts the adaptive dwell takes beside Wald's test with known spectra, and what takes the difference.

All rules see the same counts, in the order in which they come. The first knows the phases' spectra and looks at every
count; each of the others adds one thing that protects: the hypothesis that it is none of the phases, templates that
were learned from spectra, looks at presets only, and all of the program's rule with its checks of the fit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...phantom import Phantom, make_object
from ...simulation.models import prepare_models
from ...spectra import PhaseClassifier
from ...spectra.dwell import LEAST_COUNTS, SequentialTest
from ...spectra.likelihood.kernel import binned
from ..figures import Figure, at_most, measured

__all__ = ["RULES", "dwell_figures", "measure_dwell"]

ERRORS = (0.001, 0.01, 0.05, 0.1)
MOST_COUNTS = 1500
NONE_PRIOR = 1e-3
RULES = {
    "wald": "known spectra, every count",
    "none": "… and none of the phases as a hypothesis",
    "learned": "learned templates, every count",
    "program": "the program's rule, by its looks",
}


def measure_dwell(name: str, n: int = 60, seed: int = 0) -> list[dict[str, float]]:
    """Let each rule stop the same spectra.

    Parameters
    ----------
    name : str
        Of the object whose phases they are.
    n : int
        Spectra of each phase.
    seed : int

    Returns
    -------
    list of dict
        For each of `ERRORS` the mean counts of each of `RULES`, and ``wrong``, the part that the program's rule has
        wrong.
    """
    phantom = make_object(name, seed)
    classifier: Any = prepare_models(name, sampler="joint", classifier="likelihood", seed=seed).classifier
    expected = np.asarray(phantom.templates + phantom.recipe.noise_rate, np.float64)
    known = expected.mean(axis=1)
    rng = np.random.default_rng([seed, 0xDE11])
    drawn = []
    for phase, shapes in enumerate(expected):
        for _ in range(n):
            shape = shapes[rng.integers(len(shapes))]
            drawn.append((phase, rng.choice(shape.size, MOST_COUNTS, p=shape / shape.sum())))
    logs = np.log(known / known.sum(axis=1, keepdims=True))
    flat = np.full((1, known.shape[1]), -np.log(known.shape[1]))
    learned = _learned_logs(classifier)
    rows = []
    for error in ERRORS:
        test = SequentialTest(classifier, error, cap_s=10.0)
        taken: dict[str, list[int]] = {rule: [] for rule in RULES}
        wrong = 0
        for phase, channels in drawn:
            taken["wald"].append(_first_sure(logs[:, channels], error))
            with_none = np.vstack([logs, flat])[:, channels]
            taken["none"].append(_first_sure(with_none, error, none=True))
            taken["learned"].append(_first_sure(learned[:, channels], error))
            counts, label = _by_looks(test, channels, phantom)
            taken["program"].append(counts)
            wrong += label not in (phase + 1, 0)
        means = {rule: float(np.mean(values)) for rule, values in taken.items()}
        rows.append({"error": error, **means, "wrong": wrong / len(drawn)})
    return rows


def _learned_logs(classifier: PhaseClassifier) -> NDArray[np.float64]:
    """Logarithm of each learned template for a count in each channel, (L, channels); 0 outside the bins."""
    starts = classifier.bin_starts
    widths = binned(np.ones(classifier.n_channels), starts)
    out = np.zeros((len(classifier.phases), classifier.n_channels))
    of_bins = np.log(classifier.templates.shape / widths)
    out[:, starts[0] : starts[-1]] = np.repeat(of_bins, np.diff(starts), axis=1)
    return out


def _first_sure(steps: NDArray[np.float64], error: float, *, none: bool = False) -> int:
    """Counts at which the posterior of a phase first exceeds 1 - ε; `steps` (hypotheses, counts), the last none."""
    total = np.cumsum(steps, axis=1)
    if none:
        total[-1] += np.log(NONE_PRIOR * (len(total) - 1))
    top = total.max(axis=0)
    posterior = np.exp(total - top)
    posterior /= posterior.sum(axis=0)
    phases = posterior[:-1] if none else posterior
    sure = phases.max(axis=0) >= 1.0 - error
    return int(sure.argmax()) + 1 if sure.any() else steps.shape[1]


def _by_looks(test: SequentialTest, channels: NDArray[np.integer], phantom: Phantom) -> tuple[int, int]:
    """Counts that the program's rule takes, and the label that it gives."""
    test.reset()
    rate = (
        float(phantom.templates.sum() / len(phantom.templates) / phantom.templates.shape[1])
        / phantom.full_dwell_s
    )
    n = 0
    while n < len(channels):
        n = min(n + test.next_counts(), len(channels))
        counts = np.bincount(channels[:n], minlength=phantom.axis.n_channels).astype(np.int32)
        decision = test.update(counts, n / rate)
        if decision is not None:
            return n, int(decision.label)
    return n, 0


def dwell_figures(
    names: tuple[str, ...] = ("pbsn-128", "powder-256"), n: int = 60
) -> tuple[list[Figure], dict[str, Any]]:
    """Return the program's counts over Wald's with their goal, and all means by object."""
    figures, found = [], {}
    for name in names:
        found[name] = measure_dwell(name, n)
        for row in found[name]:
            what = f"{name}, ε = {row['error']:g}: counts of a spectrum"
            ratio = row["program"] / max(row["wald"], LEAST_COUNTS)
            figures.append(at_most(f"{what}, adaptive dwell over known spectra (at least 4)", ratio, 1.5))
            figures.append(measured(f"{what}, adaptive dwell", row["program"]))
    return figures, found
