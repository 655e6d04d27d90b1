"""``slads-bluesky train joint``: the network that infers a whole map from the evidence of all its pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..files import check_writable
from ..terminal import make_console, working

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("joint")(train_joint)


def train_joint(
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file to write (.safetensors).")],
    steps: Annotated[int, typer.Option(help="Steps on generic states.", min=0)] = 2600,
    policy_steps: Annotated[
        int, typer.Option(help="Then so many on states that its own policy meets.", min=0)
    ] = 2360,
    seed: Annotated[int, typer.Option(help="Seed of images, states, batches.", min=0)] = 0,
    start: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Continue the training of this evidence network.")
    ] = None,
    rate: Annotated[float, typer.Option(help="Factor on the learning rates; less than 1 to continue.")] = 1.0,
) -> None:
    """Train the evidence network from generated microstructures, on one core; some tenths of a second a step.

    The same steps and seed give the same model; its header records them.
    """
    from ..sampling.joint.model import JointModel
    from ..sampling.joint.training import train_joint as train

    check_writable(output)
    origin = None if start is None else JointModel.load(start)
    console = make_console()
    with working(console, "training the evidence network") as show:
        model = train(
            steps=(steps, policy_steps),
            seed=seed,
            start=origin,
            rate=rate,
            progress=lambda stage, done: show(f"training on {stage}: {done:.0%}"),
        )
    model.save(output)
    console.print(f"{output}: {model.sha256[:12]}", soft_wrap=True)
