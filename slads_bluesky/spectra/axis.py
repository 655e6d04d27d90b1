"""The energy axis of a spectrum: which channel holds which X-ray energy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, DataError

__all__ = ["EnergyAxis"]

MAX_CHANNELS = 65536


@dataclass(frozen=True, eq=False)
class EnergyAxis:
    """A linear energy scale: the middle of channel i lies at ``offset_kev + i * width_kev``.

    Two axes are equal when no channel differs by more than a hundredth of a channel; so files that round their
    calibration still match, and a different calibration does not.

    Parameters
    ----------
    offset_kev : float
        Energy of the middle of channel 0, in keV; may be negative.
    width_kev : float
        Width of a channel in keV.
    n_channels : int
        Number of channels.

    Raises
    ------
    ConfigError
        If a value is not finite, the width not positive, or the number of channels not in 8 … 65536.
    """

    offset_kev: float
    width_kev: float
    n_channels: int

    def __post_init__(self) -> None:
        if not math.isfinite(self.offset_kev):
            raise ConfigError(f"energy axis: the offset must be finite, not {self.offset_kev} keV")
        if not (math.isfinite(self.width_kev) and self.width_kev > 0):
            raise ConfigError(f"energy axis: the channel width must be positive, not {self.width_kev} keV")
        if int(self.n_channels) != self.n_channels or not 8 <= self.n_channels <= MAX_CHANNELS:
            raise ConfigError(
                f"energy axis: the number of channels must be 8 to {MAX_CHANNELS}, not {self.n_channels}"
            )

    @classmethod
    def phenom(cls) -> EnergyAxis:
        """The axis of this project: 2040 channels of 10 eV from -50 eV, much as on a Phenom ProX."""
        return cls(-0.05, 0.01, 2040)

    def energies(self) -> NDArray[np.float64]:
        """Middle of each channel, (n_channels,) in keV."""
        return self.offset_kev + self.width_kev * np.arange(self.n_channels, dtype=np.float64)

    def edges(self) -> NDArray[np.float64]:
        """Lower and upper ends of the channels, (n_channels + 1,) in keV."""
        return self.offset_kev + self.width_kev * (np.arange(self.n_channels + 1, dtype=np.float64) - 0.5)

    def require(self, other: EnergyAxis, what: str) -> None:
        """Raise DataError naming `what` and both values unless `other` is this axis."""
        if self.n_channels != other.n_channels:
            raise DataError(f"{what}: {other.n_channels} channels, expected {self.n_channels}")
        if self != other:
            raise DataError(
                f"{what}: energy axis of {other.offset_kev * 1e3:.4g} eV + i × {other.width_kev * 1e3:.6g} eV, "
                f"expected {self.offset_kev * 1e3:.4g} eV + i × {self.width_kev * 1e3:.6g} eV"
            )

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, for model files and start documents."""
        return {
            "offset_kev": float(self.offset_kev),
            "width_kev": float(self.width_kev),
            "n_channels": int(self.n_channels),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> EnergyAxis:
        """Return the axis that `to_json` described; ConfigError naming what is missing or wrong."""
        try:
            return cls(float(data["offset_kev"]), float(data["width_kev"]), int(data["n_channels"]))
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"energy axis description cannot be read: {error!r}") from error

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EnergyAxis):
            return NotImplemented
        if self.n_channels != other.n_channels:
            return False
        first = abs(self.offset_kev - other.offset_kev)
        last = abs(
            self.offset_kev - other.offset_kev + (self.width_kev - other.width_kev) * (self.n_channels - 1)
        )
        return max(first, last) <= 0.01 * self.width_kev

    __hash__ = None  # type: ignore[assignment]  # equality within a tolerance has no hash
