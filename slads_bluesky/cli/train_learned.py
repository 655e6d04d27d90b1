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
    processes: Annotated[
        int,
        typer.Option(
            help="Processes: with more than one, all others make images, orders and batches beside the training.",
            min=1,
        ),
    ] = 1,
    widths: Annotated[
        str | None,
        typer.Option(help="Channels of the network's levels, such as 48,72,96,144; without --from."),
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Images a step.", min=1)] = None,
    label_noise: Annotated[
        float, typer.Option(help="Largest share of wrong labels in the states to learn from.", min=0, max=0.5)
    ] = 0.0,
    framed: Annotated[
        float,
        typer.Option(
            help="Share of the states with a frame of the field beside the labels: above 0 the network sees images.",
            min=0,
            max=1,
        ),
    ] = 0.0,
    pool: Annotated[int | None, typer.Option(help="Images held; the oldest make room.", min=8)] = None,
    fresh: Annotated[int | None, typer.Option(help="New images in each 500 steps.", min=1)] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate before it is let down.", min=1e-6)] = None,
    calibration: Annotated[
        bool,
        typer.Option(
            help="Learn the calibration runs of the error forecast at the end, some minutes on the CPU."
        ),
    ] = True,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the interrupted training of the same output file.")
    ] = False,
    device: Annotated[str, typer.Option(help="Where torch computes: cpu, cuda …")] = "cpu",
    seed: Annotated[int, typer.Option(help="Seed of images, orders, batches and weights.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write figures to this file.")] = None,
) -> None:
    """Train the learned sampler on generated microstructures, or adapt it to label images.

    The learning rate is held for three quarters of the time and then let down to nothing. The model's header
    records the command and the steps of both parts: with the same --seed and --steps, in one process on the cpu, the
    training can be repeated. What there is is written every 1000 steps and when the training is interrupted, beside
    the state from which --resume continues as if there had been no interruption.
    """
    import shlex
    import signal
    import sys
    import time
    from dataclasses import replace

    import torch
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from ..images.files import read_label_image
    from ..progress import tracker
    from ..sampling.learned.adaptation import check_images
    from ..sampling.learned.checkpoint import checkpoint_path, load_checkpoint, save_checkpoint
    from ..sampling.learned.error_calibration import with_calibration_runs
    from ..sampling.learned.model import LearnedModel, shipped_model
    from ..sampling.learned.schedule import Schedule
    from ..sampling.learned.training import ADAPT, CONTINUE, Trainer, TrainingSettings

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
    settings = replace(
        usual,
        side=side,
        seed=seed,
        label_noise=label_noise,
        batch=batch or usual.batch,
        framed=framed,
        rate=rate or usual.rate,
        pool=pool or usual.pool,
        fresh=fresh or usual.fresh,
    )
    if first is not None and widths is not None:
        raise ConfigError("--widths cannot be given with a model to start from: it has its own")
    settings = replace(settings, widths=_widths(widths) or (first.widths if first else settings.widths))
    seconds = 60 * (minutes if minutes is not None else 1.5 if paths else 60.0)
    before = torch.get_num_threads()
    schedule = Schedule(steps, seconds)
    state_file = checkpoint_path(output)
    facts = {
        "threads": threads,
        "device": device,
        "processes": processes,
        "from_sha256": first.sha256 if first is not None else None,
    }
    command = shlex.join(["slads-bluesky", *sys.argv[1:]])

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
    ) as progress:
        task = progress.add_task("training", total=steps or seconds, loss="")

        torch.set_num_threads(threads)
        interrupted: list[int] = []  # a step is finished first, so that the state is that of its end
        handler = signal.signal(signal.SIGINT, lambda number, _: interrupted.append(number))
        try:
            trainer = Trainer(settings, images, first, device)
            if resume:
                schedule = load_checkpoint(state_file, trainer, schedule, facts)
            begun = time.monotonic() - schedule.elapsed
            mean, first_step, before_it = 0.0, 0.0, trainer.steps

            def keep() -> None:
                schedule.elapsed = time.monotonic() - begun
                about = {**facts, "command": command, "steps_held": schedule.held, "finished": False}
                trainer.model(about).save(output)
                save_checkpoint(state_file, trainer, schedule, facts)

            for loss in trainer.run(schedule.rates(lambda: time.monotonic() - begun), processes):
                mean = loss if mean == 0.0 else mean + 0.02 * (loss - mean)
                first_step = first_step or time.monotonic()
                done = trainer.steps if steps else min(seconds, time.monotonic() - begun)
                if trainer.steps % KEEP_EVERY == 0 or interrupted:
                    keep()
                if interrupted:
                    raise typer.Exit(130)
                progress.update(task, completed=done, loss=f"step {trainer.steps}, cross-entropy {mean:.4f}")
        finally:
            signal.signal(signal.SIGINT, handler)
            torch.set_num_threads(before)

    model = trainer.model({**facts, "command": command, "steps_held": schedule.held})
    model.save(output)
    state_file.unlink(missing_ok=True)
    trained, ran = time.monotonic() - begun, time.monotonic() - first_step
    if calibration and not framed:  # a network that sees images decides beside one that has them
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
            "steps_per_s": trainer.steps / trained if trained > 0 else None,
            "steps_per_s_after_the_first": (trainer.steps - before_it - 1) / ran if ran > 0 else None,
            "cross_entropy": mean,
            "sha256": model.sha256,
            "seed": seed,
        },
    )
    make_console().print(
        f"{output}: {trainer.steps} steps in {taken:.0f} s, cross-entropy {mean:.4f}",
        markup=False,
    )


def _widths(text: str | None) -> tuple[int, ...] | None:
    from ..errors import ConfigError

    if text is None:
        return None
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--widths must be numbers with commas between, not {text!r}") from error
    if not 2 <= len(found) <= 6 or not all(1 <= width <= 512 for width in found):
        raise ConfigError(f"--widths must be 2 to 6 numbers from 1 to 512, not {text!r}")
    return found
