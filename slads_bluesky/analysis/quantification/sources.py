"""Spectra to quantify and standards to compare with, from files and from recorded maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ConfigError, DataError
from ...spectra.axis import EnergyAxis
from ...spectra.io.formats import read_signals
from ...spectra.io.maps import read_map
from ...spectra.io.measured import MeasuredSpectra
from ..areas import phase_sums
from ..run_data import RunData
from .geometry import NOMINAL_SD, Conditions, is_nominal
from .quantify import quantify
from .result import Quantification
from .standards import Standard

__all__ = ["conditions_of_file", "quantify_file", "quantify_phases", "read_standard", "summed_signals"]

Given = Mapping[str, float | None]
"""Values by the user's option that stand above a file's own: beam_energy_kev, takeoff_deg, dose_nc, resolution_ev,
dose_scale_sd."""


def conditions_of_file(found: MeasuredSpectra, given: Given | None = None) -> Conditions:
    """Conditions of a spectrum: what the user gives, else the file's header, else those of `Conditions`.

    Parameters
    ----------
    found : MeasuredSpectra
    given : mapping, optional
        ``beam_energy_kev``, ``takeoff_deg``, ``dose_nc``, ``resolution_ev``, ``dose_scale_sd``; None counts as not
        given. A current of the header with at most two digits counts as nominal (`is_nominal`).

    Raises
    ------
    ConfigError
        If neither says the beam energy.
    """
    own = {name: value for name, value in (given or {}).items() if value is not None}
    default = Conditions()
    beam = own.get("beam_energy_kev", found.beam_energy_kev)
    if beam is None:
        raise ConfigError(f"{found.path}: holds no beam energy; give one (--beam-energy)")
    dose, scale_sd = own.get("dose_nc"), 0.0
    if dose is None and found.current_na is not None and found.live_time_s is not None:
        dose = found.current_na * found.live_time_s * len(found.counts)
        scale_sd = NOMINAL_SD if is_nominal(found.current_na) else 0.0
    takeoff = own.get("takeoff_deg", found.takeoff_deg)
    resolution = own.get("resolution_ev", found.resolution_ev)
    detector = default.detector
    if resolution is not None:
        detector = replace(detector, resolution_ev=float(resolution))
    return Conditions(
        float(beam),
        float(takeoff) if takeoff is not None else default.takeoff_deg,
        float(dose) if dose is not None else None,
        detector=detector,
        dose_scale_sd=float(own.get("dose_scale_sd", scale_sd) or 0.0),
        current_na=found.current_na,
    )


def summed_signals(path: str | Path) -> list[MeasuredSpectra]:
    """Read every signal of a file: a map or a series as it is, one row a pixel.

    Raises
    ------
    ConfigError, DataError
        Naming the file and what is wrong with it.
    """
    path = Path(path)
    if path.suffix.lower() != ".npz":
        return read_signals(path)
    found = read_map(path)
    counts = found.spectra.astype(np.float64)
    return [MeasuredSpectra(counts, found.axis, None, None, None, None, None, path.stem, path)]


def quantify_file(
    path: str | Path, *, given: Given | None = None, **options: Any
) -> Iterator[tuple[str, Quantification]]:
    """Quantify the sum of each signal of a file.

    Parameters
    ----------
    path : path
    given : mapping, optional
        As of `conditions_of_file`.
    **options
        Those of `quantify`.

    Yields
    ------
    tuple of (str, Quantification)
        Title and result.

    Raises
    ------
    ConfigError, DataError
        Naming the file and what is wrong with it.
    """
    for signal in summed_signals(path):
        conditions = conditions_of_file(signal, given)
        try:
            yield signal.title, quantify(signal.counts.sum(axis=0), signal.axis, conditions, **options)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error


def read_standard(text: str, given: Given | None = None) -> Standard:
    """Read a standard as the command line names it: ``FILE=COMPOSITION`` or ``FILE=COMPOSITION:ELEMENTS``.

    Parameters
    ----------
    text : str
        Such as ``"sio2.msa=SiO2:Si,O"``; the composition is a formula, or mass fractions ``Pb0.38Sn0.62``.
    given : mapping, optional
        As of `conditions_of_file`; the dose is the file's own.

    Raises
    ------
    ConfigError, DataError
        Naming the text, the file or the element.
    """
    name, sign, rest = text.rpartition("=")
    if not (sign and name and rest):
        raise ConfigError(f"a standard is FILE=COMPOSITION or FILE=COMPOSITION:ELEMENTS, not {text!r}")
    composition, _, elements = rest.partition(":")
    signals = summed_signals(Path(name))
    if len(signals) != 1:
        raise DataError(f"{name}: holds {len(signals)} signals, a standard is one")
    signal = signals[0]
    own = {key: value for key, value in (given or {}).items() if key != "dose_nc"}
    return Standard.measure(
        signal.counts.sum(axis=0),
        signal.axis,
        composition,
        conditions_of_file(signal, own),
        elements=[e.strip() for e in elements.split(",")] if elements else None,
        name=f"{composition} ({Path(name).name})",
    )


def quantify_phases(
    data: RunData, conditions: Conditions, **options: Any
) -> dict[int, tuple[float, Quantification]]:
    """Quantify the summed spectrum of each phase of a map.

    Parameters
    ----------
    data : RunData
        With its spectra and an energy calibration.
    conditions : Conditions
        Its dose is replaced by each phase's own, where the map has one.
    **options
        Those of `quantify`.

    Returns
    -------
    dict
        By label: the counts of the sum, and the result. Phases with too few counts are left out.

    Raises
    ------
    RecordError
        If the map has no spectra or no energy calibration.
    """
    spectra = data.calibrated_spectra()
    axis = EnergyAxis(data.energy_offset_kev, data.energy_width_kev, spectra.shape[1])
    out = {}
    for label, counts in phase_sums(data).items():
        which = data.votes == label
        dose = float(np.nansum(data.dose_nc[which]))
        own = replace(conditions, dose_nc=dose if dose > 0 else None)
        try:
            out[label] = (float(counts.sum()), quantify(counts, axis, own, **options))
        except DataError:
            continue
    return out
