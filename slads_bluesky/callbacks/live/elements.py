"""Elements of a map as it grows: counts in a window around a line, spread over the pixels that nobody measured yet.

It is a preview for choosing to stop, zoom or move on; compositions and their uncertainties come from
`analysis.elements` once the map is recorded. Inferred pixels are drawn darker than measured ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ...export.element_panels import blend, check_composite
from ...spectra.axis import EnergyAxis
from ...spectra.physics.composition import atomic_number
from ...spectra.physics.windows import element_windows

__all__ = ["ElementOverlay"]

NEIGHBOURS = 8
INFERRED = 0.7
"""Brightness of an inferred pixel, of a measured one's."""
SIDE = 256
"""Larger maps are drawn at a part of their pixels."""


class ElementOverlay:
    """Counts per second of up to four elements at the measured pixels, and a picture of them.

    Parameters
    ----------
    symbols : sequence of str
    shape : (int, int)
        Rows and columns.

    Raises
    ------
    ConfigError
        If there are more than four, or one is no element.
    """

    def __init__(self, symbols: Sequence[str], shape: tuple[int, int]) -> None:
        check_composite(symbols)
        for symbol in symbols:
            atomic_number(symbol)
        self.symbols = tuple(symbols)
        self._values = np.full((len(self.symbols), *shape), np.nan, np.float32)
        self._windows: dict[str, tuple[int, int]] | None = None
        self.trouble = ""
        """Why there is nothing to see, if the spectra do not hold the elements' lines."""

    @property
    def values(self) -> NDArray[np.float32]:
        """(E, rows, columns): counts per second of live time, NaN where nothing was measured."""
        return self._values

    def take(
        self,
        place: tuple[int, int],
        spectrum: NDArray[Any],
        live_time_s: float,
        energy_kev: tuple[float, float] | None,
    ) -> None:
        """Take the spectrum of a pixel; without an energy scale (offset and width, keV) nothing is taken."""
        if energy_kev is None:
            return
        if self._windows is None:
            self._windows = element_windows(self.symbols, EnergyAxis(*energy_kev, len(spectrum)))
        live = live_time_s if math.isfinite(live_time_s) and live_time_s > 0 else 1.0
        for e, (first, last) in enumerate(self._windows.values()):
            self._values[e][place] = spectrum[first : last + 1].sum() / live

    def picture(self, labels: NDArray[Any] | None) -> NDArray[np.float64]:
        """Blend the elements: (rows, columns, 3) red, green and blue, at most `SIDE` pixels a side.

        Parameters
        ----------
        labels : (rows, columns) integer array, optional
            Phase of every pixel, of which its neighbours must be; by default the nearest pixels stand for it.
        """
        rows, columns = self._values.shape[1:]
        step = math.ceil(max(rows, columns) / SIDE)
        at = np.stack(
            np.meshgrid(np.arange(0, rows, step), np.arange(0, columns, step), indexing="ij"), axis=-1
        )
        known = np.argwhere(np.isfinite(self._values[0]))
        out = np.zeros((*at.shape[:2], 3))
        if not len(known):
            return out
        phase = np.zeros((rows, columns), np.int64) if labels is None else labels
        of_known, of_shown = phase[tuple(known.T)], phase[tuple(at.reshape(-1, 2).T)]
        shown = np.full((len(self.symbols), len(of_shown)), np.nan)
        for label in np.unique(of_shown):
            near = known[of_known == label]
            if not len(near):
                near = known
            here = np.flatnonzero(of_shown == label)
            distance, index = cKDTree(near).query(at.reshape(-1, 2)[here], k=min(NEIGHBOURS, len(near)))
            weight = 1.0 / (distance.reshape(len(here), -1) + 0.5) ** 2
            values = self._values[:, near[:, 0], near[:, 1]][:, index.reshape(len(here), -1)]
            shown[:, here] = (values * weight).sum(axis=-1) / weight.sum(axis=-1)
        out[:] = blend([one.reshape(at.shape[:2]) for one in shown])
        inferred = ~np.isfinite(self._values[0][tuple(at.reshape(-1, 2).T)]).reshape(at.shape[:2])
        out[inferred] *= INFERRED
        return out
