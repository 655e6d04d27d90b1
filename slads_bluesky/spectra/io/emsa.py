"""One spectrum in an EMSA/MAS file (.msa, .emsa): the reader and the writer.

Source: R. F. Egerton et al., "EMSA/MAS standard file format for spectral data exchange", EMSA Bulletin 21 (1991) 35;
ISO 22029.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError, DataError
from ...files import atomic_write
from ..axis import EnergyAxis
from .measured import MeasuredSpectra

__all__ = ["read_emsa", "write_emsa"]

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


def read_emsa(path: str | Path) -> MeasuredSpectra:
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


def write_emsa(
    path: str | Path,
    counts: NDArray[np.integer],
    axis: EnergyAxis,
    *,
    title: str,
    when: datetime,
    live_time_s: float | None = None,
    real_time_s: float | None = None,
    beam_energy_kev: float | None = None,
    current_na: float | None = None,
    takeoff_deg: float | None = None,
    magnification: float | None = None,
    comment: str = "",
) -> Path:
    """Write one spectrum.

    Parameters
    ----------
    path : path
        An existing file is replaced.
    counts : (n_channels,) integer array
    axis : EnergyAxis
    title : str
        Its first 64 characters are written.
    when : datetime
        Of the acquisition.
    live_time_s, real_time_s, beam_energy_kev, current_na, takeoff_deg, magnification : float, optional
        Fields that are None or NaN are left out.
    comment : str

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    ConfigError
        Naming `path`, if it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from datetime import UTC, datetime
    >>> import numpy as np
    >>> from slads_bluesky.spectra.axis import EnergyAxis
    >>> from slads_bluesky.spectra.io.emsa import read_emsa, write_emsa
    >>> path = Path(tempfile.mkdtemp()) / "iron.msa"
    >>> _ = write_emsa(path, np.arange(100), EnergyAxis(0.0, 0.01, 100), title="iron", when=datetime.now(UTC))
    >>> read_emsa(path).counts.sum()
    4950.0
    """
    path = Path(path)
    optional = {
        "LIVETIME  -s": live_time_s,
        "REALTIME  -s": real_time_s,
        "BEAMKV   -kV": beam_energy_kev,
        "PROBECUR -nA": current_na,
        "ELEVANGLE-dg": takeoff_deg,
        "MAGCAM": magnification,
    }
    fields: dict[str, object] = {
        "FORMAT": "EMSA/MAS Spectral Data File",
        "VERSION": "1.0",
        "TITLE": " ".join(title.split())[:64],
        "DATE": f"{when.day:02d}-{MONTHS[when.month - 1]}-{when.year}",
        "TIME": f"{when:%H:%M}",
        "OWNER": "slads-bluesky",
        "NPOINTS": axis.n_channels,
        "NCOLUMNS": 1,
        "XUNITS": "keV",
        "YUNITS": "counts",
        "DATATYPE": "Y",
        "XPERCHAN": f"{axis.width_kev:.9g}",
        "OFFSET": f"{axis.offset_kev:.9g}",
        "SIGNALTYPE": "EDS",
    }
    fields |= {
        name: f"{value:.6g}" for name, value in optional.items() if value is not None and math.isfinite(value)
    }
    if comment:
        fields["COMMENT"] = comment
    lines = [f"#{name:<12s}: {value}" for name, value in fields.items()]
    lines += ["#SPECTRUM    : Spectral Data Starts Here", *(f"{n:.1f}," for n in counts)]
    text = "\r\n".join([*lines, "#ENDOFDATA   : End Of Data and File", ""])
    with atomic_write(path) as partial:
        partial.write_bytes(text.encode("utf-8"))
    return path
