"""``slads-bluesky bench …``: the figures of this project, measured here and now."""

from __future__ import annotations

import importlib

import typer

__all__ = ["register"]

MODULES: tuple[str, ...] = ("bench_sampling", "bench_point", "bench_spectra", "bench_record", "bench_kills")
"""Modules beside this one, each adding one sub-command in its ``register(app)``."""


def register(app: typer.Typer) -> None:
    """Add the group ``bench`` to `app`."""
    if not MODULES:
        return
    group = typer.Typer(help="Measure the figures that this project claims.", no_args_is_help=True)
    for name in MODULES:
        importlib.import_module(f".{name}", __package__).register(group)
    app.add_typer(group, name="bench")
