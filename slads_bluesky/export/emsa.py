"""Spectra as EMSA/MAS files (ISO 22029): the sum of a map and the sum of each phase."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..analysis.run_data import RunData
from ..spectra.axis import EnergyAxis
from ..spectra.io.emsa import write_emsa
from .about import Acquisition, acquisition

__all__ = ["write_msa"]


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
    return write_emsa(
        path,
        counts,
        EnergyAxis(data.energy_offset_kev, data.energy_width_kev, counts.size),
        title=title,
        when=datetime.fromtimestamp(data.start["time"], UTC),
        live_time_s=float(np.nansum(data.live_time_s[which])),
        real_time_s=float(np.nansum(data.real_time_s[which])),
        beam_energy_kev=settings.get("beam_energy"),
        current_na=settings.get("beam_current"),
        takeoff_deg=settings.get("elevation_angle"),
        magnification=settings.get("magnification"),
        comment=f"run {data.uid}, {int(which.sum())} pixels",
    )
