"""The scan grid: which pixels there are, and where each lies on the specimen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ConfigError

__all__ = ["ScanGrid"]

MAX_SIDE = 4096


@dataclass(frozen=True, eq=False)
class ScanGrid:
    """A rectangular grid of pixels on the specimen.

    A pixel is named by its flat index ``row * n_columns + column`` (C order). Rows run along y, columns
    along x; pixel (0, 0) lies at the corner with the smallest x and y.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns, each 1 to 4096.
    step_um : (float, float)
        Distance between neighbouring pixels along y and along x, in µm.
    centre_um : (float, float)
        Position of the middle of the grid, (y, x) in µm.
    roi : (rows, columns) bool array, optional
        Region of interest: only pixels that are True may be measured and are mapped.

    Raises
    ------
    ConfigError
        If the shape, the step or the region of interest cannot be a grid.

    Examples
    --------
    >>> from slads_bluesky import ScanGrid
    >>> grid = ScanGrid((64, 64), step_um=(0.5, 0.5), centre_um=(0.0, 10.0))
    >>> grid.n_pixels
    4096
    >>> grid.position(0)  # x, y in µm
    (-5.75, -15.75)
    """

    shape: tuple[int, int]
    step_um: tuple[float, float] = (1.0, 1.0)
    centre_um: tuple[float, float] = (0.0, 0.0)
    roi: NDArray[np.bool_] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if len(self.shape) != 2 or not all(1 <= int(n) <= MAX_SIDE for n in self.shape):
            raise ConfigError(f"grid shape must be two numbers from 1 to {MAX_SIDE}, not {self.shape}")
        if len(self.step_um) != 2 or not all(np.isfinite(s) and s > 0 for s in self.step_um):
            raise ConfigError(f"grid step must be two positive lengths in µm, not {self.step_um}")
        if len(self.centre_um) != 2 or not all(np.isfinite(c) for c in self.centre_um):
            raise ConfigError(f"grid centre must be two finite positions in µm, not {self.centre_um}")
        if self.roi is not None:
            roi = np.array(self.roi, dtype=bool)
            if roi.shape != tuple(self.shape):
                raise ConfigError(f"region of interest has shape {roi.shape}, the grid {tuple(self.shape)}")
            if not roi.any():
                raise ConfigError("region of interest holds no pixel")
            roi.flags.writeable = False
            object.__setattr__(self, "roi", roi)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ScanGrid) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def _values(self) -> tuple[Any, ...]:
        roi = None if self.roi is None else self.roi.tobytes()
        return tuple(self.shape), tuple(self.step_um), tuple(self.centre_um), roi

    @property
    def n_pixels(self) -> int:
        """Pixels that may be measured: all, or those of the region of interest."""
        return int(self.roi.sum()) if self.roi is not None else self.shape[0] * self.shape[1]

    @property
    def extents_um(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Outermost pixel centres, ((y_min, y_max), (x_min, x_max)) in µm."""
        (cy, cx), (dy, dx), (ny, nx) = self.centre_um, self.step_um, self.shape
        hy, hx = (ny - 1) * dy / 2, (nx - 1) * dx / 2
        return (cy - hy, cy + hy), (cx - hx, cx + hx)

    def row_column(self, pixel: int) -> tuple[int, int]:
        """Row and column of a flat pixel index; IndexError outside the grid."""
        if not 0 <= pixel < self.shape[0] * self.shape[1]:
            raise IndexError(f"pixel {pixel} lies outside a grid of {self.shape[0]} × {self.shape[1]}")
        return divmod(int(pixel), self.shape[1])

    def position(self, pixel: int) -> tuple[float, float]:
        """Position (x, y) in µm of a flat pixel index; IndexError outside the grid."""
        row, column = self.row_column(pixel)
        (y_min, _), (x_min, _) = self.extents_um
        return x_min + column * self.step_um[1], y_min + row * self.step_um[0]

    def pixel(self, x_um: float, y_um: float) -> int:
        """Flat index of the pixel nearest to a position in µm; IndexError more than half a step outside."""
        (y_min, _), (x_min, _) = self.extents_um
        row = int(np.floor((y_um - y_min) / self.step_um[0] + 0.5))
        column = int(np.floor((x_um - x_min) / self.step_um[1] + 0.5))
        if not (0 <= row < self.shape[0] and 0 <= column < self.shape[1]):
            raise IndexError(f"({x_um}, {y_um}) µm lies outside the grid {self.extents_um} µm (y, x)")
        return row * self.shape[1] + column

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and lists for a start document; the region of interest as hex of packed bits."""
        out: dict[str, Any] = {
            "shape": [int(n) for n in self.shape],
            "step_um": [float(s) for s in self.step_um],
            "centre_um": [float(c) for c in self.centre_um],
        }
        if self.roi is not None:
            out["roi"] = np.packbits(self.roi).tobytes().hex()
        return out

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ScanGrid:
        """Return the grid that `to_json` described; ConfigError naming the field that is missing or wrong."""
        try:
            shape = (int(data["shape"][0]), int(data["shape"][1]))
            step = (float(data["step_um"][0]), float(data["step_um"][1]))
            centre = (float(data["centre_um"][0]), float(data["centre_um"][1]))
            roi = None
            if data.get("roi") is not None:
                bits = np.frombuffer(bytes.fromhex(data["roi"]), np.uint8)
                roi = np.unpackbits(bits)[: shape[0] * shape[1]].reshape(shape).astype(bool)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ConfigError(f"grid description is not one of ours: {error!r}") from error
        return cls(shape, step, centre, roi)
