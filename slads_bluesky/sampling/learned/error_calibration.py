"""Calibration runs of the learned sampler: what runs on known images looked like, and how wrong their maps were.

They are kept in the model file, and the error monitor forecasts the remaining distortion from those of them that
were in a similar state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...images.distortion import boundary_fraction
from ...images.generated import KINDS, training_image
from ...progress import Progress, no_progress
from ..slads.error_calibration import crop
from .error_monitor import run_state
from .holdout import validate
from .model import LearnedModel
from .sampler import LearnedSampler

__all__ = ["CHECKPOINTS", "GENERATED", "learn_calibration_runs", "with_calibration_runs"]

GENERATED = 48
"""Generated images on which calibration runs are made."""
SIDE = 96
"""Rows and columns of those images."""
LARGEST = 256
"""Rows and columns that are cut from the middle of a user's own images."""
CHECKPOINTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0, 1.2)
"""Where the state of a run is taken, in units of the boundary fraction."""


def _states(image: NDArray[np.uint8], model: LearnedModel, run: int, seed: int) -> NDArray[np.float64]:
    """States of one run of the sampler on a known image, (checkpoints, 7)."""
    sampler = LearnedSampler(image.shape, model, labels=[int(v) for v in np.unique(image)], seed=seed)
    flat, everywhere = image.ravel(), np.ones(image.shape, bool)
    b = boundary_fraction(image)
    rows: list[NDArray[np.float64]] = []
    for stop in sorted({int(p * b * image.size) for p in CHECKPOINTS} | {image.size // 50}):
        while sampler.n_measured < min(stop, image.size // 3):
            for suggestion in sampler.suggest(1):
                sampler.ingest(suggestion.pixel, int(flat[suggestion.pixel]))
        measured = sampler.measured
        validation = validate(sampler.mapper, measured, seed)
        state, total = run_state(sampler.prediction(), validation, measured, everywhere)
        wrong = int(np.count_nonzero(sampler.reconstruct() != image))
        rows.append(np.array([*state, np.log((wrong + 2.0) / (total + 2.0)), float(run)]))
    return np.stack(rows)


def learn_calibration_runs(
    model: LearnedModel,
    images: Sequence[NDArray[np.uint8]] = (),
    *,
    seed: int,
    known: NDArray[np.float32] | None = None,
    generated: int = GENERATED,
    progress: Progress = no_progress,
) -> NDArray[np.float32]:
    """Run the sampler on known images and record its states.

    Parameters
    ----------
    model : LearnedModel
        The network that decides.
    images : sequence of (rows, columns) uint8 arrays
        A user's own label images, two runs on the middle of each.
    seed : int
        Seed of the generated images, which are none of those that the network is trained on, and of the runs.
    known : (n, 7) float32 array, optional
        Calibration runs to add these to: those of the model that `model` was adapted from.
    generated : int
        Number of generated microstructures.
    progress : callable
        Called with the stage and the fraction done.

    Returns
    -------
    (m, 7) float32 array
        A row a state: 5 covariates, log((W + 2) / (S + 2)), number of the run; as `error_forecast.forecast` takes
        them.
    """
    jobs = [crop(image, LARGEST) for image in images for _ in range(2)]
    # The third number of the seed keeps these images apart from those of `Trainer`, whose generator has one.
    # All kinds alike, not by their shares: those on which the network is poor are wanted as much as the others.
    kinds = sorted(KINDS)
    jobs += [
        training_image(np.random.default_rng([seed, 4, i]), SIDE, kind=kinds[i % len(kinds)])
        for i in range(generated)
    ]
    out: list[NDArray[np.floating]] = [np.zeros((0, 7))] if known is None else [known]
    first = 0 if known is None or len(known) == 0 else int(known[:, -1].max()) + 1
    for i, image in enumerate(jobs):
        out.append(_states(image, model, first + i, seed + i))
        progress("calibration runs", (i + 1) / len(jobs))
    return np.concatenate(out).astype(np.float32)


def with_calibration_runs(
    model: LearnedModel,
    first: LearnedModel | None,
    images: Sequence[NDArray[np.uint8]],
    *,
    seed: int,
    progress: Progress = no_progress,
) -> LearnedModel:
    """Return `model` with calibration runs: an adapted one keeps those of `first`, and gets those of its own images.

    Parameters
    ----------
    model : LearnedModel
        A trained network.
    first : LearnedModel, optional
        What its training started from, None for nothing.
    images : sequence of (rows, columns) uint8 arrays
        The images that it was adapted to, none for a general model.
    seed, progress
        As `learn_calibration_runs` takes them.
    """
    if images and first is not None:
        runs = learn_calibration_runs(
            model, images, seed=seed, known=first.calibration_runs, generated=0, progress=progress
        )
    else:
        runs = learn_calibration_runs(model, seed=seed, progress=progress)
    return replace(model, calibration_runs=runs)
