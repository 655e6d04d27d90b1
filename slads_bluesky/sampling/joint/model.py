"""The evidence network's model file: weights in half precision, and their origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelFileError
from ...modelfile import model_sha256, read_model, write_model
from ..learned.weights import check_weights

__all__ = ["SHIPPED", "JointModel", "shipped_joint_model"]

KIND = "joint"
VERSION = 1
SHIPPED = Path(__file__).with_name("evidence.safetensors")
"""The general model that comes with the program."""


@dataclass(frozen=True, eq=False)
class JointModel:
    """Weights of a `learned.network.LabelNet` that reads the planes of `joint.planes`.

    Parameters
    ----------
    widths : tuple of int
        Channels of each level.
    weights : dict of str to float16 array
        By the names of ``LabelNet.state_dict()``.
    metadata : dict
        JSON: how it was trained.

    Raises
    ------
    ModelFileError
        If the weights are not those of such a network.
    """

    widths: tuple[int, ...]
    weights: Mapping[str, NDArray[np.float16]]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_weights("joint", self.widths, self.weights)

    def _settings(self) -> dict[str, Any]:
        return {"widths": list(self.widths), "metadata": dict(self.metadata)}

    @property
    def sha256(self) -> str:
        """Hash of all that predictions depend on."""
        return model_sha256(KIND, self.weights, self._settings())

    def save(self, path: str | Path) -> None:
        """Write the model; a half-written file never shows."""
        write_model(path, KIND, VERSION, self.weights, self._settings())

    @classmethod
    def load(cls, path: str | Path) -> JointModel:
        """Read a model that `save` wrote; ModelFileError naming the file and what is wrong with it."""
        weights, settings = read_model(path, KIND, VERSION)
        try:
            return cls(tuple(int(w) for w in settings["widths"]), weights, dict(settings["metadata"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(f"{path}: field widths or metadata is damaged ({error})") from error
        except ModelFileError as error:
            raise ModelFileError(f"{path}: {error}") from error


@lru_cache(maxsize=1)
def shipped_joint_model() -> JointModel:
    """Return the general model that comes with the program."""
    return JointModel.load(SHIPPED)
