"""``slads-bluesky segment``: a label image from a micrograph, for the simulated microscope or to train a sampler."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..files import check_writable
from ..terminal import make_console

__all__ = ["register"]


def segment_command(
    image: Annotated[Path, typer.Argument(help="micrograph: .tif, .png or .npy")],
    phases: Annotated[int, typer.Option(help="how many phases, the darkest 1")],
    output: Annotated[Path, typer.Option("--output", "-o", help="label image to write (.npy)")],
    preview: Annotated[
        Path | None, typer.Option(help="write a .png of the picture and its phases side by side")
    ] = None,
    crop: Annotated[
        str | None,
        typer.Option(help="rows and columns to take, ROW:ROW,COLUMN:COLUMN; default: no info strip"),
    ] = None,
    smallest: Annotated[int, typer.Option(help="drop patches of fewer pixels")] = 6,
    force: Annotated[bool, typer.Option("--force", help="even where grey levels are not separable")] = False,
) -> None:
    """Segment a micrograph by its grey levels; the info strip of the microscope is found and cut."""
    import numpy as np

    from ..errors import ConfigError
    from ..images.micrograph import parse_crop, segment_micrograph, write_preview

    if output.suffix.lower() != ".npy":
        raise ConfigError(f"{output}: a label image is written as .npy")
    check_writable(output)
    check_writable(preview)
    part = parse_crop(crop) if crop is not None else None
    grey, labels = segment_micrograph(image, phases, crop=part, smallest=smallest, force=force)
    np.save(output, labels)
    if preview is not None:
        write_preview(preview, grey, labels)
    console = make_console()
    shares = np.bincount(labels.ravel(), minlength=phases + 1)[1:] / labels.size
    cut = (
        ""
        if part is not None or len(grey) == _rows(image)
        else f", info strip of {_rows(image) - len(grey)} rows cut"
    )
    console.print(
        f"{image}: {grey.shape[0]} × {grey.shape[1]} pixels{cut}; phases "
        + ", ".join(f"{i}: {share:.1%}" for i, share in enumerate(shares, start=1))
        + f"; written to {output}",
        soft_wrap=True,
    )


def _rows(image: Path) -> int:
    from ..images.files import read_image

    return len(read_image(image))


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("segment")(segment_command)
