"""What suspends a map: the beam's current, and the dose that the microscope still allows.

While suspended the beam is blanked; afterwards the pixel that was interrupted is measured again.
"""

from typing import Any

from bluesky.suspenders import SuspendBoolLow, SuspendFloor

__all__ = ["beam_suspenders"]


def beam_suspenders(beam: Any, *, minimum_na: float, sleep_s: float = 0.0) -> list[Any]:
    """Suspend while the current is below a minimum, or the dose is above what the microscope allows.

    Parameters
    ----------
    beam : SEMBeam
        Its ``current`` and, if it has one, ``dose_ok`` are watched.
    minimum_na : float
        Current below which nothing is measured, nA.
    sleep_s : float
        How long the beam must be back before the map is resumed, s.
    """
    found: list[Any] = [
        SuspendFloor(beam.current, minimum_na, sleep=sleep_s, tripped_message="the beam current is too low")
    ]
    if hasattr(beam, "dose_ok"):
        found.append(SuspendBoolLow(beam.dose_ok, sleep=sleep_s, tripped_message="the dose budget is spent"))
    return found
