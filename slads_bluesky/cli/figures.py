"""What commands that print figures share: the ``--json`` file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ConfigError

__all__ = ["Json", "check_writable", "write_json"]

Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures as JSON too.")]
"""The option itself, for every command that prints figures."""


def check_writable(path: Path | None) -> None:
    """Raise ConfigError now, not after an hour's run, if `path` cannot be written."""
    if path is None:
        return
    parent = path.resolve().parent
    if path.is_dir() or not parent.is_dir() or not os.access(path if path.exists() else parent, os.W_OK):
        raise ConfigError(f"cannot write {path}")


def write_json(path: Path | None, figures: dict[str, Any]) -> None:
    """Write `figures` to `path` in one step (a half-written file never shows), or do nothing for None."""
    if path is None:
        return
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n")
    partial.replace(path)
