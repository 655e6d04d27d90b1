"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Blur", "Imperfect", "Json"]

Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures as JSON too.")]
"""``--json FILE``, for every command that prints figures."""

Blur = Annotated[
    float | None,
    typer.Option(metavar="SIGMA", min=0.0, help="Standard deviation of the interaction volume, pixels."),
]
"""``--blur SIGMA``, for every command that makes a simulated specimen."""

Imperfect = Annotated[
    bool, typer.Option("--imperfect", help="All that a real specimen and instrument have besides.")
]
"""``--imperfect``, likewise."""
