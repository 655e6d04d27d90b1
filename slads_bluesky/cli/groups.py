"""Commands that stand together under one word: ``train …``, ``bench …``."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import typer

__all__ = ["add_group"]


def add_group(app: typer.Typer, name: str, told: str, modules: Sequence[str]) -> None:
    """Add to `app` the group `name`, whose sub-commands the `modules` beside this one register."""
    group = typer.Typer(help=told, no_args_is_help=True)
    for module in modules:
        importlib.import_module(f".{module}", __package__).register(group)
    app.add_typer(group, name=name)
