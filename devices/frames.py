"""What backscatter detector and soft twin have in common: the field of a frame, and the keys of its reading."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import ConfigError
from ..grid import ScanGrid
from .reading import data_key

__all__ = ["FRAME_DWELL_S", "describe_field", "describe_frame", "frame_field", "read_field"]

FRAME_DWELL_S = 1e-5
"""Usual time at each pixel of a frame, s."""
_FIELD = {
    "rows": ("integer", "<i8", ""),
    "columns": ("integer", "<i8", ""),
    "step_y": ("number", "<f8", "µm"),
    "step_x": ("number", "<f8", "µm"),
    "centre_y": ("number", "<f8", "µm"),
    "centre_x": ("number", "<f8", "µm"),
    "dwell": ("number", "<f8", "s"),
}


def frame_field(
    name: str, values: Mapping[str, Any], field: ScanGrid, dwell_s: float
) -> tuple[ScanGrid, float]:
    """Return field and dwell after `values` were set.

    Parameters
    ----------
    name : str
        Of the device, for messages.
    values : mapping
        Any of ``shape``, ``step_um``, ``centre_um`` and ``dwell_s``.
    field, dwell_s
        As they are.

    Raises
    ------
    ConfigError
        Naming the device and what is not what it may be.
    """
    known = ("shape", "step_um", "centre_um", "dwell_s")
    for key in values:
        if key not in known:
            raise ConfigError(f"{name}: no setting {key!r}; there are {', '.join(known)}")
    dwell = float(values.get("dwell_s", dwell_s))
    if not 0 < dwell <= 1:
        raise ConfigError(f"{name}: dwell_s must be above 0 and at most 1 s, not {dwell:g}")
    try:
        wanted = ScanGrid(
            tuple(values.get("shape", field.shape)),
            tuple(values.get("step_um", field.step_um)),
            tuple(values.get("centre_um", field.centre_um)),
        )
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None
    return wanted, dwell


def read_field(name: str, field: ScanGrid, dwell_s: float, when: float) -> dict[str, Any]:
    """Reading of field and dwell, for a device's configuration."""
    values = (*field.shape, *field.step_um, *field.centre_um, dwell_s)
    return {
        f"{name}_{key}": {"value": value, "timestamp": when}
        for key, value in zip(_FIELD, values, strict=True)
    }


def describe_field(name: str, source: Callable[[str], str]) -> dict[str, Any]:
    """Describe `read_field`."""
    return {
        f"{name}_{key}": data_key(source(key), dtype, numpy_dtype, units=units)
        for key, (dtype, numpy_dtype, units) in _FIELD.items()
    }


def describe_frame(name: str, shape: tuple[int, int], source: Callable[[str], str]) -> dict[str, Any]:
    """Describe the reading of a frame: its grey levels and the charge that it took, nC."""
    image = data_key(source("image"), "array", "<f4")
    return {
        f"{name}_image": {**image, "shape": [int(n) for n in shape]},
        f"{name}_dose": data_key(source("dose"), "number", "<f8", units="nC", precision=4),
    }
