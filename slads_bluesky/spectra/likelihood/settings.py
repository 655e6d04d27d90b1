"""Settings of the default classifier besides its training spectra."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ...errors import ConfigError

__all__ = ["ClassifierSettings"]


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

    def __post_init__(self) -> None:
        bounds = {
            "resolution_ev": (100.0, 1000.0),
            "false_alarm_rate": (1e-9, 0.2),
            "confidence": (0.0, 1.0 - 1e-9),
            "template_error": (0.0, 1.0),
            "gain_sd": (1e-9, 0.05),
            "offset_sd_kev": (1e-9, 0.1),
            "noise_lambda": (0.0, 1e6),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"classifier: {name} must be {low:g} to {high:g}, not {value}")
        if self.live_time_s is not None and not self.live_time_s > 0:
            raise ConfigError(f"classifier: live_time_s must be positive, not {self.live_time_s}")

    def to_json(self) -> dict[str, Any]:
        """Fields for a model file; the beam energy under its first key, ``beam_kev``, so that hashes stay."""
        fields = asdict(self)
        return {("beam_kev" if name == "beam_energy_kev" else name): value for name, value in fields.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ClassifierSettings:
        """Return the settings that `to_json` described."""
        return cls(**{("beam_energy_kev" if k == "beam_kev" else k): v for k, v in data.items()})
