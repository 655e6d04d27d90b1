"""Whether the beam was there while a frame was scanned: by its charge, its current, and the blanker."""

from __future__ import annotations

import threading

from ..errors import InstrumentError
from .beamwatch import LOOSE, BeamWatch

__all__ = ["BLANKED", "FrameWatch"]

BLANKED = "the beam was blanked by somebody else while the frame was scanned"


class FrameWatch:
    """Judges one frame after the other.

    A frame is scanned in one go, so nothing is known of its single lines. Three things show that some are dark: its
    charge is less than the reported current makes of its time, by more than `beamwatch.LOOSE`; the monitor of the
    current brought so much less in between; or the blanker opened more than once, as the scan generator lights the
    beam but once. A beam that somebody blanks near the frame's end and leaves so is within `LOOSE`, and is not seen.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._scanning = False
        self._current_na = self._lowest_na = 0.0
        self._since = 0.0
        self._blanked_at: float | None = None
        self._interrupted = False

    def begin(self, current_na: float, state_at: float) -> None:
        """Take the reported current, nA, and since when the blanker is as it is, by the instrument's time, s."""
        with self._lock:
            self._scanning, self._since = True, state_at
            self._current_na = self._lowest_na = current_na
            self._blanked_at, self._interrupted = None, False

    def current(self, current_na: float) -> None:
        """Take what the monitor of the current brought, nA."""
        with self._lock:
            if self._scanning:
                self._lowest_na = min(self._lowest_na, current_na)

    def state(self, blanked: bool, at: float) -> None:
        """Take a state that the monitor of the blanker brought, and the instrument's time of it, s."""
        with self._lock:
            if not self._scanning or at <= self._since:
                return
            if blanked:
                self._blanked_at = at
            elif self._blanked_at is not None:
                self._interrupted = True

    def check(self, charge_nc: float, time_s: float) -> None:
        """Judge a frame that is over.

        Parameters
        ----------
        charge_nc : float
            Its charge, nC.
        time_s : float
            Time that its pixels took together, s.

        Raises
        ------
        InstrumentError
            If the beam was not there all the time.
        """
        with self._lock:
            self._scanning = False
            if self._interrupted:
                raise InstrumentError(BLANKED)
            if self._lowest_na < (1 - LOOSE) * self._current_na:
                raise InstrumentError(
                    f"beam current lost: {self._lowest_na:.3g} nA while the frame was scanned, "
                    f"{self._current_na:.3g} nA before"
                )
            watch = BeamWatch()
            watch.start(0.0, self._current_na)
            watch.check(charge_nc, time_s)
