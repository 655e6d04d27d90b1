"""Spectra in the formats of instruments and of HyperSpy, through the optional rosettasciio.

rosettasciio (GPL-3) is imported only when one of its formats is read, and is no dependency.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ConfigError, DataError
from ..axis import EnergyAxis
from ..physics.composition import is_symbol
from .measured import MeasuredSpectra, checked_counts

__all__ = ["energy_axis_of", "foreign_signals", "read_foreign"]


OPTIONS: Mapping[str, Mapping[str, Any]] = {".pts": {"SI_dtype": np.uint16}}
"""What a reader is asked for besides the file; its own type for .pts holds 254 counts in a channel of a pixel."""
DIFFERENCE = re.compile(r"(^|, )Difference \d+ - \d+$")
"""Title of a Phenom project's entry that is the difference of two spectra."""


def foreign_signals(path: Path) -> list[Mapping[str, Any]]:
    """Read the SEM-EDS signals that rosettasciio finds in a file.

    Returns
    -------
    list of dict
        ``data``, ``axes`` and ``metadata`` each, as its readers give them; what a reader only maps (Phenom) is put
        into the metadata. Images are left out, and "Difference" entries of a Phenom project: they are no counts.

    Raises
    ------
    ConfigError
        If rosettasciio is not installed, or does not know the extension.
    DataError
        If it cannot read the file, or the file holds another signal than SEM-EDS: its name is in the message.
    """
    suffix = path.suffix.lower()
    try:
        plugins = import_module("rsciio").IO_PLUGINS
    except ImportError as error:
        raise ConfigError(
            f"{path}: reading {suffix} needs the optional extra, pip install 'slads-bluesky[hyperspy]'"
        ) from error
    plugin = next((p for p in plugins if suffix[1:] in p["file_extensions"]), None)
    if plugin is None:
        raise ConfigError(f"{path}: the installed rosettasciio does not read {suffix}")
    try:
        signals = list(import_module(plugin["api"]).file_reader(str(path), **OPTIONS.get(suffix, {})))
    except ImportError as error:
        raise ConfigError(
            f"{path}: reading it needs {error.name}, pip install 'slads-bluesky[hyperspy]'"
        ) from error
    except Exception as error:  # a reader of foreign files fails in every way there is
        raise DataError(f"{path}: rosettasciio cannot read it ({type(error).__name__}: {error})") from error
    spectral = [_mapped(s) for s in signals if energy_axis_of(s) is not None]
    if suffix == ".spd" and not spectral and not path.with_suffix(".spc").is_file():
        raise DataError(
            f"{path}: its energy scale stands in {path.with_suffix('.spc').name}, which is missing"
        )
    counted = [s for s in spectral if not DIFFERENCE.search(_title(s))]
    wanted = [s for s in counted if _kind(s) in ("EDS_SEM", "EDS", "")]
    if counted and not wanted:
        raise DataError(f"{path}: holds a signal of type {_kind(counted[0])!r}, not a SEM-EDS spectrum")
    return wanted


def energy_axis_of(signal: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the one axis of a signal in eV or keV, if it has one."""
    found = [axis for axis in signal["axes"] if str(axis.get("units", "")).lower() in ("kev", "ev")]
    return found[0] if len(found) == 1 else None


def read_foreign(path: Path) -> list[MeasuredSpectra]:
    """Read each signal of a file with its own title, beam energy and times; DataError naming file and field."""
    found = [_from_signal(path, signal) for signal in foreign_signals(path)]
    if not found:
        raise DataError(f"{path}: holds no signal with an energy axis in eV or keV")
    return found


def _from_signal(path: Path, signal: Mapping[str, Any]) -> MeasuredSpectra:
    energy = energy_axis_of(signal)
    assert energy is not None
    to_kev = 1e-3 if str(energy["units"]).lower() == "ev" else 1.0
    data = np.asarray(signal["data"])
    place = list(signal["axes"]).index(energy)
    counts = np.moveaxis(data, place, -1).reshape(-1, data.shape[place]).astype(np.float64)
    checked_counts(path, "data", counts)
    try:
        axis = EnergyAxis(
            float(energy.get("offset", 0.0)) * to_kev, float(energy["scale"]) * to_kev, data.shape[place]
        )
    except (ConfigError, KeyError) as error:
        raise DataError(f"{path}: field axes: {error}") from error
    metadata = signal.get("metadata", {})
    sem = _walk(metadata, "Acquisition_instrument", "SEM") or {}
    eds = _walk(sem, "Detector", "EDS") or {}
    elements = _walk(metadata, "Sample", "elements")
    return MeasuredSpectra(
        counts,
        axis,
        _value(sem, "beam_energy"),
        _value(eds, "live_time"),
        _value(eds, "real_time"),
        _value(sem, "beam_current"),
        _value(eds, "elevation_angle"),
        _title(signal) or path.stem,
        path,
        tuple(e for e in map(str, elements if elements is not None else ()) if is_symbol(e)),
        _value(eds, "energy_resolution_MnKa"),
    )


def _value(group: Mapping[str, Any], name: str) -> float | None:
    """Return a positive number of any numeric type, numpy's included; None if there is no such."""
    found = group.get(name)
    found = found.item() if isinstance(found, np.ndarray) and found.size == 1 else found
    if not isinstance(found, (Real, np.number)) or isinstance(found, (bool, np.bool_)):
        return None
    value = float(found)
    return value if value > 0 else None


def _mapped(signal: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the signal with the values that its reader only maps put into the metadata."""
    metadata: dict[str, Any] = _copied(signal.get("metadata", {}))
    for source, (target, convert) in (signal.get("mapping") or {}).items():
        value = _walk(signal.get("original_metadata", {}), *source.split("."))
        if value is None:
            continue
        *groups, name = target.split(".")
        group = metadata
        for key in groups:
            group = group.setdefault(key, {})
        try:
            group.setdefault(name, convert(value) if convert is not None else value)
        except (TypeError, ValueError):
            continue  # a value that the reader's own conversion does not take is as good as none
    return {**signal, "metadata": metadata}


def _copied(tree: Any) -> Any:
    return {k: _copied(v) for k, v in tree.items()} if isinstance(tree, Mapping) else tree


def _title(signal: Mapping[str, Any]) -> str:
    return str(_walk(signal.get("metadata", {}), "General", "title") or "")


def _kind(signal: Mapping[str, Any]) -> str:
    return str(_walk(signal.get("metadata", {}), "Signal", "signal_type") or "")


def _walk(tree: Any, *names: str) -> Any:
    for name in names:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree
