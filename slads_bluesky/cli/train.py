"""``slads-bluesky train …``: samplers and classifiers from images, spectra and compositions."""

from __future__ import annotations

import importlib

import typer

__all__ = ["register"]

MODULES: tuple[str, ...] = ("train_sampler", "train_learned", "train_classifier")
"""Modules beside this one, each adding one sub-command in its ``register(app)``."""


def register(app: typer.Typer) -> None:
    """Add the group ``train`` to `app`."""
    if not MODULES:
        return
    group = typer.Typer(help="Train samplers and classifiers.", no_args_is_help=True)
    for name in MODULES:
        importlib.import_module(f".{name}", __package__).register(group)
    app.add_typer(group, name="train")
