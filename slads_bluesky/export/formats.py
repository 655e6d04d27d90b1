"""A map into a file of another program, by the end of its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from slads_bluesky.documents import reading
from slads_bluesky.errors import ConfigError, RecordError

from ..analysis.elements.maps import ElementMaps
from ..analysis.run_data import RunData

__all__ = ["export_map", "suffixes"]


def suffixes() -> tuple[str, ...]:
    """Ends of file names that `export_map` knows."""
    return tuple(_writers())


def export_map(data: RunData, path: Path, elements: ElementMaps | None = None) -> list[Path]:
    """Write a map in the format that the name of the file asks for.

    Parameters
    ----------
    data : RunData
        With its spectra.
    path : Path
        ``.npz`` and ``.csv`` for scripts, ``.msa`` (EMSA/MAS, the sum of all spectra and one of each phase),
        ``.hspy`` and ``.zspy`` (HyperSpy, by the extra ``hyperspy``), ``.nxs`` (NeXus, NXem), ``.tif``
        (the maps as images).
    elements : ElementMaps, optional
        Element maps to write, too, with a mask of the inferred pixels: into the file itself, or beside
        it into ``NAME.elements.csv``, ``NAME.Fe.tif`` …, ``NAME.filled.hspy`` (the expected spectrum of every pixel).

    Returns
    -------
    list of Path
        The files, the one asked for first; each appears whole or not at all.

    Raises
    ------
    ConfigError
        If the format is unknown, or needs a package that is not installed, or the file cannot be written.
    RecordError
        If nothing was measured.
    """
    writers = _writers()
    if path.suffix not in writers:
        raise ConfigError(f"cannot export to '{path.name}': its name must end in {', '.join(writers)}")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"cannot write {path}: there is no folder {path.absolute().parent}")
    if elements is not None and path.suffix == ".msa":
        raise ConfigError(f"{path.name}: a .msa file holds spectra, no element maps")
    if data.n_measured == 0:
        raise RecordError(f"run {data.uid[:8]} has no measured pixel to export")
    with reading(f"run {data.uid[:8]}"):
        return writers[path.suffix](data, path, elements)


Writer = Callable[[RunData, Path, Any], list[Path]]


def _writers() -> dict[str, Writer]:
    from .arrays import write_csv, write_npz
    from .emsa import write_msa
    from .hyperspy import write_hyperspy
    from .nexus import write_nexus
    from .tiff import write_tiff

    return {
        ".npz": write_npz,
        ".csv": write_csv,
        ".msa": lambda data, path, elements: write_msa(data, path),
        ".hspy": write_hyperspy,
        ".zspy": write_hyperspy,
        ".nxs": write_nexus,
        ".tif": write_tiff,
        ".tiff": write_tiff,
    }
