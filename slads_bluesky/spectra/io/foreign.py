"""Spectra in the formats of instruments and of HyperSpy, through the optional rosettasciio.

rosettasciio (GPL-3) is imported only when one of its formats is read, and is no dependency.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ConfigError, DataError
from ..axis import EnergyAxis
from .measured import MeasuredSpectra

__all__ = ["foreign_signals", "read_foreign"]


def foreign_signals(path: Path) -> list[Mapping[str, Any]]:
    """Read what rosettasciio finds in a file.

    Returns
    -------
    list of dict
        ``data``, ``axes`` and ``metadata`` each, as its readers give them.

    Raises
    ------
    ConfigError
        If rosettasciio is not installed, or does not know the extension.
    DataError
        If it cannot read the file.
    """
    suffix = path.suffix.lower()
    try:
        plugins = importlib.import_module("rsciio").IO_PLUGINS
    except ImportError as error:
        raise ConfigError(
            f"{path}: reading {suffix} needs the optional extra, pip install 'slads-bluesky[hyperspy]'"
        ) from error
    plugin = next((p for p in plugins if suffix[1:] in p["file_extensions"]), None)
    if plugin is None:
        raise ConfigError(f"{path}: the installed rosettasciio does not read {suffix}")
    try:
        return list(importlib.import_module(plugin["api"]).file_reader(str(path)))
    except Exception as error:  # a reader of foreign files fails in every way there is
        raise DataError(f"{path}: rosettasciio cannot read it ({type(error).__name__}: {error})") from error


def read_foreign(path: Path) -> MeasuredSpectra:
    """Read the spectra in a file of a format that rosettasciio knows; DataError naming file and field."""
    signals = foreign_signals(path)
    found: list[MeasuredSpectra] = []
    for signal in signals:
        energy = [a for a in signal["axes"] if str(a.get("units", "")).lower() in ("kev", "ev")]
        if len(energy) == 1:
            found.append(_from_signal(path, signal, energy[0]))
    if not found:
        raise DataError(f"{path}: holds no signal with an energy axis in eV or keV")
    # A Phenom project holds several spots: those like the first belong together, a map in the same project does not.
    alike = [s.counts for s in found if s.axis == found[0].axis and len(s.counts) == len(found[0].counts)]
    return replace(found[0], counts=np.concatenate(alike))


def _from_signal(path: Path, signal: Mapping[str, Any], energy: Mapping[str, Any]) -> MeasuredSpectra:
    to_kev = 1e-3 if str(energy["units"]).lower() == "ev" else 1.0
    data = np.asarray(signal["data"])
    place = list(signal["axes"]).index(energy)
    counts = np.moveaxis(data, place, -1).reshape(-1, data.shape[place]).astype(np.float64)
    if not np.isfinite(counts).all() or counts.min() < 0:
        raise DataError(f"{path}: field data holds counts that are negative or not finite")
    try:
        axis = EnergyAxis(
            float(energy.get("offset", 0.0)) * to_kev, float(energy["scale"]) * to_kev, data.shape[place]
        )
    except (ConfigError, KeyError) as error:
        raise DataError(f"{path}: field axes: {error}") from error
    sem = _walk(signal.get("metadata", {}), "Acquisition_instrument", "SEM") or {}
    eds = _walk(sem, "Detector", "EDS") or {}

    def value(group: Mapping[str, Any], name: str) -> float | None:
        found = group.get(name)
        return float(found) if isinstance(found, (int, float)) and found > 0 else None

    title = _walk(signal.get("metadata", {}), "General", "title")
    return MeasuredSpectra(
        counts,
        axis,
        value(sem, "beam_energy"),
        value(eds, "live_time"),
        value(eds, "real_time"),
        value(sem, "beam_current"),
        value(eds, "elevation_angle"),
        str(title or path.stem),
        path,
    )


def _walk(tree: Any, *names: str) -> Any:
    for name in names:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree
