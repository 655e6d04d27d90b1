"""``slads-bluesky plans``: the plans that a queue takes, with their parameters, defaults and limits."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..files import check_writable, write_json
from ..terminal import make_console
from .options import Json

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["plans", "register"]


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command()(plans)


def plans(
    instrument: Annotated[
        Path, typer.Option(metavar="FILE", help="The instrument.yml whose values are the defaults.")
    ] = Path("profile/instrument.yml"),
    json_file: Json = None,
) -> None:
    """List the plans for a queue server, with what each parameter means and may be.

    `qserver allowed plans` prints their names only. Example: slads-bluesky plans --instrument profile/instrument.yml
    """
    from rich.table import Table

    from ..instrument import read_settings
    from ..plans.queue import queue_plans

    check_writable(json_file)
    settings, _ = read_settings(instrument)
    defaults = {
        "fraction": settings.sampler.fraction, "seed": settings.sampler.seed,
        "dwell_s": settings.dose.dwell_s, "error": settings.dose.error,
        "phases": "discover" if settings.classifier.phases == "discover" else "known",
    }  # fmt: skip
    session: Any = SimpleNamespace(grid=settings.grid.grid(), defaults=defaults)
    console = make_console()
    figures: dict[str, Any] = {}
    for name, plan in queue_plans(session)._asdict().items():
        summary, rows = _described(plan)
        table = Table("parameter", "default", "what it is (limits)", box=None)
        for row in rows:
            table.add_row(*row)
        console.print(f"{name}: {summary}")
        console.print(table)
        console.print("")
        figures[name] = {
            "description": summary,
            "parameters": [dict(zip(("name", "default", "description"), row, strict=True)) for row in rows],
        }
    write_json(json_file, figures)


def _described(plan: Callable[..., Any]) -> tuple[str, list[tuple[str, str, str]]]:
    """Summary of a plan, and name, default and description of each parameter."""
    lines = (plan.__doc__ or "").splitlines()
    texts = {lines[i - 1]: line.strip() for i, line in enumerate(lines) if line.startswith("    ")}
    rows = []
    for name, parameter in inspect.signature(plan).parameters.items():
        default = "required" if parameter.default is inspect.Parameter.empty else str(parameter.default)
        rows.append((name, default, texts.get(name, "")))
    return lines[0] if lines else "", rows
