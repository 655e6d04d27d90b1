"""Spectra as EMSA/MAS files (ISO 22029): the sum of a map and the sum of each phase."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..analysis.run_data import RunData
from ..files import atomic_write
from .about import Acquisition, acquisition

__all__ = ["write_msa"]

MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]


def write_msa(data: RunData, path: Path) -> list[Path]:
    """Write ``NAME.msa``, the sum of all spectra, and ``NAME.PHASE.msa``, the sum of those called so.

    Each has the live and real time of the spectra that are in it. Spectra with another verdict than ``ok`` are in
    the sum of all and in that of no phase.

    Parameters
    ----------
    data : RunData
    path : Path

    Raises
    ------
    RecordError
        If the map has no spectra or no energy calibration.
    """
    spectra = data.calibrated_spectra()
    settings = acquisition(data)

    def add_up(path: Path, which: NDArray[np.bool_], title: str) -> Path:
        return _write(data, spectra[which].sum(axis=0, dtype=np.int64), path, which, title, settings)

    written = [add_up(path, ~data.failed, str(data.start.get("sample", data.uid[:8])))]
    for label, phase in enumerate(data.phases, start=1):
        which = data.votes == label
        if which.any():
            name = re.sub(r"[^\w.+-]", "_", phase)
            written.append(add_up(path.with_suffix(f".{name}.msa"), which, phase))
    return written


def _write(
    data: RunData,
    counts: NDArray[np.int64],
    path: Path,
    which: NDArray[np.bool_],
    title: str,
    settings: Acquisition,
) -> Path:
    when = datetime.fromtimestamp(data.start["time"], UTC)
    fields: list[tuple[str, object]] = [
        ("FORMAT", "EMSA/MAS Spectral Data File"),
        ("VERSION", "1.0"),
        ("TITLE", title[:64]),
        ("DATE", f"{when.day:02d}-{MONTHS[when.month - 1]}-{when.year}"),
        ("TIME", f"{when:%H:%M}"),
        ("OWNER", "slads-bluesky"),
        ("NPOINTS", counts.size),
        ("NCOLUMNS", 1),
        ("XUNITS", "keV"),
        ("YUNITS", "counts"),
        ("DATATYPE", "Y"),
        ("XPERCHAN", f"{data.energy_width_kev:.8g}"),
        ("OFFSET", f"{data.energy_offset_kev:.8g}"),
        ("SIGNALTYPE", "EDS"),
        ("LIVETIME  -s", f"{np.nansum(data.live_time_s[which]):.6g}"),
        ("REALTIME  -s", f"{np.nansum(data.real_time_s[which]):.6g}"),
    ]
    if "beam_energy" in settings:
        fields.append(("BEAMKV   -kV", f"{settings['beam_energy']:.6g}"))
    if "beam_current" in settings:
        fields.append(("PROBECUR -nA", f"{settings['beam_current']:.6g}"))
    if "elevation_angle" in settings:
        fields.append(("ELEVANGLE-dg", f"{settings['elevation_angle']:.6g}"))
    if "magnification" in settings:
        fields.append(("MAGCAM", f"{settings['magnification']:.6g}"))
    fields.append(("COMMENT", f"run {data.uid}, {int(which.sum())} pixels"))
    with atomic_write(path) as partial:
        lines = [f"#{name:<12s}: {value}" for name, value in fields]
        lines += ["#SPECTRUM    : Spectral Data Starts Here", *(f"{n:.1f}," for n in counts)]
        partial.write_text(
            "\r\n".join([*lines, "#ENDOFDATA   : End Of Data and File", ""]), "ascii", "replace"
        )
    return path
