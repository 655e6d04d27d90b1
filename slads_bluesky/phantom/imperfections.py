"""What a simulated specimen and its instrument have that the paper's do not: each an option, off by default."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ..errors import ConfigError

__all__ = ["ALL", "Imperfections", "imperfections_of"]


@dataclass(frozen=True)
class Imperfections:
    """Which imperfections a simulated specimen has; all off by default.

    Parameters
    ----------
    blur_px : float, optional
        Standard deviation of the interaction volume, pixels. By default it follows from the physics
        (`interaction.specimen_sigma_um`) and `pitch_um`, and is 0 without a pitch.
    pitch_um : float, optional
        Distance of neighbouring pixels, µm; by default 1 µm and no interaction volume.
    topography : float
        Count rate varies by up to this part of it, up and down, in patches (thickness, tilt, shadowing).
    patch : float
        Size of these patches, as a part of the field.
    contamination : float
        Carbon counts, as a part of a spectrum's other counts, that a dose of 10 nC adds; they grow with its square,
        as the carbon layer grows with the dose.
    scatter : float
        Relative standard deviation of each element's mass fraction from spot to spot within a phase.
    gradient : float
        The first phase of several elements is graded: its first element's mass fraction changes from one side of the
        field to the other by this part of it, half up and half down.
    gain_per_h : float
        Relative drift of the energy scale in an hour of acquiring.
    offset_ev_per_h : float
        Drift of the energy of channel 0 in an hour of acquiring, eV.
    beam_drift_px_per_h : float
        Drift of the beam along x in an hour of acquiring, pixels.

    Raises
    ------
    ConfigError
        Naming the option that cannot be.

    Examples
    --------
    >>> Imperfections(blur_px=1.0).to_json()
    {'blur_px': 1.0}
    >>> Imperfections.from_json({"blur_px": 1.0}).any
    True
    """

    blur_px: float | None = None
    pitch_um: float | None = None
    topography: float = 0.0
    patch: float = 0.15
    contamination: float = 0.0
    scatter: float = 0.0
    gradient: float = 0.0
    gain_per_h: float = 0.0
    offset_ev_per_h: float = 0.0
    beam_drift_px_per_h: float = 0.0

    def __post_init__(self) -> None:
        bounds = {
            "blur_px": (0.0, 50.0), "pitch_um": (1e-4, 1e3), "topography": (0.0, 0.9), "patch": (0.01, 1.0),
            "contamination": (0.0, 1.0), "scatter": (0.0, 0.3), "gradient": (0.0, 0.9), "gain_per_h": (-0.05, 0.05),
            "offset_ev_per_h": (-100.0, 100.0), "beam_drift_px_per_h": (-1e3, 1e3),
        }  # fmt: skip
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if value is None and name in ("blur_px", "pitch_um"):
                continue
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (number and math.isfinite(value) and low <= value <= high):
                raise ConfigError(f"imperfections: {name} must be {low:g} to {high:g}, not {value!r}")

    @property
    def any(self) -> bool:
        """Whether any is on."""
        return bool(self.to_json())

    def to_json(self) -> dict[str, float]:
        """Those that are not at their defaults, for a start document."""
        usual = {f.name: f.default for f in fields(self)}
        return {name: value for name, value in asdict(self).items() if value != usual[name]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | None) -> Imperfections:
        """Read what `to_json` gave; None: all off. ConfigError naming an option that there is not."""
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(data or {}) - known):
            raise ConfigError(
                f"imperfections: no option '{unknown[0]}'; there are {', '.join(sorted(known))}"
            )
        return cls(**dict(data or {}))


ALL = Imperfections(
    pitch_um=0.3,
    topography=0.3,
    contamination=0.02,
    scatter=0.03,
    gradient=0.2,
    gain_per_h=1e-4,
    offset_ev_per_h=1.0,
    beam_drift_px_per_h=0.5,
)
"""All of them, as a field-emission SEM with a silicon drift detector has them at 15 kV. The pixels are 0.3 µm, at
which the interaction volume is half a pixel (tin) to one and a half (the powder)."""


def imperfections_of(all_of_them: bool, blur_px: float | None = None) -> Imperfections:
    """Return all imperfections or none, with an interaction volume of `blur_px` pixels if that is given.

    Examples
    --------
    >>> imperfections_of(False, 1.0).to_json()
    {'blur_px': 1.0}
    """
    made = ALL if all_of_them else Imperfections()
    return made if blur_px is None or (blur_px == 0 and not all_of_them) else replace(made, blur_px=blur_px)
