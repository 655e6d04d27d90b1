"""The points of a map in the order of their measurement, in columns that grow, and where each one's spectrum is."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["VERDICTS", "PointColumns", "SpectrumPlace"]

VERDICTS = ("ok", "low_counts", "mixed", "unknown", "ill", "failed")
"""In the order of their codes; a verdict that is not among them is added to those of its map."""

_COLUMNS: dict[str, Any] = {
    "pixel": np.int32, "label": np.int16, "vote": np.int16, "verdict": np.uint8, "probability": np.float32,
    "erd": np.float32, "seconds": np.float64, "dose_nc": np.float64, "live_time_s": np.float32,
    "counts": np.float64, "file": np.int16, "begin": np.int64, "length": np.int64, "row": np.int32,
}  # fmt: skip


class SpectrumPlace(NamedTuple):
    """Where the event of a point is in the journals of its map."""

    file: int
    """Number of the journal, the oldest run's is 0."""
    begin: int
    """First byte of the record."""
    length: int
    """Bytes of the record."""
    row: int
    """Number of the event in an event page; its ``seq_num - 1`` in a file of spectra."""


class PointColumns:
    """Columns of the points of a map; a pixel that is measured again keeps its place in the order.

    Filled by one thread and read by others: a reader takes `n` first and looks at no more than that many rows.

    Parameters
    ----------
    n_pixels : int
        Of the grid.

    Examples
    --------
    >>> points = PointColumns(16)
    >>> points.put(5, label=1, vote=1, verdict="ok")
    >>> points.put(5, label=2, vote=2, verdict="ok")
    >>> points.n, int(points.column("label")[0]), points.row_of(5), points.row_of(6)
    (1, 2, 0, None)
    """

    def __init__(self, n_pixels: int) -> None:
        self.n = 0
        """Points so far."""
        self.verdicts = list(VERDICTS)
        """Names of the codes in the column ``verdict``."""
        self._columns = {name: np.zeros(256, dtype) for name, dtype in _COLUMNS.items()}
        self._row_of = np.full(n_pixels, -1, np.int32)

    def put(self, pixel: int, *, verdict: str = "ok", **values: Any) -> None:
        """Add a point, or replace the one of the same pixel; what is not given is 0."""
        row = int(self._row_of[pixel])
        new = row < 0
        if new:
            row = self.n
            if row == self._columns["pixel"].size:
                self._columns = {
                    name: np.concatenate((column, np.zeros_like(column)))
                    for name, column in self._columns.items()
                }
        columns = self._columns
        columns["pixel"][row], columns["verdict"][row] = pixel, self._code(verdict)
        for name, value in values.items():
            columns[name][row] = value
        if new:
            self._row_of[pixel], self.n = row, row + 1

    def _code(self, verdict: str) -> int:
        if verdict not in self.verdicts and len(self.verdicts) < 255:
            self.verdicts.append(verdict)
        return self.verdicts.index(verdict) if verdict in self.verdicts else 255

    def row_of(self, pixel: int) -> int | None:
        """Row of a pixel; None where nothing is measured."""
        row = int(self._row_of[pixel])
        return None if row < 0 else row

    def column(self, name: str, n: int | None = None) -> NDArray[Any]:
        """(n,) the first `n` values of a column, all by default; a view."""
        return self._columns[name][: self.n if n is None else n]

    def verdict_of(self, row: int) -> str:
        """Verdict of a row."""
        code = int(self._columns["verdict"][row])
        return self.verdicts[code] if code < len(self.verdicts) else "?"

    def counted(self, n: int | None = None) -> dict[str, int]:
        """How many points have each verdict, those that none has left out."""
        numbers = np.bincount(self.column("verdict", n), minlength=len(self.verdicts))
        return {name: int(k) for name, k in zip(self.verdicts, numbers, strict=False) if k}

    def place(self, row: int) -> SpectrumPlace:
        """Where the event of a row is."""
        return SpectrumPlace(*(int(self._columns[name][row]) for name in SpectrumPlace._fields))

    def nearest(self, pixel: int, columns: int, reach: int = 6) -> int | None:
        """Row of the measured pixel nearest to `pixel`, at most `reach` pixels away along each axis; None if none.

        Parameters
        ----------
        pixel : int
            Flat index.
        columns : int
            Of the grid.
        reach : int
        """
        rows = self._row_of.size // columns
        y, x = divmod(pixel, columns)
        top, left = max(y - reach, 0), max(x - reach, 0)
        window = self._row_of.reshape(rows, columns)[top : y + reach + 1, left : x + reach + 1]
        found = np.argwhere(window >= 0)
        if not found.size:
            return None
        distance = ((found - (y - top, x - left)) ** 2).sum(axis=1)
        best = found[int(np.argmin(distance))]
        return int(window[best[0], best[1]])
