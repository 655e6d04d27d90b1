"""The conditions of a recorded map, as quantification takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..analysis.quantification.geometry import Conditions
from ..analysis.run_data import RunData
from ..errors import ConfigError
from .about import acquisition

__all__ = ["conditions_of_map"]


def conditions_of_map(data: RunData, given: Mapping[str, float | None] | None = None) -> Conditions:
    """Conditions under which a map was acquired.

    Parameters
    ----------
    data : RunData
    given : mapping, optional
        ``beam_energy_kev``, ``takeoff_deg``, ``resolution_ev`` that stand above the record's, and ``dose_scale_sd``.

    Raises
    ------
    ConfigError
        If neither says the beam energy.
    """
    own = {name: value for name, value in (given or {}).items() if value is not None}
    settings = acquisition(data)
    default = Conditions()
    beam = own.get("beam_energy_kev", settings.get("beam_energy"))
    if beam is None:
        raise ConfigError(f"run {data.uid[:8]} records no beam energy; give one (--beam-energy)")
    detector = default.detector
    resolution = own.get("resolution_ev", settings.get("energy_resolution_MnKa"))
    if resolution is not None:
        detector = replace(detector, resolution_ev=float(resolution))
    takeoff = own.get("takeoff_deg", settings.get("elevation_angle", default.takeoff_deg))
    scale_sd = float(own.get("dose_scale_sd") or 0.0)
    return Conditions(float(beam), float(takeoff), detector=detector, dose_scale_sd=scale_sd)
