"""Commands that stand together under one word: ``train …``, ``bench …``."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import typer

__all__ = ["add_group"]


def add_group(app: typer.Typer, name: str, summary: str, package: str, modules: Sequence[str]) -> None:
    """Add to `app` the group `name`, whose sub-commands the `modules` of `package` register."""
    group = typer.Typer(help=summary, no_args_is_help=True)
    for module in modules:
        importlib.import_module(f".{module}", package).register(group)
    app.add_typer(group, name=name)
