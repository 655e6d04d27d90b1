"""Adapting a trained network to a user's own label images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...images.labels import check_label_image
from ...progress import Progress, no_progress, part_of
from .error_calibration import with_calibration_runs
from .model import LearnedModel, shipped_model
from .network import MULTIPLE
from .training import ADAPT, Trainer, TrainingSettings, let_down

__all__ = ["adapt", "check_images"]


def check_images(images: Sequence[NDArray[Any]], names: Sequence[str]) -> tuple[int, list[NDArray[np.uint8]]]:
    """Return the side of the training cuts that all `images` allow, pixels, and the images as uint8.

    Raises
    ------
    DataError
        If one is not a label image, holds unclassified pixels or one phase only, or is under 32 pixels high or wide.
    """
    checked = [check_label_image(image, name) for image, name in zip(images, names, strict=True)]
    for image, name in zip(checked, names, strict=True):
        if min(image.shape) < 2 * MULTIPLE:
            raise DataError(
                f"{name} is of {image.shape[0]} × {image.shape[1]} pixels, at least 32 × 32 are needed"
            )
        if image.min() == 0:
            raise DataError(
                f"{name} holds {int((image == 0).sum())} unclassified pixels (label 0): give them a phase first"
            )
        if image.min() == image.max():
            raise DataError(f"{name} has one phase only ({image.min()}): nothing to learn")
    side = min([TrainingSettings.side, *(min(image.shape) for image in checked)])
    return side // MULTIPLE * MULTIPLE, checked


def adapt(
    images: Sequence[NDArray[np.uint8]],
    model: LearnedModel | None = None,
    *,
    steps: int = 800,
    seed: int = 0,
    progress: Progress = no_progress,
) -> LearnedModel:
    """Continue the training of a model with a user's own label images, as ``train learned --adapt`` does.

    Parameters
    ----------
    images : sequence of (rows, columns) integer arrays
        Label images, 1 … L, at least 32 × 32 pixels each.
    model : LearnedModel, optional
        Model to start from; the general one by default.
    steps : int
        Steps of training, at least 4: on two cores 800 take two minutes with two phases and four with four.
    seed : int
        Seed of cuts, orders and batches; with the same one, and as many threads, the weights are the same.
    progress : callable
        Called with the stage and the fraction done of all.

    Returns
    -------
    LearnedModel
        With the calibration runs of `model` and of runs on `images`.

    Raises
    ------
    DataError
        If there is no image, or one is not a label image, is too small, or holds unclassified pixels or one phase
        only.
    """
    if not images:
        raise DataError("no label image to adapt to")
    first = model or shipped_model()
    side, checked = check_images(images, [f"image {i}" for i in range(len(images))])
    trainer = Trainer(replace(ADAPT, side=side, seed=seed, widths=first.widths), checked, first)
    held = 3 * steps // 4
    for _ in trainer.run(chain(repeat(1.0, held), let_down(steps - held))):
        progress("training", 0.9 * trainer.steps / steps)
    adapted = trainer.model({"from_sha256": first.sha256, "steps_held": held})
    return with_calibration_runs(adapted, first, checked, seed=seed, progress=part_of(progress, 0.9, 1.0))
