"""``slads-bluesky bench image``: samples needed with and without an image of the field."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...cli.options import Json

__all__ = ["bench_image", "register"]


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command("image")(bench_image)


def bench_image(
    objects: Annotated[
        str,
        typer.Option(
            help="Objects, with commas between: pbsn-128, powder-256, pbsn-1024, powder-1024; or none."
        ),
    ] = "pbsn-128,powder-256,pbsn-1024,powder-1024",
    samplers: Annotated[str, typer.Option(help="learned and slads, with commas between.")] = "learned",
    seeds: Annotated[int, typer.Option(min=1, help="Objects of each kind.")] = 3,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder with the dacite's two measurements.")
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep each result, so that a call that was cut off resumes."),
    ] = None,
    json_file: Json = None,
) -> None:
    """Measure what an image of the field saves: simulated frames, misleading ones, and a real one with --data.

    The frames are displaced, shaded and noisy; SLADS has the coefficients that come with the learned sampler.
    """
    from ...errors import ConfigError
    from ..benchmarks.images import CONDITIONS, OBJECTS, dacite, image_figures, image_trials, summarise
    from ..benchmarks.trials import make_trials
    from .bench_sampling import kept_trials
    from .output import bench_output

    names = [] if objects == "none" else [name.strip() for name in objects.split(",")]
    kinds = [name.strip() for name in samplers.split(",")]
    for value, known in ((names, tuple(OBJECTS)), (kinds, ("learned", "slads"))):
        if unknown := sorted(set(value) - set(known)):
            raise ConfigError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    numbers = list(range(1, seeds + 1))
    with bench_output(json_file, "An image of the field") as output:
        store = None if keep is None else kept_trials(keep)
        results = make_trials(image_trials(names, kinds, numbers), store, output.progress)
        rows = summarise(names, kinds, numbers, results)
        real = None
        if data is not None:
            real = dacite(data, numbers, lambda part: output.progress("dacite", part))
        output.results.update(objects=rows, dacite=real)
        if rows:
            output.table(
                f"Fraction of the pixels needed, median of {seeds}",
                ("object", "sampler", "TD", *CONDITIONS, "frame used"),
                [
                    [
                        row["object"], row["sampler"], f"{row['wanted']:g}",
                        *(_share(row["needed"][c]) for c in CONDITIONS),
                        f"{row['used']['frame']} of {seeds}",
                    ]
                    for row in rows
                ],
                left=("object", "sampler"),
            )  # fmt: skip
        if real is not None:
            output.table(
                f"Dacite: agreement with the other measurement, {real['judged']:.0%} of the pixels judged",
                ("", *(f"{fraction:.0%}" for fraction in real["fractions"])),
                [[c, *(f"{value:.4f}" for value in real[c])] for c in ("without", "frame")],
            )
        output.figures = image_figures(rows, real)


def _share(value: float | None) -> str:
    return "not reached" if value is None else f"{value:.2%}"
