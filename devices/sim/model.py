"""The simulated column and its specimen as pure state: what the soft devices and the IOC have in common.

No clock and no EPICS: whoever uses it says how far an acquisition has come. So both kinds of devices record the
same counts, times and doses for the same moves, and an accelerated run is a run, only sooner.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError, InstrumentError
from ...grid import ScanGrid
from ...protocols import Specimen
from .exposure import Exposure, LogEntry, Presets
from .frames import FrameFaults, backscatter_frame
from .perpixel import PerPixel

__all__ = ["SimulatedSEM"]

LOGGED = 5_000
"""How many of the last acquisitions the log in memory holds."""

CURRENT_SEED = 20260
"""Of the fluctuations of the beam current."""


class SimulatedSEM:
    """A column with a blanker over a specimen, and its detector.

    Parameters
    ----------
    specimen : Specimen
        What lies under the beam.
    grid : ScanGrid, optional
        Where its pixels lie; by default around (0, 0), as far apart as the specimen says, or 1 µm.
    current_na : float
        Beam current, nA. The specimen's spectra are those of this current.

    Attributes
    ----------
    tripped : bool
        Whether the beam has tripped: no current.
    noise : float
        Standard deviation of the current from one acquisition to the next, as a part of it.
    fade_per_h : float
        Part of the current that is lost in an hour of acquiring.
    damage_nc : float
        Dose at a pixel after which it gives 1/e of its counts, nC; 0: no damage.
    drift_um_per_s : (float, float)
        How fast the stage drifts along x and y while acquiring, µm/s.
    frame_faults : FrameFaults
        What is wrong with backscatter frames.
    frames : int
        Frames so far.
    """

    def __init__(self, specimen: Specimen, grid: ScanGrid | None = None, *, current_na: float = 1.0) -> None:
        self.specimen = specimen
        pitch = float(getattr(specimen, "pitch_um", 1.0))
        self.grid = grid if grid is not None else ScanGrid(specimen.shape, (pitch, pitch))
        if tuple(self.grid.shape) != tuple(specimen.shape):
            raise ConfigError(f"grid of {tuple(self.grid.shape)} over a specimen of {tuple(specimen.shape)}")
        if not (math.isfinite(current_na) and current_na > 0):
            raise ConfigError(f"beam current must be positive, not {current_na} nA")
        self.nominal_current_na = current_na
        self.log: deque[LogEntry] = deque(maxlen=LOGGED)
        self.reset()

    def reset(self) -> None:
        """Start with a fresh specimen: the beam blanked in the middle of the field, no dose, no visits."""
        self.tripped = False
        self.noise = self.fade_per_h = self.damage_nc = 0.0
        self.drift_um_per_s = getattr(self.specimen, "beam_drift_um_per_s", (0.0, 0.0))
        self.frame_faults = FrameFaults()
        self.frames = 0
        self.clock_s = 0.0
        self._factor = 1.0
        self._doses = PerPixel("float64")
        self.x_um, self.y_um = self.grid.centre_um[1], self.grid.centre_um[0]
        self.blanked = True
        self.dose_nc = 0.0
        self.pixel_dose_nc = 0.0
        self.log.clear()
        self._visits = PerPixel("uint32")
        self._numbered = 0

    @property
    def current_na(self) -> float:
        """Beam current, nA."""
        return 0.0 if self.tripped else self.nominal_current_na * self._factor

    @property
    def limits_um(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The field, ((y_min, y_max), (x_min, x_max)) in µm: half a pixel beyond the outermost centres."""
        (y0, y1), (x0, x1) = self.grid.extents_um
        dy, dx = self.grid.step_um
        return (y0 - dy / 2, y1 + dy / 2), (x0 - dx / 2, x1 + dx / 2)

    def check_position(self, x_um: float, y_um: float) -> None:
        """Raise InstrumentError for a position outside the field."""
        (y0, y1), (x0, x1) = self.limits_um
        if not x0 <= x_um <= x1:
            raise InstrumentError(f"x = {x_um} µm lies outside the field, {x0} to {x1} µm")
        if not y0 <= y_um <= y1:
            raise InstrumentError(f"y = {y_um} µm lies outside the field, {y0} to {y1} µm")

    def move(self, *, x_um: float | None = None, y_um: float | None = None) -> None:
        """Put the beam elsewhere; the dose of the pixel starts at 0 unless it is the same place."""
        x = self.x_um if x_um is None else float(x_um)
        y = self.y_um if y_um is None else float(y_um)
        self.check_position(x, y)
        if (x, y) != (self.x_um, self.y_um):
            self.x_um, self.y_um, self.pixel_dose_nc = x, y, 0.0

    def expose(self, real_s: float) -> None:
        """Count the dose of `real_s` seconds of beam; nothing while it is blanked."""
        if not self.blanked:
            charge = self.current_na * real_s
            pixel = self.pixel_here()
            self.dose_nc += charge
            self.pixel_dose_nc += charge
            self._doses.add(pixel, charge)

    def dose_at(self, pixel: int) -> float:
        """All charge that a pixel has had, nC."""
        return float(self._doses.get(pixel))

    def pixel_here(self) -> int:
        """Flat index of the pixel that the beam is on; -1 if it is off, blanked or outside the grid."""
        if self.blanked or self.current_na <= 0:
            return -1
        dx, dy = (speed * self.clock_s for speed in self.drift_um_per_s)
        try:
            return self.grid.pixel(self.x_um + dx, self.y_um + dy)
        except IndexError:
            return -1

    def visit(self, pixel: int) -> int:
        """Count a visit; return how many there were before."""
        return int(self._visits.add(pixel, 1))

    def frame(self, wanted: ScanGrid, dwell_s: float) -> NDArray[np.float32]:
        """Return a backscatter frame as the detector sees it under the whole beam; `framerun` scans it.

        Parameters
        ----------
        wanted : ScanGrid
            Pixels of the frame.
        dwell_s : float
            Time at each pixel, s.

        Returns
        -------
        (rows, columns) float32 array
            Grey levels.

        Raises
        ------
        InstrumentError
            If the frame lies outside the field.
        """
        (y0, y1), (x0, x1) = wanted.extents_um
        for x, y in ((x0, y0), (x1, y1)):
            self.check_position(x, y)
        grey = backscatter_frame(
            self.specimen, self.grid, wanted, current_na=self.current_na, dwell_s=dwell_s,
            faults=self.frame_faults, number=self.frames,
        )  # fmt: skip
        self.frames += 1
        return grey

    def start(self, presets: Presets) -> Exposure:
        """Erase, and begin to acquire where the beam stands."""
        self._numbered += 1
        if self.noise or self.fade_per_h:
            swing = np.random.default_rng([CURRENT_SEED, self._numbered]).normal()
            self._factor = max(
                0.0, (1.0 + self.noise * swing) * (1.0 - self.fade_per_h * self.clock_s / 3600.0)
            )
        else:
            self._factor = 1.0
        return Exposure(self, self._numbered, presets)
