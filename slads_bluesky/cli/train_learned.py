"""``slads-bluesky train learned``: the learned sampler's network, from generated images or adapted to one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import ConfigError
from ..files import check_writable, write_json
from ..terminal import make_console

__all__ = ["register"]

KEEP_EVERY = 1000
"""Steps after which the model so far is written to the output file."""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("learned")(train_learned)


def train_learned(
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file to write (.safetensors).")],
    adapt: Annotated[
        list[Path] | None,
        typer.Option("--adapt", help="Label image (.npy, .png, .tif) to adapt to; as often as wanted."),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option("--from", help="Model to start from; with --adapt by default the general one."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Time to take; by default 60, with --adapt 1.5.", min=0.01)
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Take this many steps instead, which can be repeated.", min=4)
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads.", min=1)] = 2,
    device: Annotated[str, typer.Option(help="Where torch computes: cpu, cuda …")] = "cpu",
    seed: Annotated[int, typer.Option(help="Seed of images, orders, batches and weights.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write figures to this file.")] = None,
) -> None:
    """Train the learned sampler on generated microstructures, or adapt it to label images.

    The learning rate is held for three quarters of the time and then let down to nothing. The model's header
    records the steps of both parts: with the same --seed and --steps the training can be repeated. What there is
    is written every 1000 steps, so that an interrupted training leaves a model, too.
    """
    import time
    from collections.abc import Iterator
    from dataclasses import replace

    import torch
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from ..images.files import read_label_image
    from ..progress import tracker
    from ..sampling.learned.adaptation import check_images
    from ..sampling.learned.error_calibration import with_calibration_runs
    from ..sampling.learned.model import LearnedModel, shipped_model
    from ..sampling.learned.training import ADAPT, CONTINUE, Trainer, TrainingSettings, let_down

    check_writable(output)
    check_writable(json_file)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"torch cannot compute on {device!r}: {str(error).splitlines()[0]}") from error
    if minutes is not None and steps is not None:
        raise ConfigError("--minutes and --steps exclude each other")
    paths = adapt or []
    side, images = check_images([read_label_image(path) for path in paths], [str(path) for path in paths])
    first = LearnedModel.load(start) if start is not None else shipped_model() if paths else None
    usual = ADAPT if paths else CONTINUE if first is not None else TrainingSettings()
    settings = replace(usual, side=side, seed=seed)
    if first is not None:
        settings = replace(settings, widths=first.widths)
    seconds = 60 * (minutes if minutes is not None else 1.5 if paths else 60.0)
    before, begun = torch.get_num_threads(), time.monotonic()
    held = 0
    facts = {
        "threads": threads,
        "device": device,
        "from_sha256": first.sha256 if first is not None else None,
    }

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
    ) as progress:
        task = progress.add_task("training", total=steps or seconds, loss="")

        def rates() -> Iterator[float]:
            nonlocal held
            while (
                (held < 3 * steps // 4) if steps else (time.monotonic() - begun < 0.75 * seconds or held % 3)
            ):
                held += 1
                yield 1.0
            for factor in let_down(steps - held if steps else max(1, held // 3)):
                # On a machine that grows slower the training still ends, a little early, and says so.
                if not steps and time.monotonic() - begun > 1.1 * seconds:
                    return
                yield factor

        torch.set_num_threads(threads)
        try:
            trainer = Trainer(settings, images, first, device)
            mean = 0.0
            for loss in trainer.run(rates()):
                mean = loss if trainer.steps == 1 else mean + 0.02 * (loss - mean)
                done = trainer.steps if steps else min(seconds, time.monotonic() - begun)
                if trainer.steps % KEEP_EVERY == 0:
                    trainer.model({**facts, "steps_held": held, "finished": False}).save(output)
                progress.update(task, completed=done, loss=f"step {trainer.steps}, cross-entropy {mean:.4f}")
        finally:
            torch.set_num_threads(before)

    model = trainer.model({**facts, "steps_held": held})
    model.save(output)
    # The file is whole without them; an interruption here costs only the interval.
    with tracker("calibration runs of the error forecast") as shown:
        model = with_calibration_runs(model, first, images, seed=seed, progress=shown)
    model.save(output)
    taken = time.monotonic() - begun
    write_json(
        json_file,
        {
            "steps": trainer.steps,
            "seconds": taken,
            "cross_entropy": mean,
            "sha256": model.sha256,
            "seed": seed,
        },
    )
    make_console().print(
        f"{output}: {trainer.steps} steps in {taken:.0f} s, cross-entropy {mean:.4f}",
        markup=False,
    )
