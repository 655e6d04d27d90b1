"""``slads-bluesky train …``: samplers and classifiers from images, spectra and compositions."""

from __future__ import annotations

import typer

from .groups import add_group

__all__ = ["register"]

MODULES: tuple[str, ...] = ("train_sampler", "train_learned", "train_classifier", "train_joint")
"""Modules beside this one, each adding one sub-command in its ``register(app)``."""


def register(app: typer.Typer) -> None:
    """Add the group ``train`` to `app`."""
    add_group(app, "train", "Train samplers and classifiers.", __package__, MODULES)
