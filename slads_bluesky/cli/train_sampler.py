"""``slads-bluesky train sampler``: SLADS from label images, or from grey-level images of the same specimen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..files import check_writable, write_json
from ..terminal import make_console

__all__ = ["register"]


def train_sampler(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help=".npy, .png or .tif")],
    output: Annotated[Path, typer.Option("--output", "-o", help="model file to write (.safetensors)")],
    phases: Annotated[
        int | None, typer.Option(help="the images are grey-level (BSE): segment them into so many phases")
    ] = None,
    smallest: Annotated[int, typer.Option(help="with --phases: drop patches of fewer pixels")] = 6,
    force: Annotated[
        bool, typer.Option("--force", help="with --phases: even where grey levels are not separable")
    ] = False,
    seed: Annotated[int, typer.Option(help="seed of masks, runs and generated images")] = 0,
    jobs: Annotated[int, typer.Option(help="processes; -1 for all cores")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the figures to this file")] = None,
) -> None:
    """Train SLADS on label images of the same phases (0 = ill), best of the size that is to be mapped."""
    import resource
    import time

    from rich.table import Table

    from ..images.files import read_label_image
    from ..images.micrograph import segment_micrograph
    from ..progress import tracker
    from ..sampling.slads.training import train_slads

    check_writable(output)
    check_writable(json_file)
    names = [str(path) for path in images]
    if phases is None:
        labels = [read_label_image(path) for path in images]
    else:
        labels = [segment_micrograph(path, phases, smallest=smallest, force=force)[1] for path in images]
    start = time.perf_counter()
    with tracker("training") as progress:
        model = train_slads(labels, seed=seed, n_jobs=jobs, names=names, progress=progress)
    seconds = time.perf_counter() - start
    model.save(output)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    figures = {
        "model": str(output),
        "sha256": model.sha256,
        "phases": list(model.phases),
        "c": model.c,
        "k": model.k,
        "radius": model.radius,
        "areas": model.metadata["areas"],
        "images": [
            {"file": name, **facts} for name, facts in zip(names, model.metadata["images"], strict=True)
        ],
        "stop": model.stop.tolist(),
        "seed": seed,
        "train_s": seconds,
        "peak_rss_mb": peak / 1024,
        "peak_rss_worker_mb": children / 1024,
    }
    table = Table(title=f"SLADS trained on {len(labels)} images, phases {list(model.phases)}")
    table.add_column("image")
    table.add_column("shape", justify="right")
    table.add_column("b", justify="right")
    for facts in figures["images"]:
        table.add_row(facts["file"], "{} × {}".format(*facts["shape"]), f"{facts['boundary_fraction']:.3f}")
    console = make_console()
    console.print(table)
    console.print(
        f"c = {model.c:g}; {seconds:.1f} s; peak {peak / 1024:.0f} MB; written to {output}", soft_wrap=True
    )
    write_json(json_file, figures)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("sampler")(train_sampler)
