"""``slads-bluesky denoise``: the phases of a full raster, from all of its counts together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..files import check_writable, write_json
from ..terminal import make_console, working
from .options import Json

__all__ = ["denoise", "register"]


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command()(denoise)


def denoise(
    file: Annotated[
        Path, typer.Argument(metavar="MAP", help="A map with a spectrum a pixel: .npz, .hspy, .bcf …")
    ],
    classifier: Annotated[Path, typer.Option(metavar="FILE", help="Classifier, from 'train classifier'.")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write labels and probabilities (.npz)."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="MAP", help="Another measurement of the same field, to judge by: its pixels alone."
        ),
    ] = None,
    reference: Annotated[
        bool, typer.Option("--reference", help="The Potts field alone, without the trained network.")
    ] = False,
    rebin: Annotated[
        bool, typer.Option("--rebin", help="Rebin spectra of another detector's energy scale too.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the pixels hidden to choose how alike neighbours are.")] = 0,
    json_file: Json = None,
) -> None:
    """Infer the phase of every pixel of a full raster from its own counts and those around it."""
    from rich.table import Table

    from ..analysis.denoising import denoise_map, evidence_of
    from ..errors import DataError
    from ..files import atomic_write
    from ..sampling.joint.mapper import EvidenceMapper
    from ..sampling.joint.model import shipped_joint_model
    from ..spectra import load_classifier
    from ..spectra.io.maps import read_map

    check_writable(json_file)
    check_writable(out)
    model = load_classifier(classifier)
    mapper = None if reference else EvidenceMapper(shipped_joint_model())
    console = make_console()
    with working(console, "reading") as show:
        found = denoise_map(
            file, model, mapper=mapper, rebin=rebin, seed=seed, progress=lambda stage, done: show(stage)
        )
        figures = found.to_json()
        if against is not None:
            judge = read_map(against)
            if judge.shape != found.labels.shape:
                raise DataError(f"{against}: {judge.shape} pixels, {file} has {found.labels.shape}")
            other = evidence_of(judge, model, rebin=rebin).argmax(axis=2) + 1
            figures["agreement_alone"], figures["agreement"] = found.agreement(other)
    table = Table("", file.name, title_justify="left")
    rows, columns = found.labels.shape
    table.add_row("pixels", f"{rows} × {columns}")
    table.add_row("counts a pixel", f"{found.counts:.1f}")
    for name, share in figures["phases"].items():
        table.add_row(f"phase {name}", f"{100 * share:.2f} %")
    table.add_row("labels changed by the pixels around", f"{100 * figures['changed']:.2f} %")
    low, high = figures["expected_error_interval"]
    table.add_row(
        "expected error (90 %)",
        f"{100 * figures['expected_error']:.2f} % ({100 * low:.2f} … {100 * high:.2f})",
    )
    if against is not None:
        table.add_row(
            "agreement with the other measurement, each pixel alone",
            f"{100 * figures['agreement_alone']:.2f} %",
        )
        table.add_row("agreement with the other measurement, denoised", f"{100 * figures['agreement']:.2f} %")
    console.print(table)
    if out is not None:
        import numpy as np

        with atomic_write(out) as path:
            np.savez_compressed(
                path,
                labels=found.labels,
                alone=found.alone,
                probability=found.posterior.probability,
                phases=np.array(found.phases),
            )
    write_json(json_file, figures)
