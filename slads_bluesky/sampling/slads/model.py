"""What SLADS learns from training images, and the file that it is kept in: safetensors with a JSON header."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelFileError, in_one_line
from ...modelfile import check_version, read_file, write_file

__all__ = ["FORMAT", "TERMS", "VERSION", "SladsModel", "expand", "theta_matrix"]

FORMAT = "slads-bluesky/slads"
VERSION = 2
"""Of the file: 2 calls ``pixel_error`` and ``calibration_runs`` what 1 called ``risk`` and ``analogues``."""
_HASHED_VERSION = 1
"""Part of the hash, which depends on what the model decides and not on how its file is laid out."""
_OLD_NAMES = {"pixel_error": "risk", "calibration_runs": "analogues"}

TERMS: tuple[tuple[int, int], ...] = tuple(
    (a, b) for a in range(7) for b in range(a, 7) if (a, b) not in ((5, 5), (6, 6))
)
"""Products of z = (1, f0 … f5) that the ERD is linear in; f4² = f4 and f5² = f5 are left out."""


def expand(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the terms (n, 26) of features (n, 6), in the order of `TERMS`."""
    z = np.concatenate([np.ones((len(features), 1)), features], axis=1)
    return np.stack([z[:, a] * z[:, b] for a, b in TERMS], axis=1)


def theta_matrix(theta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return coefficients (26,) as an upper triangle (7, 7)."""
    matrix = np.zeros((7, 7))
    for value, (a, b) in zip(theta, TERMS, strict=True):
        matrix[a, b] = value
    return matrix


@dataclass(frozen=True)
class SladsModel:
    """A trained SLADS.

    Parameters
    ----------
    theta : (26,) float64 array
        Coefficients of the ERD, Eq. 6 of the paper, in the order of `TERMS`.
    phases : tuple of int
        Labels of the training images, ascending, unclassified (0) left out.
    c : float
        Ratio of the distance to the nearest measured pixel and the width of the Gaussian RD.
    k : int
        Neighbours that vote.
    radius : int
        R of feature 3, in pixels, as it was in training.
    stop : (n, 2) float64 array
        Rows of wanted total distortion and the value of the stop function below which it was reached in
        training; empty if not trained.
    pixel_error : (14,) float64 array
        Coefficients of the probability that the map is wrong at a pixel (module `pixel_error`); empty if not
        trained.
    calibration_runs : (m, 7) float64 array
        States of runs on known images, from which the remaining distortion is forecast (module
        `error_forecast`); empty if not trained.
    metadata : dict
        JSON: hashes and boundary fractions of the training images, seed, versions.
    """

    theta: NDArray[np.float64]
    phases: tuple[int, ...]
    c: float = 8.0
    k: int = 10
    radius: int = 4
    stop: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))
    pixel_error: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    calibration_runs: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 7)))
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, shape in (
            ("theta", (len(TERMS),)),
            ("stop", (None, 2)),
            ("pixel_error", (None,)),
            ("calibration_runs", (None, 7)),
        ):
            array = np.array(getattr(self, name), dtype=np.float64)
            if array.ndim != len(shape) or any(
                want is not None and want != have for want, have in zip(shape, array.shape, strict=True)
            ):
                raise ModelFileError(f"SLADS model: {name} has shape {array.shape}, wanted {shape}")
            if not np.isfinite(array).all():
                raise ModelFileError(f"SLADS model: {name} holds values that are not finite")
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if not 1 <= self.k <= 64:
            raise ModelFileError(f"SLADS model: k must lie in 1 … 64, it is {self.k}")
        if self.radius < 1:
            raise ModelFileError(f"SLADS model: radius must be at least 1, it is {self.radius}")

    @property
    def sha256(self) -> str:
        """Hash of all that decisions depend on."""
        digest = hashlib.sha256(
            json.dumps([FORMAT, _HASHED_VERSION, self.phases, self.c, self.k, self.radius]).encode()
        )
        for array in (self.theta, self.stop, self.pixel_error, self.calibration_runs):
            digest.update(array.tobytes())
        return digest.hexdigest()

    def save(self, path: str | Path) -> None:
        """Write the model to `path` (safetensors); a half-written file never shows."""
        header = {
            "format": FORMAT,
            "version": str(VERSION),
            "settings": json.dumps(
                {"phases": list(self.phases), "c": self.c, "k": self.k, "radius": self.radius}
            ),
            "metadata": json.dumps(dict(self.metadata)),
            "sha256": self.sha256,
        }
        names = ("theta", "stop", "pixel_error", "calibration_runs")
        arrays = {name: np.array(getattr(self, name)) for name in names}
        write_file(path, arrays, header)

    @classmethod
    def load(cls, path: str | Path) -> SladsModel:
        """Read a model that `save` wrote.

        Raises
        ------
        ModelFileError
            If the file is missing, truncated, foreign, of a newer version, or damaged; it names the field.
        """
        arrays, header = read_file(path)
        for name, old in _OLD_NAMES.items():
            if name not in arrays and old in arrays:
                arrays[name] = arrays[old]
        if header.get("format") != FORMAT:
            raise ModelFileError(f"{path}: field format is {header.get('format')!r}, wanted {FORMAT!r}")
        check_version(path, header.get("version", ""), VERSION)
        try:
            settings = json.loads(header["settings"])
            model = cls(
                theta=arrays["theta"],
                phases=tuple(int(p) for p in settings["phases"]),
                c=float(settings["c"]),
                k=int(settings["k"]),
                radius=int(settings["radius"]),
                stop=arrays["stop"],
                pixel_error=arrays["pixel_error"],
                calibration_runs=arrays["calibration_runs"],
                metadata=json.loads(header["metadata"]),
            )
        except KeyError as error:
            raise ModelFileError(f"{path}: field {error.args[0]} is missing") from error
        except ModelFileError as error:
            raise ModelFileError(f"{path}: {error}") from error
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ModelFileError(
                f"{path}: field settings or metadata is damaged ({in_one_line('', error)})"
            ) from error
        if header.get("sha256") != model.sha256:
            raise ModelFileError(f"{path}: field sha256 does not match the contents")
        return model
