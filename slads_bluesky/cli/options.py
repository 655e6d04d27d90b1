"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Json"]

Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures as JSON too.")]
"""``--json FILE``, for every command that prints figures."""
