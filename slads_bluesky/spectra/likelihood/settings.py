"""Settings of the default classifier besides its training spectra."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError
from ..axis import EnergyAxis
from .kernel import bin_starts

__all__ = ["ClassifierSettings"]

ABOVE_BEAM = 1.02
"""No line lies over the beam energy; a small error of its value is allowed for."""


@dataclass(frozen=True)
class ClassifierSettings:
    """Settings of a `PhaseClassifier` besides its training spectra.

    Parameters
    ----------
    beam_energy_kev, takeoff_deg : float
        Of the computed spectra: phases given as compositions, and the elements that stand for the unknown.
    resolution_ev : float
        Of the detector at Mn Kα.
    false_alarm_rate : float
        Fraction of good spectra that may be flagged.
    confidence : float
        Posterior under which a spectrum is ``low_counts``.
    template_error : float
        Relative error of computed spectra, and of phases with fewer than three measured ones.
    gain_sd : float
        Standard deviation of the relative error of the energy scale.
    offset_sd_kev : float
        Standard deviation of the energy of channel 0, in keV.
    noise_lambda : float
        Mean counts that a flat background adds in every channel of a spectrum like those trained on.
    live_time_s : float or None
        Live time of the training spectra, for the check of the count rate.
    low_kev : float
        Channels under this energy are left out: they hold the strobe (zero) peak and noise near the discriminator.
    model : int
        2: nuisances are part of the model, channels from `low_kev` to the beam energy; 1: as files of version 1.
    yields : tuple of float, optional
        Counts of pure spectra of each phase at equal dose, in any unit, in the order of the labels: makes abundances
        of fractions of the counts.
    drift : float
        Relative error of the energy scale up to which a spectrum that does not fit is judged on another scale.
    response : int
        2: computed spectra have the charge losses that real detectors show (`nuisance.TYPICAL`); 1: none.
    """

    beam_energy_kev: float = 15.0
    takeoff_deg: float = 28.5
    resolution_ev: float = 126.0
    false_alarm_rate: float = 1e-3
    confidence: float = 0.95
    template_error: float = 0.1
    gain_sd: float = 3e-4
    offset_sd_kev: float = 1e-3
    noise_lambda: float = 0.0
    live_time_s: float | None = None
    low_kev: float = 0.12
    model: int = 2
    yields: tuple[float, ...] | None = None
    response: int = 2
    drift: float = 0.006

    def __post_init__(self) -> None:
        bounds = {
            "resolution_ev": (100.0, 1000.0),
            "false_alarm_rate": (1e-9, 0.2),
            "confidence": (0.0, 1.0 - 1e-9),
            "template_error": (0.0, 1.0),
            "gain_sd": (1e-9, 0.05),
            "offset_sd_kev": (1e-9, 0.1),
            "noise_lambda": (0.0, 1e6),
            "low_kev": (-10.0, 5.0),
            "model": (1, 2),
            "response": (1, 2),
            "drift": (0.0, 0.02),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"classifier: {name} must be {low:g} to {high:g}, not {value}")
        if self.yields is not None and not all(0 < value < math.inf for value in self.yields):
            raise ConfigError(f"classifier: yields must be positive, not {self.yields}")
        if self.live_time_s is not None and not self.live_time_s > 0:
            raise ConfigError(f"classifier: live_time_s must be positive, not {self.live_time_s}")

    def to_json(self) -> dict[str, Any]:
        """Fields for a model file; the beam energy under its first key, ``beam_kev``, so that hashes stay."""
        fields = asdict(self)
        if self.model == 1:
            del fields["low_kev"], fields["model"]
        if self.model == 1 or self.response == 1:
            del fields["response"]
        if self.model == 1 or self.drift == 0.0:
            del fields["drift"]
        if self.yields is None:
            del fields["yields"]
        return {("beam_kev" if name == "beam_energy_kev" else name): value for name, value in fields.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ClassifierSettings:
        """Return the settings that `to_json` described."""
        named = {("beam_energy_kev" if k == "beam_kev" else k): v for k, v in data.items()}
        if named.get("yields") is not None:
            named["yields"] = tuple(float(value) for value in named["yields"])
        return cls(**{"model": 1, "response": 1, "drift": 0.0, **named})

    def bin_starts(self, axis: EnergyAxis) -> NDArray[np.int32]:
        """Bins of spectra on this axis: all channels, or those from `low_kev` to just over the beam energy."""
        if self.model == 1:
            return bin_starts(axis, self.resolution_ev)
        return bin_starts(axis, self.resolution_ev, self.low_kev, ABOVE_BEAM * self.beam_energy_kev)
