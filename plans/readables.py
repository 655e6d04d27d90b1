"""Light readables that a plan owns: what it decided for a point, and the map as it stands.

They satisfy bluesky's protocols and nothing more, so they put values into Events at the cost of a dictionary.
"""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from slads_bluesky.grid import ScanGrid
from slads_bluesky.protocols import Suggestion

__all__ = ["MapReadable", "ScanPoint"]


class ScanPoint:
    """The pixel to measure: index, row, column, and the reduction in distortion expected of it.

    Parameters
    ----------
    grid : ScanGrid
        Where pixels lie.
    name : str
        Prefix of the data keys.
    visits : bool
        Whether it is read how often the pixel was visited before.
    """

    parent = None

    def __init__(self, grid: ScanGrid, name: str = "scan", *, visits: bool = False) -> None:
        self.name = name
        self._visits = visits
        self._grid = grid
        self._values: dict[str, Any] = {}
        self._time = 0.0

    @property
    def hints(self) -> dict[str, Any]:
        """The pixel, for tables."""
        return {"fields": [f"{self.name}_pixel"]}

    def choose(self, suggestion: Suggestion) -> tuple[float, float]:
        """Take a suggestion; return its position (x, y) in µm."""
        row, column = self._grid.row_column(suggestion.pixel)
        self._values = {
            "pixel": int(suggestion.pixel), "row": row, "col": column, "erd": float(suggestion.erd),
        }  # fmt: skip
        if self._visits:
            self._values["visit"] = int(suggestion.visit)
        self._time = time.time()
        return self._grid.position(suggestion.pixel)

    def read(self) -> dict[str, Any]:
        """Values of the chosen pixel."""
        return {
            f"{self.name}_{key}": {"value": v, "timestamp": self._time} for key, v in self._values.items()
        }

    def describe(self) -> dict[str, Any]:
        """Describe the values of `read`."""
        whole: dict[str, Any] = {
            "dtype": "integer",
            "dtype_numpy": "<i8",
            "shape": [],
            "source": f"plan:{self.name}",
        }
        number = {**whole, "dtype": "number", "dtype_numpy": "<f8", "precision": 3, "units": "pixels"}
        keys = {"pixel": whole, "row": whole, "col": whole, "erd": number}
        if self._visits:
            keys["visit"] = whole
        return {f"{self.name}_{key}": dict(value) for key, value in keys.items()}


class MapReadable:
    """A mapping of arrays and numbers, such as an agent's ``map_data()``, as one reading.

    Parameters
    ----------
    name : str
        Prefix of the data keys.
    """

    parent = None
    hints: Mapping[str, Any] = {"fields": []}

    def __init__(self, name: str = "map") -> None:
        self.name = name
        self._values: dict[str, Any] = {}
        self._time = 0.0

    def take(self, values: Mapping[str, Any]) -> None:
        """Hold `values` for the next reading."""
        self._values = {key: _plain(value) for key, value in values.items()}
        self._time = time.time()

    def read(self) -> dict[str, Any]:
        """Return what `take` was given."""
        return {
            f"{self.name}_{key}": {"value": v, "timestamp": self._time} for key, v in self._values.items()
        }

    def describe(self) -> dict[str, Any]:
        """Describe the values of `read`."""
        return {f"{self.name}_{key}": self._key(value) for key, value in self._values.items()}

    def _key(self, value: Any) -> dict[str, Any]:
        source = f"plan:{self.name}"
        if isinstance(value, np.ndarray):
            return {
                "dtype": "array", "dtype_numpy": value.dtype.newbyteorder("<").str, "shape": list(value.shape),
                "source": source,
            }  # fmt: skip
        if isinstance(value, str):
            return {"dtype": "string", "shape": [], "source": source}
        if isinstance(value, int):
            return {"dtype": "integer", "dtype_numpy": "<i8", "shape": [], "source": source}
        return {"dtype": "number", "dtype_numpy": "<f8", "shape": [], "source": source}


def _plain(value: Any) -> Any:
    """Return arrays as a copy that nobody else changes, numpy's scalars as Python's."""
    if isinstance(value, np.ndarray):
        return np.array(value)
    return value.item() if isinstance(value, np.generic) else value
