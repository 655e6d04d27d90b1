"""The learned sampler's model file: weights in half precision as safetensors, and their origin as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelFileError, in_one_line
from ...modelfile import check_version, read_file, write_file
from ..slads.model import TERMS
from .inputs import N_PLANES
from .settings import VERSION_1, PolicySettings
from .weights import check_weights, planes_of_weights

__all__ = [
    "FORMAT",
    "SHIPPED",
    "VERSION",
    "LearnedModel",
    "image_model",
    "shipped_image_model",
    "shipped_model",
]

FORMAT = "slads-bluesky/learned"
VERSION = 2
"""Of the file: 2 calls ``calibration_runs`` what 1 called ``analogues``, and has the policy's settings."""
_HASHED_VERSION = 1
"""Part of the hash, which depends on what the model decides and not on how its file is laid out."""
SHIPPED = Path(__file__).with_name("general.safetensors")
"""The general model that comes with the program."""
GUIDED = Path(__file__).with_name("guided.safetensors")
"""The one that sees an image beside the labels."""


@dataclass(frozen=True, eq=False)
class LearnedModel:
    """Weights of a `network.LabelNet`.

    Parameters
    ----------
    widths : tuple of int
        Channels of each level.
    weights : dict of str to float16 array
        By the names of ``LabelNet.state_dict()``.
    fallback : (26,) float64 array
        Coefficients of SLADS (`slads.model.TERMS`), trained on images of the same kinds: it decides on specimens
        for which hold-out validation rejects the network.
    metadata : dict
        JSON: training settings, steps, seed, hashes, versions.
    calibration_runs : (m, 7) float32 array
        States of runs on known images, from which the remaining distortion is forecast (`error_calibration`);
        none by default: then the estimate is the network's own uncertainty, and there is no interval.
    policy : PolicySettings
        How its predictions become picks.
    """

    widths: tuple[int, ...]
    weights: Mapping[str, NDArray[np.float16]]
    fallback: NDArray[np.float64]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    calibration_runs: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 7), np.float32))
    policy: PolicySettings = field(default_factory=PolicySettings)

    def __post_init__(self) -> None:
        theta = np.array(self.fallback, np.float64)
        if theta.shape != (len(TERMS),) or not np.isfinite(theta).all():
            raise ModelFileError(
                f"learned model: fallback must be {len(TERMS)} finite numbers, not {theta.shape}"
            )
        theta.flags.writeable = False
        object.__setattr__(self, "fallback", theta)
        runs = np.array(self.calibration_runs, np.float32)
        if runs.ndim != 2 or runs.shape[1] != 7 or not np.isfinite(runs).all():
            raise ModelFileError(
                f"learned model: calibration_runs must be finite numbers of shape (m, 7), not {runs.shape}"
            )
        runs.flags.writeable = False
        object.__setattr__(self, "calibration_runs", runs)
        check_weights("learned", self.widths, self.weights)

    @property
    def sees_images(self) -> bool:
        """Whether the network takes an image beside the labels."""
        return planes_of_weights(self.weights) > N_PLANES

    @property
    def sha256(self) -> str:
        """Hash of all that predictions, picks and estimates depend on."""
        digest = hashlib.sha256(json.dumps([FORMAT, _HASHED_VERSION, self.widths]).encode())
        for name in sorted(self.weights):
            digest.update(name.encode() + self.weights[name].tobytes())
        digest.update(self.fallback.tobytes())
        digest.update(self.calibration_runs.tobytes())
        if self.policy != VERSION_1:  # models without settings keep the hash that records name
            digest.update(json.dumps(self.policy.to_json(), sort_keys=True).encode())
        return digest.hexdigest()

    def save(self, path: str | Path) -> None:
        """Write the model to `path`; a half-written file never shows."""
        header = {
            "format": FORMAT,
            "version": str(VERSION),
            "widths": json.dumps(list(self.widths)),
            "policy": json.dumps(self.policy.to_json()),
            "metadata": json.dumps(dict(self.metadata)),
            "sha256": self.sha256,
        }
        own: dict[str, NDArray[Any]] = {"fallback": self.fallback, "calibration_runs": self.calibration_runs}
        write_file(path, {**self.weights, **own}, header)

    @classmethod
    def load(cls, path: str | Path) -> LearnedModel:
        """Read a model that `save` wrote.

        Raises
        ------
        ModelFileError
            If the file is missing, truncated, foreign, of a newer version, or damaged; it names the field.
        """
        weights, header = read_file(path)
        if header.get("format") != FORMAT:
            raise ModelFileError(f"{path}: field format is {header.get('format')!r}, wanted {FORMAT!r}")
        check_version(path, header.get("version", ""), VERSION)
        try:
            fallback = weights.pop("fallback")
            runs = weights.pop("analogues", np.zeros((0, 7), np.float32))
            runs = weights.pop("calibration_runs", runs)
            widths = tuple(int(w) for w in json.loads(header["widths"]))
            metadata = json.loads(header["metadata"])
            policy = PolicySettings.from_json(json.loads(header.get("policy", "{}")))
        except KeyError as error:
            raise ModelFileError(f"{path}: field {error.args[0]} is missing") from error
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ModelFileError(
                f"{path}: field widths, policy or metadata is damaged ({in_one_line('', error)})"
            ) from error
        try:
            model = cls(widths, weights, fallback, metadata, runs, policy)
        except ModelFileError as error:
            raise ModelFileError(f"{path}: {error}") from error
        if header.get("sha256") != model.sha256:
            raise ModelFileError(f"{path}: field sha256 does not match the contents")
        return model


@lru_cache(maxsize=1)
def shipped_model() -> LearnedModel:
    """Return the general model that comes with the program."""
    return LearnedModel.load(SHIPPED)


@lru_cache(maxsize=1)
def shipped_image_model() -> LearnedModel:
    """Return the model that comes with the program and sees an image beside the labels."""
    return LearnedModel.load(GUIDED)


def image_model(which: LearnedModel | str | None) -> LearnedModel | None:
    """Return the model that sees images: the shipped one for "shipped" or its hash; None for None.

    Raises
    ------
    ModelFileError
        If this version of the program comes with another one than that of the hash.
    """
    if which is None or isinstance(which, LearnedModel):
        return which
    model = shipped_image_model()
    if which not in ("shipped", model.sha256):
        raise ModelFileError(
            f"the map's image network is {which[:12]}…, this version of the program comes with {model.sha256[:12]}…"
        )
    return model
