"""Whether the beam was there while a spectrum was acquired: by the charge on the specimen, and by the blanker."""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import Any

from ..errors import InstrumentError

__all__ = ["BeamWatch", "BlankerWatch"]

LOOSE = 0.2
"""Part of the charge that may be missing at most, however noisy the current is."""
FLOOR = 0.005
"""Part of the charge that may always be missing: what the clocks and the current meter resolve."""
LEAST_KNOWN = 8
"""Acquisitions after which the noise of the current is known; before, and it may be the reported current, `LOOSE`."""
DEVIATIONS = 6.0
"""Standard deviations of the current that may be missing; their own uncertainty is in it."""
MAD = 1.4826
"""Standard deviation of a normal distribution, in units of its median absolute deviation."""
REMEMBERED, RENEWED = 101, 8
"""Acquisitions that make the usual current, and after how many of them it is computed again."""


class BeamWatch:
    """Compares each acquisition's mean current with that of the ones before.

    A monitor of the current comes too late, or not at all for a short dip; the charge since the acquisition began,
    over its real time, cannot miss one. A slow drift raises no alarm. What may be missing follows from the noise
    that the current had so far: `DEVIATIONS` standard deviations, at least `FLOOR` and at most `LOOSE`. A step within
    `LOOSE` that lasts is another current: one acquisition is refused, and the next one with the same current not.

    Where the beam was lit for longer than the acquisition lasted, its charge is that of the longer time too. The
    time `idle_s` bounds that: the current lies between charge / (real + idle) and charge / real, and charge is
    missing where the second is below what the first usually is.
    """

    def __init__(self) -> None:
        self._kept: deque[float] = deque(maxlen=REMEMBERED)
        self._since = 0
        self._refused_na: float | None = None
        self._dose_nc = 0.0
        self.usual_na = 0.0
        """Current that is expected, nA; 0 where nothing is known."""
        self.tolerance = LOOSE
        """Part of the expected charge that may be missing."""

    def begin(self, dose_nc: float) -> None:
        """Take the total dose before an acquisition; needed after one that was abandoned."""
        self._dose_nc = dose_nc

    def start(self, dose_nc: float, current_na: float) -> None:
        """Start with the dose so far and the current that the microscope reports."""
        self._dose_nc = dose_nc
        self._kept.clear()
        self._refused_na = None
        self.usual_na, self.tolerance = max(0.0, current_na), LOOSE

    def check(self, dose_nc: float, real_s: float, idle_s: float = 0.0) -> None:
        """Take the total dose after an acquisition.

        Parameters
        ----------
        dose_nc : float
            Total dose, nC.
        real_s : float
            Real time of the acquisition, s.
        idle_s : float
            Time that the beam may have been lit since the dose before beyond that, s.

        Raises
        ------
        InstrumentError
            If charge is missing.
        """
        before, self._dose_nc = self._dose_nc, dose_nc
        if real_s <= 0:
            return
        usual, current = self.usual_na, (dose_nc - before) / real_s
        if current <= 0:
            raise InstrumentError("no beam: no charge reached the specimen during the acquisition")
        if current < (1 - self.tolerance) * usual:
            refused, self._refused_na = self._refused_na, current
            lasts = refused is not None and abs(current - refused) <= self.tolerance * refused
            if not lasts or current < (1 - LOOSE) * usual:
                raise InstrumentError(
                    f"beam current lost: {current:.3g} nA on average instead of {usual:.3g} nA"
                )
            self._kept.clear()
            usual = 0.0
        self._refused_na = None
        least = current * real_s / (real_s + max(0.0, idle_s))
        if least <= (1 + LOOSE) * (usual or least):  # more: an acquisition that was abandoned
            self._keep(least)

    def _keep(self, current_na: float) -> None:
        self._kept.append(current_na)
        self._since += 1
        n = len(self._kept)
        if n <= 4 * RENEWED or self._since % RENEWED == 0:
            self.usual_na = usual = median(self._kept)
            spread = MAD * median(abs(value - usual) for value in self._kept) / usual
            self.tolerance = LOOSE if n < LEAST_KNOWN else min(LOOSE, FLOOR + DEVIATIONS * spread)


class BlankerWatch:
    """Whether somebody else blanked the beam while this process had it lit, by the monitor of the blanker's state.

    The monitor of an own command may arrive long after the command has completed. So states are told apart by the
    instrument's own time of each: a state *blanked* counts only if it is later than the state *open* that was read
    after the command to light. (The state that is read at the end of an acquisition misses what was over by then.)
    """

    def __init__(self) -> None:
        self._lit = False
        self._open_at: float | None = None
        self._blanked_at: float | None = None

    def command(self, lit: bool) -> None:
        """Take what this process is about to command; lighting a lit beam once more changes nothing."""
        if lit and not self._lit:
            self._open_at = None
        self._lit = lit

    def opened(self, at: float) -> None:
        """Take that the beam was read to be open, in this state since the instrument's time `at`, s."""
        self._open_at = at

    def state(self, blanked: Any, at: float) -> None:
        """Take a state that the monitor brought, and the instrument's time of it, s."""
        if blanked:
            self._blanked_at = at

    @property
    def interrupted(self) -> bool:
        """Whether the beam was blanked by somebody else since this process lit it."""
        opened, blanked = self._open_at, self._blanked_at
        return self._lit and opened is not None and blanked is not None and blanked > opened
