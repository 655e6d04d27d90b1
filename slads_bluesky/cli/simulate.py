"""``slads-bluesky simulate``: a sampler alone on a known label image, to compare samplers with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..files import check_writable, write_json
from ..terminal import make_console
from .options import Json

__all__ = ["parse_fractions", "register"]

DEFAULT_CHECKPOINTS = (0.01, 0.02, 0.05, 0.10, 0.15, 0.20, 0.30, 0.50)


def parse_fractions(text: str | None, fraction: float) -> list[float]:
    """Return the checkpoints of a comma-separated list, ascending, `fraction` the last; ConfigError if odd."""
    from ..errors import ConfigError

    if not 0.0 < fraction <= 1.0:
        raise ConfigError(f"fraction must lie in (0, 1], not {fraction:g}")
    if text is None:
        wanted = [f for f in DEFAULT_CHECKPOINTS if f < fraction]
    else:
        try:
            wanted = [float(part) for part in text.split(",") if part.strip()]
        except ValueError as error:
            raise ConfigError(f"checkpoints must be numbers with commas between, not '{text}'") from error
        for value in wanted:
            if not 0.0 < value <= 1.0:
                raise ConfigError(f"checkpoint must lie in (0, 1], not {value:g}")
    return sorted({*(f for f in wanted if f <= fraction), fraction})


def simulate(
    image: Annotated[Path, typer.Argument(metavar="LABELS", help="label image (.npy, .png, .tif), 0 = ill")],
    train: Annotated[
        list[Path] | None, typer.Option(help="training label image, of the same phases; may be repeated")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="a trained model instead of --train")] = None,
    sampler: Annotated[str, typer.Option(help="slads, random, low-discrepancy or learned")] = "slads",
    fraction: Annotated[float, typer.Option(help="part of the pixels to measure, in (0, 1]")] = 0.15,
    initial: Annotated[
        float | None, typer.Option(help="part of the pixels in the initial mask  [default: 0.01 for slads]")
    ] = None,
    seed: Annotated[int, typer.Option(help="seed of training and of the initial mask")] = 0,
    smallest_feature: Annotated[
        int | None,
        typer.Option(
            help="measure gaps until 99 % of the patches of this many pixels hold a measured pixel", min=1
        ),
    ] = None,
    guide: Annotated[
        Path | None,
        typer.Option(
            "--image",
            help="frame of the same field (.tif, .png, .npy), such as a backscatter image, as a guide",
        ),
    ] = None,
    checkpoints: Annotated[
        str | None, typer.Option(help="fractions at which to look, e.g. 0.02,0.05")
    ] = None,
    json_file: Json = None,
) -> None:
    """Run a sampler alone, on perfect labels, on any label image."""
    import time

    from rich.table import Table

    from ..errors import ConfigError, DataError
    from ..images.distortion import boundary_fraction
    from ..images.files import read_label_image
    from ..images.frames import fit_frame, read_frame
    from ..memory import peak_rss_mb
    from ..progress import tracker
    from ..sampling.factory import check_name, load_model, needs_training
    from ..simulation.sampler_alone import run_simulation

    check_name(sampler)
    wanted = parse_fractions(checkpoints, fraction)
    if initial is not None and not 0.0 < initial <= 1.0:
        raise ConfigError(f"initial must lie in (0, 1], not {initial:g}")
    check_writable(json_file)
    labels = read_label_image(image)
    images = [read_label_image(path) for path in train or []]
    frame = None if guide is None else fit_frame(read_frame(guide), (labels.shape[0], labels.shape[1]))
    phases = sorted({int(v) for v in set(labels.ravel().tolist()) if v > 0})
    for path, other in zip(train or [], images, strict=True):
        own = sorted({int(v) for v in set(other.ravel().tolist()) if v > 0})
        if own != phases:
            raise DataError(f"{path} has the labels {own}, {image} has {phases}")
    train_s = 0.0
    trained = None
    if model is not None:
        trained = load_model(sampler, model)
    elif needs_training(sampler):
        if not images:
            raise ConfigError(f"the sampler '{sampler}' needs --train IMAGE or --model FILE")
        from ..sampling.slads.training import train_slads

        start = time.perf_counter()
        with tracker("training") as progress:
            trained = train_slads(images, seed=seed, names=[str(p) for p in train or []], progress=progress)
        train_s = time.perf_counter() - start
    with tracker("sampling") as progress:
        run = run_simulation(
            labels,
            sampler,
            trained,
            checkpoints=wanted,
            initial=initial,
            seed=seed,
            smallest_feature=smallest_feature,
            image=frame,
            progress=progress,
        )
    figures = {
        "image": str(image),
        "shape": list(labels.shape),
        "boundary_fraction": boundary_fraction(labels),
        "sampler": sampler,
        "seed": seed,
        **run,
        "train_s": train_s,
        "peak_rss_mb": peak_rss_mb(),
    }
    table = Table(title=f"{sampler} on {image.name}, b = {figures['boundary_fraction']:.3f}, seed {seed}")
    for column in ("fraction", "pixels", "TD", "TD, k-NN", "largest patch missed"):
        table.add_column(column, justify="right")
    for row in figures["checkpoints"]:
        table.add_row(
            f"{row['fraction']:.2%}",
            str(row["n"]),
            f"{row['td']:.4f}",
            f"{row['td_knn']:.4f}",
            f"{row['largest_missed_patch']} px",
        )
    console = make_console()
    console.print(table)
    times = figures["decision_us"]
    if times["median"] is not None:
        console.print(
            f"decision {times['median']:.0f} µs median, {times['mean']:.0f} mean, {times['p99']:.0f} p99; "
            f"training {train_s:.1f} s; peak {figures['peak_rss_mb']:.0f} MB"
        )
    write_json(json_file, figures)


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(simulate)
