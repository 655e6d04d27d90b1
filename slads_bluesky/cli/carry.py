"""``slads-bluesky export | report | serve``: what was recorded, taken elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .figures import check_writable, write_json
from .record import Json, Uid, Where, open_map

__all__ = ["export", "register", "report"]


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    numbers = {"ignore_unknown_options": True}  # "-1" is a run, not an option
    app.command(context_settings=numbers)(export)
    app.command(context_settings=numbers)(report)


def export(
    uid: Uid,
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="Ends in .hspy, .zspy, .nxs, .msa, .npz or .csv.")
    ],
    catalog: Where = None,
    json_file: Json = None,
) -> None:
    """Write a map into a file of another program."""
    from rich.console import Console

    from ..export.formats import export_map

    check_writable(json_file)
    console = Console(highlight=False, soft_wrap=True)
    _, data = open_map(uid, catalog)
    with console.status(f"writing {path.name}"):
        written = export_map(data, path)
    for file in written:
        console.print(str(file), markup=False)
    write_json(
        json_file, {"uid": data.uid, "n_measured": data.n_measured, "files": [str(file) for file in written]}
    )


def report(
    uid: Uid,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Ends in .html, .pdf or .png.")],
    catalog: Where = None,
    json_file: Json = None,
) -> None:
    """Write a map's report: pictures, area fractions with intervals, dose and time, configuration."""
    from rich.console import Console

    from ..export.report import write_report
    from ..export.story import story
    from .counterfactual import known_truth

    check_writable(json_file)
    console = Console(highlight=False, soft_wrap=True)
    _, data = open_map(uid, catalog)
    with console.status(f"writing {path.name}"):
        write_report(data, path, known_truth(data))
    console.print(str(path), markup=False)
    write_json(json_file, {**story(data)[1], "file": str(path)})
