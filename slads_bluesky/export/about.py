"""What the formats have in common: elements, the detector's geometry, a file that appears whole."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

from ..analysis.run_data import RunData
from ..simulated import simulated_object

__all__ = ["Acquisition", "acquisition", "elements_in", "elements_of", "image_extents", "image_note"]

_SYMBOL = re.compile(r"([A-Z][a-z]?)(\d+(?:\.\d+)?)?")


class Acquisition(dict[str, Any]):
    """Settings by the field's words, in keV, nA, mm, degrees, eV; only what is known."""


def acquisition(data: RunData) -> Acquisition:
    """Gather the settings of a map's acquisition.

    Beam energy and current come from the stream ``baseline``, elevation angle and resolution at Mn Kα from the
    detector's configuration or the start document. Of a simulated object they are those of the simulation.

    Parameters
    ----------
    data : RunData

    Returns
    -------
    Acquisition
        ``beam_energy``, ``beam_current``, ``working_distance``, ``magnification``, ``elevation_angle``,
        ``energy_resolution_MnKa``.
    """
    out = Acquisition()
    for ours, theirs in (
        ("high_voltage", "beam_energy"),
        ("current", "beam_current"),
        ("working_distance", "working_distance"),
        ("magnification", "magnification"),
    ):
        value = data.setting(ours)
        if value is not None:
            out[theirs] = float(value)
    simulated: dict[str, float] = {}
    if simulated_object(data.start) is not None:
        from ..spectra.physics.detector import Detector

        simulated = {"elevation_angle": TAKE_OFF_DEG, "energy_resolution": Detector().resolution_ev}
    for ours, theirs in (
        ("elevation_angle", "elevation_angle"),
        ("energy_resolution", "energy_resolution_MnKa"),
    ):
        value = data.configured(ours)
        if value is None:
            value = data.start.get(ours, simulated.get(ours, math.nan))
        if not math.isnan(float(value)):
            out[theirs] = float(value)
    return out


def image_extents(data: RunData) -> tuple[tuple[float, float], tuple[float, float]]:
    """First and last position, µm, of the rows and of the columns of a map's image, by its displacement.

    Of an image that was not used they are the grid's: nothing is known of a displacement then.
    """
    y, x = data.image_displacement or (0.0, 0.0)
    dy, dx = data.grid.step_um
    (y0, y1), (x0, x1) = data.grid.extents_um
    return (y0 - y * dy, y1 - y * dy), (x0 - x * dx, x1 - x * dx)


def image_note(data: RunData) -> str:
    """Say in a line what a map's image was for, and where it lies under the map."""
    if data.image_displacement is None:
        return "image recorded before the map, not used by it"
    y, x = data.image_displacement
    return f"image that guided the map: pixel (r, c) of the map lies at (r {y:+g}, c {x:+g}) in it"


TAKE_OFF_DEG = 28.5
"""Take-off angle of the simulated detector, the default of `slads_bluesky.spectra.expected_counts`."""


def elements_of(data: RunData) -> list[str]:
    """Symbols of the elements in the phases, sorted.

    Those that the start document names (``elements``), else those in the names of the phases that read as
    formulas, such as ``CaO`` or ``Pb-Sn``. One element with a number, such as ``K412``, is the name of a sample.
    """
    if data.start.get("elements"):
        return sorted(map(str, data.start["elements"]))
    return elements_in(data.phases)


def elements_in(phases: Iterable[str]) -> list[str]:
    """Symbols of the elements in names of phases that read as formulas, sorted.

    Examples
    --------
    >>> elements_in(["CaO", "Pb-Sn", "matrix"])
    ['Ca', 'O', 'Pb', 'Sn']
    """
    import xraylib

    known = {xraylib.AtomicNumberToSymbol(z) for z in range(1, 99)}
    found: set[str] = set()
    for phase in phases:
        parts = [part for part in re.split(r"[-·+ ]", phase) if part]
        symbols = [match[1] for part in parts for match in _SYMBOL.finditer(part)]
        spelled = "".join(match[0] for part in parts for match in _SYMBOL.finditer(part))
        numbered = len(symbols) == 1 and spelled != symbols[0]
        if spelled == "".join(parts) and known.issuperset(symbols) and not numbered:
            found.update(symbols)
    return sorted(found)
