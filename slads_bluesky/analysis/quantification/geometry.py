"""Under which conditions a spectrum was acquired, as far as its quantification depends on them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ...errors import ConfigError
from ...spectra.physics.detector import Detector

__all__ = ["NOMINAL_SD", "Conditions", "is_nominal"]

NOMINAL_SD = 0.15
"""Relative standard deviation of a beam current that was set, not measured."""


@dataclass(frozen=True)
class Conditions:
    """Beam, geometry and detector of a spectrum.

    Parameters
    ----------
    beam_energy_kev : float
        1 to 50 keV.
    takeoff_deg : float
        Angle between the sample's surface and the way to the detector, over 0 to 90°.
    dose_nc : float or None
        Beam current × live time, in nC; None if unknown.
    detector : Detector
        Its resolution is where the fit starts from.
    low_kev : float or None
        Energy from which on channels are used; None: 0.35 keV, 0.18 keV if an element of Z ≤ 7 is asked for.
    dose_sd : float
        Relative standard deviation of the dose: probe currents drift, and headers round them.
    dose_scale_sd : float
        That of the scale of beam currents, which all spectra of a session share but not those of another current: 0
        where the current was measured, `NOMINAL_SD` where it is the one that was set.
    current_na : float or None
        The beam current; None if unknown.

    Raises
    ------
    ConfigError
        Naming the value that cannot be.
    """

    beam_energy_kev: float = 15.0
    takeoff_deg: float = 28.5
    dose_nc: float | None = None
    detector: Detector = field(default_factory=Detector)
    low_kev: float | None = None
    dose_sd: float = 0.015
    dose_scale_sd: float = 0.0
    current_na: float | None = None

    def __post_init__(self) -> None:
        if not 1.0 <= self.beam_energy_kev <= 50.0:
            raise ConfigError(f"beam energy must be 1 to 50 keV, not {self.beam_energy_kev}")
        if not 0.0 < self.takeoff_deg <= 90.0:
            raise ConfigError(f"take-off angle must be over 0 and at most 90°, not {self.takeoff_deg}")
        if self.dose_nc is not None and not (math.isfinite(self.dose_nc) and self.dose_nc > 0):
            raise ConfigError(f"dose must be a positive number of nC, not {self.dose_nc}")

    def lowest_kev(self, elements: tuple[int, ...]) -> float:
        """Energy from which on channels are used for these elements."""
        if self.low_kev is not None:
            return self.low_kev
        return 0.18 if any(z <= 7 for z in elements) else 0.35


def is_nominal(current_na: float) -> bool:
    """Whether a beam current looks like one that was set: it has at most two digits that count.

    Examples
    --------
    >>> is_nominal(2.5), is_nominal(1.10989)
    (True, False)
    """
    return float(f"{current_na:.2g}") == current_na
