"""An interrupted training on disk: weights, moments, pool, random state and schedule, from which it is resumed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import DataError, ModelFileError
from ...modelfile import check_version, read_file, write_file
from .schedule import Schedule
from .training import Trainer

__all__ = ["checkpoint_path", "load_checkpoint", "save_checkpoint"]

FORMAT = "slads-bluesky/training"
VERSION = 1


def checkpoint_path(output: Path) -> Path:
    """Where the state of the training of a model file is kept until it is finished."""
    return output.with_name(output.stem + ".training.safetensors")


def save_checkpoint(path: Path, trainer: Trainer, schedule: Schedule, facts: Mapping[str, Any]) -> None:
    """Write the state of a training, with `facts` that must be the same when it is resumed."""
    arrays, state = trainer.state()
    header = {"state": state, "schedule": schedule.to_json(), "facts": dict(facts)}
    text = {name: json.dumps(value) for name, value in header.items()}
    write_file(path, arrays, {"format": FORMAT, "version": str(VERSION), **text})


def load_checkpoint(path: Path, trainer: Trainer, schedule: Schedule, facts: Mapping[str, Any]) -> Schedule:
    """Restore `trainer` from a file that `save_checkpoint` wrote, and return where its schedule was.

    The time or the number of steps is that of `schedule`: an interrupted training may be given more.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged or another's.
    DataError
        Naming the setting or fact that differs.
    """
    arrays, header = read_file(path)
    if header.get("format") != FORMAT:
        raise ModelFileError(f"{path}: field format is {header.get('format')!r}, wanted {FORMAT!r}")
    check_version(path, header.get("version", ""), VERSION)
    try:
        state, place, before = (json.loads(header[name]) for name in ("state", "schedule", "facts"))
        for name, value in json.loads(json.dumps(dict(facts))).items():
            if before.get(name) != value:
                raise DataError(
                    f"{path}: the interrupted training has {name} {before.get(name)}, not {value}"
                )
        trainer.restore(arrays, state)
        found = Schedule(**place)
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ModelFileError(f"{path}: a damaged state of a training ({error})") from error
    return replace(found, steps=schedule.steps, seconds=schedule.seconds)
