"""Measured spectra from a file of any format: the extension chooses the reader."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ...errors import ConfigError, DataError
from .emsa import read_emsa
from .foreign import read_foreign
from .measured import MeasuredSpectra

__all__ = ["FORMATS", "read_signals", "read_spectra"]

EMSA = (".msa", ".emsa", ".mas", ".ems")
FORMATS = (*EMSA, ".hspy", ".zspy", ".elid", ".spx", ".spc", ".spd", ".eds", ".pts", ".bcf")
"""Extensions that are read; all but the first four need rosettasciio."""


def read_signals(path: str | Path) -> list[MeasuredSpectra]:
    """Read every signal of a file, each with its own title, beam energy and times.

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
        raise ConfigError(f"{path}: {suffix or 'no extension'} is not one of {', '.join(FORMATS)}")
    if not path.is_file() and suffix != ".zspy":
        raise DataError(f"{path}: there is no such file")
    return [read_emsa(path)] if suffix in EMSA else read_foreign(path)


def read_spectra(path: str | Path) -> MeasuredSpectra:
    """Read the spectra of a file as one set: those of a project of several spots are joined.

    Signals of another axis or number of spectra than the first (a map in a project of spots) are left out.

    Raises
    ------
    ConfigError
        If the extension is unknown, or its reader is not installed.
    DataError
        Naming the file and the field that is missing or wrong; or if spectra of several beam energies are in it.
    """
    found = read_signals(path)
    alike = [s for s in found if s.axis == found[0].axis and len(s.counts) == len(found[0].counts)]
    energies = sorted({s.beam_energy_kev for s in alike if s.beam_energy_kev is not None})
    if len(energies) > 1:
        raise DataError(
            f"{path}: holds spectra at {', '.join(f'{e:g}' for e in energies)} keV; one set has one beam energy"
        )
    times = [s.live_time_s for s in alike]
    return replace(
        found[0],
        counts=np.concatenate([s.counts for s in alike]),
        live_time_s=times[0] if len(set(times)) == 1 else None,
    )
