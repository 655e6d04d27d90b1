"""A window of channels around one line of an element: what its counts say first, before any fit."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import ConfigError
from ..axis import EnergyAxis
from .composition import atomic_number
from .lines import element_lines

__all__ = ["element_windows"]

LINES = ("KL3", "L3M5", "M5N7")
"""Lines that stand for an element: the first that the beam excites well and the detector sees."""
LOWEST_KEV = 0.25
OVERVOLTAGE = 1.5
HALF_WIDTH_KEV = 0.07
WIDER_PER_KEV = 0.006


def element_windows(
    symbols: Sequence[str], axis: EnergyAxis, beam_energy_kev: float = 15.0
) -> dict[str, tuple[int, int]]:
    """Channels, first and last, around a line of each element.

    Parameters
    ----------
    symbols : sequence of str
    axis : EnergyAxis
    beam_energy_kev : float

    Raises
    ------
    ConfigError
        Naming an element that has no line that the beam excites and the detector sees.

    Examples
    --------
    >>> from slads_bluesky.spectra.axis import EnergyAxis
    >>> element_windows(["Si", "Fe"], EnergyAxis(0.0, 0.01, 1500))
    {'Si': (166, 182), 'Fe': (630, 651)}
    """
    if not symbols:
        raise ConfigError("the target 'elements' needs the elements to map, such as Na, Al, Ca")
    out = {}
    for symbol in symbols:
        found = element_lines(atomic_number(symbol))
        for name in LINES:
            if name not in found.names:
                continue
            i = found.names.index(name)
            energy, edge = float(found.energy_kev[i]), float(found.edge_kev[found.shell[i]])
            half = HALF_WIDTH_KEV + WIDER_PER_KEV * energy
            first, last = (
                round((energy + side * half - axis.offset_kev) / axis.width_kev) for side in (-1, 1)
            )
            if (
                energy > LOWEST_KEV
                and OVERVOLTAGE * edge < beam_energy_kev
                and 0 <= first < last < axis.n_channels
            ):
                out[symbol] = (first, last)
                break
        else:
            raise ConfigError(
                f"{symbol} has no line that {beam_energy_kev:g} keV excite well and the detector sees"
            )
    return out
