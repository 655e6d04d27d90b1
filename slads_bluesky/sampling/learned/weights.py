"""Weights of a `network.LabelNet`: which there are, and whether those of a model file are they."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelFileError
from .guided_inputs import N_GUIDED
from .inputs import N_PLANES

__all__ = ["check_weights", "expected_shapes", "planes_of_weights"]


FIRST = "down.0.first.weight"
"""The weight whose shape shows how many planes the network takes."""


def planes_of_weights(weights: Mapping[str, NDArray[Any]]) -> int:
    """Return how many planes the network of these weights takes: `N_PLANES`, or `N_GUIDED` with an image."""
    first = weights.get(FIRST)
    guided = first is not None and first.ndim == 4 and first.shape[1] == 4 * N_GUIDED
    return N_GUIDED if guided else N_PLANES


def expected_shapes(widths: tuple[int, ...], planes: int = N_PLANES) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every weight of a network with these channels and planes of its input."""
    shapes: dict[str, tuple[int, ...]] = {}

    def layer(name: str, n_in: int, n_out: int, size: int) -> None:
        shapes[f"{name}.weight"] = (n_out, n_in, size, size)
        shapes[f"{name}.bias"] = (n_out,)

    for level, (n_in, n_out) in enumerate(zip((4 * planes, *widths[:-1]), widths, strict=True)):
        layer(f"down.{level}.first", n_in, n_out, 3)
        layer(f"down.{level}.second", n_out, n_out, 3)
    for step, (deep, fine) in enumerate(zip(widths[:0:-1], widths[-2::-1], strict=True)):
        layer(f"narrow.{step}", deep, fine, 1)
        layer(f"up.{step}.first", fine, fine, 3)
        layer(f"up.{step}.second", fine, fine, 3)
    layer("out", widths[0], 4, 1)
    return shapes


def check_weights(kind: str, widths: tuple[int, ...], weights: Mapping[str, NDArray[np.float16]]) -> None:
    """Raise ModelFileError, naming the weight, if these are not the weights of a network with these channels.

    Parameters
    ----------
    kind : str
        Of the model, for the message.
    widths : tuple of int
        Channels of each level.
    weights : mapping of str to float16 array
    """
    if not 2 <= len(widths) <= 6 or not all(1 <= w <= 512 for w in widths):
        raise ModelFileError(f"{kind} model: widths {widths} cannot be a network")
    wanted = expected_shapes(widths, planes_of_weights(weights))
    for name in sorted(set(wanted) ^ set(weights)):
        raise ModelFileError(f"{kind} model: weight {name} is {'missing' if name in wanted else 'unknown'}")
    for name, shape in wanted.items():
        array = weights[name]
        if array.shape != shape or array.dtype != np.float16:
            raise ModelFileError(
                f"{kind} model: weight {name} is {array.dtype} {array.shape}, wanted float16 {shape}"
            )
        if not np.isfinite(array).all():
            raise ModelFileError(f"{kind} model: weight {name} holds values that are not finite")
