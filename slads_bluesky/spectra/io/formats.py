"""Measured spectra from files: EMSA/MAS (.msa, .emsa) by our own reader, others through the optional rosettasciio.

Sources: R. F. Egerton et al., "EMSA/MAS standard file format for spectral data exchange", EMSA Bulletin 21 (1991) 35,
ISO 22029. rosettasciio (GPL-3) is imported only when one of its formats is read, and is no dependency.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError, DataError
from ..axis import EnergyAxis

__all__ = ["FORMATS", "MeasuredSpectra", "foreign_signals", "read_msa", "read_spectra"]

FORMATS = (".msa", ".emsa", ".hspy", ".zspy", ".elid", ".spx", ".bcf")
"""Extensions that `read_spectra` takes; all but the first two need rosettasciio."""


@dataclass(frozen=True, eq=False)
class MeasuredSpectra:
    """Spectra from one file.

    Parameters
    ----------
    counts : (M, n_channels) float64
        One row a spectrum; a map has a row a pixel.
    axis : EnergyAxis
    beam_kev, live_time_s, real_time_s, current_na, takeoff_deg : float or None
        None where the file does not say.
    title : str
    path : Path
    """

    counts: NDArray[np.float64]
    axis: EnergyAxis
    beam_kev: float | None
    live_time_s: float | None
    real_time_s: float | None
    current_na: float | None
    takeoff_deg: float | None
    title: str
    path: Path


def read_spectra(path: str | Path) -> MeasuredSpectra:
    """Read a file of any format in `FORMATS`.

    Raises
    ------
    ConfigError
        If the extension is unknown, or its reader is not installed.
    DataError
        Naming the file and the field that is missing or wrong.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise ConfigError(f"{path}: {suffix or 'no extension'} is none of {', '.join(FORMATS)}")
    if not path.is_file() and suffix != ".zspy":
        raise DataError(f"{path}: there is no such file")
    return read_msa(path) if suffix in (".msa", ".emsa") else _read_by_rosettasciio(path)


# ---- EMSA/MAS


def read_msa(path: str | Path) -> MeasuredSpectra:
    """Read one spectrum from an EMSA/MAS file; DataError names the file and the field that is missing or wrong."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if not text.strip():
        raise DataError(f"{path}: the file is empty")
    header, rows, complete = _split(text)
    if not header.get("FORMAT", "").upper().startswith("EMSA/MAS"):
        raise DataError(f"{path}: field FORMAT is {header.get('FORMAT')!r}, not EMSA/MAS")
    unit = header.get("XUNITS", "eV").strip().lower()
    if unit not in ("ev", "kev"):
        raise DataError(f"{path}: field XUNITS is {header['XUNITS']!r}, neither eV nor keV")
    to_kev = 1e-3 if unit == "ev" else 1.0
    n_points = _number(path, header, "NPOINTS")
    if n_points != int(n_points) or n_points < 1:
        raise DataError(f"{path}: field NPOINTS must be a whole number of 1 or more, not {n_points:g}")
    width = _number(path, header, "XPERCHAN") * to_kev
    offset = _number(path, header, "OFFSET", 0.0) * to_kev
    counts = _data(path, header, rows, int(n_points), complete)
    if counts.min() < 0:
        raise DataError(f"{path}: field SPECTRUM holds negative counts ({counts.min():g})")
    try:
        axis = EnergyAxis(offset, width, int(n_points))
    except ConfigError as error:
        raise DataError(f"{path}: fields OFFSET, XPERCHAN, NPOINTS: {error}") from error
    return MeasuredSpectra(
        counts[None],
        axis,
        _positive(path, header, "BEAMKV"),
        _positive(path, header, "LIVETIME"),
        _positive(path, header, "REALTIME"),
        _positive(path, header, "PROBECUR"),
        _positive(path, header, "ELEVANGLE"),
        header.get("TITLE", path.stem),
        path,
    )


def _split(text: str) -> tuple[dict[str, str], list[str], bool]:
    """Header fields (upper case, without units in the name), data lines, and whether the end mark was there."""
    header: dict[str, str] = {}
    rows: list[str] = []
    in_data = False
    for raw in text.splitlines():
        line = raw.strip()
        if not line.startswith("#"):
            if in_data and line:
                rows.append(line)
            continue
        if line.startswith("##") and not in_data:
            continue  # a vendor's own field
        name, _, value = line.lstrip("#").partition(":")
        name = name.strip().upper().split("-")[0].strip()
        if name == "SPECTRUM":
            in_data = True
        elif name == "ENDOFDATA":
            return header, rows, True
        elif not in_data and name:
            header[name] = value.strip()
    return header, rows, False


def _number(path: Path, header: Mapping[str, str], name: str, default: float | None = None) -> float:
    if name not in header:
        if default is not None:
            return default
        raise DataError(f"{path}: field {name} is missing")
    try:
        value = float(header[name].split()[0].rstrip(","))
    except (ValueError, IndexError):
        raise DataError(f"{path}: field {name} is {header[name]!r}, not a number") from None
    if not math.isfinite(value):
        raise DataError(f"{path}: field {name} must be finite, not {value}")
    return value


def _positive(path: Path, header: Mapping[str, str], name: str) -> float | None:
    """Return an optional field; zero and less mean that the instrument did not know."""
    if not header.get(name):
        return None
    value = _number(path, header, name)
    return value if value > 0 else None


def _data(
    path: Path, header: Mapping[str, str], rows: list[str], n_points: int, complete: bool
) -> NDArray[np.float64]:
    columns = [row.replace(",", " ").split() for row in rows]
    try:
        if header.get("DATATYPE", "Y").strip().upper() == "XY":
            values = [float(row[1]) for row in columns]
        else:
            values = [float(word) for row in columns for word in row]
    except (ValueError, IndexError) as error:
        raise DataError(f"{path}: field SPECTRUM holds what is not a number ({error})") from error
    if len(values) != n_points:
        cut = "" if complete else ", and ENDOFDATA is missing: truncated"
        raise DataError(f"{path}: field SPECTRUM holds {len(values)} values, NPOINTS says {n_points}{cut}")
    if not complete:  # the last number may have lost digits
        raise DataError(f"{path}: field ENDOFDATA is missing: truncated")
    counts = np.array(values)
    if not np.isfinite(counts).all():
        raise DataError(f"{path}: field SPECTRUM holds counts that are not finite")
    return counts


# ---- through rosettasciio


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


def _read_by_rosettasciio(path: Path) -> MeasuredSpectra:
    signals = foreign_signals(path)
    found: list[MeasuredSpectra] = []
    for signal in signals:
        energy = [a for a in signal["axes"] if str(a.get("units", "")).lower() in ("kev", "ev")]
        if len(energy) == 1:
            found.append(_from_signal(path, signal, energy[0]))
    if not found:
        raise DataError(f"{path}: holds no signal with an energy axis in eV or keV")
    # A Phenom project holds several spots: those like the first belong together, a map beside them does not.
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
