"""``slads-bluesky classify``: label, probability, verdict and abundances of spectra and maps in files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import DataError, SladsError
from ..files import check_writable, write_json
from .options import Json

__all__ = ["classify", "register"]


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command()(classify)


def classify(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="Spectra or maps, in any format that is read.")
    ],
    classifier: Annotated[Path, typer.Option(metavar="FILE", help="Classifier, from 'train classifier'.")],
    rebin: Annotated[
        bool, typer.Option("--rebin", help="Rebin spectra of another detector's energy scale too.")
    ] = False,
    json_file: Json = None,
) -> None:
    """Classify spectra and maps from files; a file that cannot be used does not stop the others."""
    from collections import Counter

    from rich.console import Console
    from rich.table import Table

    from ..spectra import load_classifier
    from ..spectra.classify_files import classify_file

    check_writable(json_file)
    model = load_classifier(classifier)
    console = Console(highlight=False)
    table = Table("file", "spectrum", "counts", "phase", "probability", "verdict", "abundances")
    results, refused = [], {}
    for path in files:
        try:
            for found in classify_file(path, model, rebin=rebin):
                results.append(found.to_json())
                shares = "–"
                if found.abundances is not None:
                    strongest = sorted(zip(found.abundances, found.phases, strict=True), reverse=True)
                    shares = ", ".join(
                        f"{name} {100 * part:.0f} %" for part, name in strongest[:3] if part >= 0.01
                    )
                if len(found.labels) == 1:
                    phase = found.name_of(int(found.labels[0])) or "–"
                    middle = [
                        f"{found.counts[0]}",
                        phase,
                        f"{found.probability[0]:.4f}",
                        str(found.verdicts[0]),
                    ]
                else:
                    named = Counter(found.name_of(int(label)) or "none" for label in found.labels)
                    said = Counter(map(str, found.verdicts))
                    n = len(found.labels)
                    middle = [
                        f"{n} × {found.counts.mean():.0f}",
                        ", ".join(f"{name} {100 * k / n:.1f} %" for name, k in named.most_common()),
                        f"{found.probability.mean():.4f}",
                        ", ".join(f"{verdict} {100 * k / n:.1f} %" for verdict, k in said.most_common()),
                    ]
                table.add_row(*(_plain(text) for text in (path.name, found.title, *middle, shares)))
        except SladsError as error:
            refused[str(path)] = str(error)
            Console(stderr=True, soft_wrap=True, highlight=False).print(
                f"slads-bluesky: {error}", markup=False
            )
    if results:
        console.print(table)
    write_json(json_file, {"classifier": model.sha256, "results": results, "refused": refused})
    if refused:
        raise DataError(f"{len(refused)} of {len(files)} files were not classified")


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
