"""Boundary fraction at which the paper's method reaches the paper's distortion with the paper's samples.

How many samples a map needs is set by its boundary fraction (`phantom.microstructures`), which the paper does not
state. Where SLADS does not reach the paper's figure on our object, the same object is made coarser until it does.
"""

from __future__ import annotations

import time
from typing import Any

from ...images.distortion import boundary_fraction
from ...phantom import make_labels
from ...phantom.microstructures import target_boundary_fraction
from ...phantom.paper_results import PAPER
from ...progress import Progress, no_progress
from ...sampling import distortion_curve
from ...simulation.models import prepare_models

__all__ = ["HALVINGS", "LEAST", "smoother_object"]

LEAST = 0.4
"""Smallest boundary fraction that is tried, in parts of the object's own."""

HALVINGS = 4
"""How often the interval is halved: the answer is known to 4 % of the object's own boundary fraction."""


def smoother_object(experiment: str, seed: int, progress: Progress = no_progress) -> dict[str, Any]:
    """Search the largest boundary fraction at which SLADS reaches the paper's distortion with its samples.

    Labels are perfect, the training that of the experiment itself; only the object's length scale differs.

    Parameters
    ----------
    experiment : str
        A key of `phantom.paper_results.PAPER`.
    seed : int
        Seed of the object, of the training and of the start.
    progress : callable, optional
        Called with the stage and the fraction done.

    Returns
    -------
    dict
        ``boundary_fraction``, that of the roughest object found on which it does; None if it does not on the
        smoothest that was tried; ``tried``, rows of [boundary fraction, TD]; ``trial_s``.
    """
    began = time.perf_counter()
    kind, _, side = experiment.partition("-")
    size, paper = int(side), PAPER[experiment]
    model = prepare_models(
        experiment, sampler="slads", classifier="paper", seed=seed, progress=progress
    ).sampler
    own = target_boundary_fraction(kind, size)  # type: ignore[arg-type]
    n = round(paper.fraction * size * size)
    tried: list[tuple[float, float]] = []

    def reached(wanted: float) -> bool:
        truth = make_labels(kind, size, seed, wanted=wanted)  # type: ignore[arg-type]
        td, _ = distortion_curve(truth, model, [n], seed)
        tried.append((boundary_fraction(truth), float(td[0])))
        return bool(td[0] <= paper.td)

    low, high = LEAST * own, own
    if not reached(high) and reached(low):
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if reached(middle) else (low, middle)
    return {
        "boundary_fraction": max((b for b, td in tried if td <= paper.td), default=None),
        "tried": sorted(tried),
        "trial_s": time.perf_counter() - began,
    }
