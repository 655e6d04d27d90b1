"""``slads-bluesky phases``: what a map found on the way, and a classifier of it for the next field of view."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import RecordError
from ..files import check_writable, write_json
from ..terminal import make_console
from .options import Json
from .record import Folder, Uid, open_map

__all__ = ["phases", "register"]


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command(context_settings={"ignore_unknown_options": True})(phases)  # "-1" is a run, not an option


def phases(
    uid: Uid,
    classifier: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Learn the found phases from the map's spectra, into this file."),
    ] = None,
    catalog: Folder = None,
    json_file: Json = None,
) -> None:
    """Show the phases that a map found on the way: names, what they may be, and what operators did with them."""
    from ..analysis.found_phases import classifier_of_found
    from ..export.conditions import conditions_of_map

    check_writable(classifier)
    check_writable(json_file)
    console = make_console()
    _, data = open_map(uid, str(catalog) if catalog is not None else None, spectra=classifier is not None)
    if data.found is None:
        raise RecordError(f"run {data.uid[:8]} was given its phases; only maps that find theirs have a list")
    rows = _rows(data)
    console.print(_table(rows, data))
    for step in data.phase_steps:
        refused = f": refused, {step.refused}" if step.refused else ""
        console.print(f"after {step.after} pixels {step.who}: {step.describe()}{refused}", markup=False)
    figures: dict[str, Any] = {
        "phases": rows,
        "undiscovered": float(data.found["undiscovered"]),
        "undiscovered_upper": float(data.found["undiscovered_upper"]),
        "steps": [step.to_json() for step in data.phase_steps],
    }
    if classifier is not None:
        learnt = classifier_of_found(data, conditions_of_map(data))
        learnt.save(classifier)
        figures["classifier"] = {
            "file": str(classifier),
            "sha256": learnt.sha256,
            "phases": list(learnt.phases),
        }
        console.print(f"{classifier}: {', '.join(learnt.phases)}", soft_wrap=True, markup=False)
    write_json(json_file, figures)


def _rows(data: Any) -> list[dict[str, Any]]:
    sizes, parents = data.found["n_spectra"], data.found["parents"]
    about = data.phase_candidates
    return [
        {
            "label": label,
            "name": name,
            "n_spectra": int(sizes[label - 1]),
            "parent": int(parents[label - 1]),
            **about.get(label, {}),
        }
        for label, name in enumerate(data.phases, 1)
        if sizes[label - 1]
    ]


def _table(rows: list[dict[str, Any]], data: Any) -> Any:
    from rich.table import Table

    from ..analysis.phases_in_words import candidates_in_words, composition_in_words

    hidden, bound = float(data.found["undiscovered"]), float(data.found["undiscovered_upper"])
    table = Table(
        title=f"Phases found in run {data.uid[:8]}",
        caption=f"not found yet: {hidden:.2%} of the area, under {bound:.2%} with 95 %",
    )
    for name in ("label", "name", "spectra", "split off", "may be", "composition"):
        table.add_column(name)
    for row in rows:
        table.add_row(
            str(row["label"]), row["name"], str(row["n_spectra"]), str(row["parent"] or ""),
            candidates_in_words(row), composition_in_words(row),
        )  # fmt: skip
    return table
