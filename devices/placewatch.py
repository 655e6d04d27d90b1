"""Where the beam was while it was lit, by the monitors of its readbacks: also where it was for a moment only."""

from __future__ import annotations

import threading
from collections import deque

__all__ = ["PlaceWatch"]

REMEMBERED = 1000
"""Values of a readback that are kept; a readback that changes more often in one acquisition is not followed."""


class PlaceWatch:
    """Remembers what the monitors of the two readbacks brought since the beam was sent to a place.

    What is read after an acquisition does not show that another client moved the beam away and back in it; the
    monitors do. They may bring a value late, that of an earlier point too. So values are told apart by the
    instrument's own time of each: what was there before the point before was read is forgotten, and what counts lies
    between the time since when the beam is open and the time since when it is blanked again.
    """

    def __init__(self) -> None:
        self._heard = {axis: deque[tuple[float, float]](maxlen=REMEMBERED) for axis in "xy"}
        self._read = dict.fromkeys("xy", float("-inf"))  # instrument's time of what was read last
        self._base = dict(self._read)  # the same, when the beam was lit: of the place before
        self._wanted: dict[str, float] = {}
        self._opened: float | None = None
        self._blanked: float | None = None
        self._lock = threading.Lock()

    def begins(self, axis: str, at: float) -> None:
        """Take the instrument's time of where the beam is before it is sent anywhere, s.

        What a monitor brings of it, however late, is not a place of the first point.
        """
        with self._lock:
            self._read[axis] = max(self._read[axis], float(at))

    def send(self, position: tuple[float, float]) -> None:
        """Take where this process is about to send the beam, (x, y) in µm."""
        with self._lock:
            self._wanted = dict(zip("xy", map(float, position), strict=True))
            self._opened = self._blanked = None

    def opened(self, at: float) -> None:
        """Take since when the beam is open, by the instrument's time, s."""
        with self._lock:
            self._opened, self._blanked = at, None
            self._base = dict(self._read)
            for axis, heard in self._heard.items():
                while heard and heard[0][0] <= self._base[axis]:
                    heard.popleft()

    def blanked(self, at: float) -> None:
        """Take that the beam was blanked at the instrument's time `at`, s; what is older than `opened` is ignored."""
        with self._lock:
            if self._opened is not None and self._blanked is None and at > self._opened:
                self._blanked = at

    def heard(self, axis: str, value: float, at: float) -> None:
        """Take a value, µm, that the monitor of an axis brought, and the instrument's time of it, s."""
        with self._lock:
            self._heard[axis].append((float(at), float(value)))

    def farthest(self, axis: str, value: float, at: float) -> float:
        """Return where the beam was while it was lit at the place that it was sent to.

        Parameters
        ----------
        axis : {"x", "y"}
        value : float
            What the readback is now, µm.
        at : float
            Instrument's time of it, s.

        Returns
        -------
        float
            Of `value` and all values while the beam was lit the one that lies farthest from where it was sent, µm.
        """
        with self._lock:
            self._read[axis] = float(at)
            if self._opened is None or axis not in self._wanted:
                return value
            wanted, opened = self._wanted[axis], self._opened
            if at <= opened:  # it has been there since before the beam was lit, whatever monitors bring late
                return value
            until = self._blanked if self._blanked is not None else float("inf")
            there = [value]
            before = (
                None  # where it was when the beam was lit: only if it was heard of after the place before
            )
            for when, found in sorted(self._heard[axis], key=lambda entry: entry[0]):
                if when <= self._base[axis]:
                    continue
                if when <= opened:
                    before = found
                elif when <= until:
                    there.append(found)
            if before is not None:
                there.append(before)
            return max(there, key=lambda place: abs(place - wanted))
