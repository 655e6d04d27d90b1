"""One spectrum in an EMSA/MAS file (.msa, .emsa): the reader and the writer.

Source: R. F. Egerton et al., "EMSA/MAS standard file format for spectral data exchange", EMSA Bulletin 21 (1991) 35;
ISO 22029.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError, DataError
from ...files import atomic_write
from ..axis import EnergyAxis
from ..physics.composition import is_symbol, symbol_of
from .measured import MeasuredSpectra, checked_counts

__all__ = ["read_emsa", "write_emsa"]

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
UNIT = " unit"
SEM_KV = 60.0
"""Highest acceleration voltage of a scanning electron microscope, with some margin."""
SIGNALS = {
    "ELS": "electron energy loss", "EEL": "electron energy loss", "WDS": "wavelength-dispersive X-rays",
    "AES": "Auger electrons", "PES": "photoelectrons", "XRF": "X-ray fluorescence", "CLS": "cathodoluminescence",
    "GAM": "gamma rays", "TEM": "transmission",
}  # fmt: skip


def read_emsa(path: str | Path) -> MeasuredSpectra:
    """Read one SEM-EDS spectrum from an EMSA/MAS file.

    Field names and units are taken in any case and wording (``XUNITS : Energy (EV)``), with or without a byte order
    mark; data of type XY must lie on the scale that the header states.

    Parameters
    ----------
    path : path

    Returns
    -------
    MeasuredSpectra
        ``counts`` (1, n_channels).

    Raises
    ------
    DataError
        Naming the file and the field that is missing or wrong, or the kind of signal that is not SEM-EDS.
    """
    path = Path(path)
    text = _decoded(path)
    header, rows, complete = _split(text)
    if not header.get("FORMAT", "").upper().startswith("EMSA/MAS"):
        raise DataError(f"{path}: field FORMAT is {header.get('FORMAT')!r}, not EMSA/MAS")
    _check_signal(path, header)
    to_kev = _energy_unit(path, header)
    n_points = _number(path, header, "NPOINTS")
    if n_points != int(n_points) or n_points < 1:
        raise DataError(f"{path}: field NPOINTS must be a whole number of 1 or more, not {n_points:g}")
    width = _number(path, header, "XPERCHAN")
    offset = _number(path, header, "OFFSET", 0.0)
    x, counts = _data(path, header, rows, int(n_points), complete)
    if x is not None:
        _check_scale(path, x, offset, width)
    checked_counts(path, "SPECTRUM", counts)
    if counts.max() <= 1.0 and (counts != np.round(counts)).any():
        raise DataError(
            f"{path}: field SPECTRUM holds no value above 1: an efficiency or normalised curve, not counts"
        )
    try:
        axis = EnergyAxis(offset * to_kev, width * to_kev, int(n_points))
    except ConfigError as error:
        raise DataError(f"{path}: fields OFFSET, XPERCHAN, NPOINTS: {error}") from error
    return MeasuredSpectra(
        counts[None],
        axis,
        _beam_energy(path, header),
        _positive(path, header, "LIVETIME"),
        _positive(path, header, "REALTIME"),
        _positive(path, header, "PROBECUR"),
        _positive(path, header, "ELEVANGLE"),
        header.get("TITLE") or path.stem,
        path,
        _elements(header),
        _resolution(header),
    )


def _decoded(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = raw.decode("utf-16", errors="replace")
    else:
        text = raw.decode("utf-8-sig", errors="replace")
    if not text.strip():
        raise DataError(f"{path}: the file is empty")
    return text


def _split(text: str) -> tuple[dict[str, str], list[str], bool]:
    """Header fields by name (upper case), data lines, and whether the end mark was there.

    The unit that a name may carry (``LIVETIME -s``) stands under the name with `UNIT` appended; a vendor's own
    fields (``##``) under their names with the marks.
    """
    header: dict[str, str] = {}
    rows: list[str] = []
    in_data = False
    for raw in text.splitlines():
        line = raw.strip()
        if not line.startswith("#"):
            if in_data and line:
                rows.append(line)
            continue
        vendor = line.startswith("##")
        if vendor and in_data:
            continue
        field, _, value = line.lstrip("#").partition(":")
        name, _, unit = field.partition("-")
        name, value = name.strip().upper(), value.strip()
        if vendor:
            header.setdefault("##" + name, value)
        elif name == "SPECTRUM":
            in_data = True
        elif name == "ENDOFDATA":
            return header, rows, True
        elif not in_data and name:
            header[name] = value
            if unit.strip():
                header[name + UNIT] = unit.strip().lower()
    return header, rows, False


def _check_signal(path: Path, header: Mapping[str, str]) -> None:
    """Refuse by name what is not a SEM-EDS spectrum."""
    kind = header.get("SIGNALTYPE", "").upper().replace("-", "").replace(" ", "")
    if kind and not kind.startswith(("EDS", "XEDS", "EDX")):
        raise DataError(
            f"{path}: field SIGNALTYPE is {header['SIGNALTYPE']!r} ({SIGNALS.get(kind[:3], 'another signal')}), "
            "not a SEM-EDS spectrum"
        )
    mode = header.get("OPERMODE", "").upper()
    if mode.startswith(("TEM", "STEM")) or "TEM" in kind:
        raise DataError(f"{path}: field OPERMODE is {mode or kind!r}: TEM-EDS, not a SEM-EDS spectrum")
    if header.get("ELSDET") or "LOSS" in header.get("XLABEL", "").upper():
        raise DataError(f"{path}: fields ELSDET, XLABEL: an EELS spectrum, not a SEM-EDS spectrum")
    words = f"{header.get('YUNITS', '')} {header.get('YLABEL', '')}".upper()
    if "EFFICIENCY" in words or "%" in words:
        raise DataError(f"{path}: fields YUNITS, YLABEL: an efficiency curve, not a SEM-EDS spectrum")


def _energy_unit(path: Path, header: Mapping[str, str]) -> float:
    """Return the unit of the energy scale in keV."""
    if not header.get("XUNITS"):
        raise DataError(f"{path}: field XUNITS is missing: eV or keV?")
    found = {unit.lower() for unit in re.findall(r"(?<![a-z])k?ev(?![a-z])", header["XUNITS"], re.IGNORECASE)}
    if len(found) != 1:
        raise DataError(f"{path}: field XUNITS is {header['XUNITS']!r}, neither eV nor keV")
    return 1e-3 if found == {"ev"} else 1.0


def _beam_energy(path: Path, header: Mapping[str, str]) -> float | None:
    value = _positive(path, header, "BEAMKV")
    if value is None or header.get("BEAMKV" + UNIT) in ("v", "ev"):
        return None if value is None else value * 1e-3
    if value > SEM_KV:
        what = f"V, so {value * 1e-3:g} kV?" if value > 1000.0 else "a TEM?"
        raise DataError(f"{path}: field BEAMKV is {value:g} kV, more than a SEM has; {what}")
    return value


def _elements(header: Mapping[str, str]) -> tuple[str, ...]:
    """Symbols of the elements that the header names: DTSA's composition, or the list of Bruker or EDAX."""
    found: list[str] = []
    for symbol, _ in re.findall(r"\(([A-Z][a-z]?):([\d.]+)\)", header.get("##D2STDCMP", "")):
        found.append(symbol)
    for name in ("##IDENT", "##ELEMENTS"):
        for word in header.get(name, "").replace(",", " ").split():
            found.append(symbol_of(int(word)) if word.isdigit() else word)
    return tuple(dict.fromkeys(symbol for symbol in found if is_symbol(symbol)))


def _resolution(header: Mapping[str, str]) -> float | None:
    """FWHM at Mn Kα in eV, where a vendor's field has it (Phenom and Bruker, EDAX)."""
    for name in ("##MNFWHM", "##RESO (MNKA)"):
        try:
            value = float(header[name].split()[0])
        except (KeyError, ValueError, IndexError):
            continue
        value *= 1e3 if value < 1.0 else 1.0
        if 100.0 < value < 1000.0:
            return value
    return None


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
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64]]:
    """Energies, if the file has them (DATATYPE XY; NCOLUMNS pairs a line), and counts, (n_points,) each."""
    try:
        values = np.array([float(word) for row in rows for word in row.replace(",", " ").split()])
    except ValueError as error:
        raise DataError(f"{path}: field SPECTRUM holds what is not a number ({error})") from error
    pairs = header.get("DATATYPE", "Y").strip().upper() == "XY"
    if pairs and len(values) % 2:
        raise DataError(f"{path}: field SPECTRUM holds {len(values)} numbers, DATATYPE XY has pairs")
    x, counts = (values[0::2], values[1::2]) if pairs else (None, values)
    if len(counts) != n_points:
        cut = "" if complete else ", and ENDOFDATA is missing: truncated"
        raise DataError(f"{path}: field SPECTRUM holds {len(counts)} values, NPOINTS says {n_points}{cut}")
    if not complete:  # the last number may have lost digits
        raise DataError(f"{path}: field ENDOFDATA is missing: truncated")
    return x, counts


def _check_scale(path: Path, x: NDArray[np.float64], offset: float, width: float) -> None:
    """Refuse energies that do not lie where XPERCHAN and OFFSET put them, to half a channel."""
    expected = offset + width * np.arange(len(x))
    off = np.abs(x - expected)
    if not (off <= 0.5 * abs(width)).all():
        worst = int(np.argmax(~(off <= 0.5 * abs(width))))
        raise DataError(
            f"{path}: field SPECTRUM has channel {worst} at {x[worst]:g}, OFFSET and XPERCHAN put it at "
            f"{expected[worst]:g}"
        )


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
    >>> float(read_emsa(path).counts.sum())
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
