"""Measured spectra from a file of any format: the extension chooses the reader."""

from __future__ import annotations

from pathlib import Path

from ...errors import ConfigError, DataError
from .emsa import read_emsa
from .foreign import read_foreign
from .measured import MeasuredSpectra

__all__ = ["FORMATS", "read_spectra"]

EMSA = (".msa", ".emsa")
FORMATS = (*EMSA, ".hspy", ".zspy", ".elid", ".spx", ".bcf")
"""Extensions that `read_spectra` takes; all but the first two need rosettasciio."""


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
        raise ConfigError(f"{path}: {suffix or 'no extension'} is not one of {', '.join(FORMATS)}")
    if not path.is_file() and suffix != ".zspy":
        raise DataError(f"{path}: there is no such file")
    return read_emsa(path) if suffix in EMSA else read_foreign(path)
