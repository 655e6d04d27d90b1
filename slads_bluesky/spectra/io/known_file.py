"""The file that names spectra of known materials, for ``slads-bluesky calibrate-detector``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...errors import ConfigError, DataError
from ...yamlsource import read_yaml
from ..axis import EnergyAxis
from ..physics.composition import Composition
from ..reconcile import on_axis
from .formats import read_spectra

__all__ = ["KnownFile", "load_known"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class MaterialField(_Strict):
    """One material: its composition, and files of its spectra, which are added up."""

    composition: str | dict[str, float]
    files: list[str] = Field(min_length=1)


class KnownFile(_Strict):
    """All of the file; what it leaves out is taken from the spectra's headers."""

    materials: dict[str, MaterialField] = Field(min_length=2)
    beam_energy_kev: float | None = Field(default=None, ge=1.0, le=50.0)
    takeoff_deg: float | None = Field(default=None, gt=0.0, le=90.0)
    resolution_ev: float | None = Field(default=None, gt=117.5, lt=1000.0)
    rebin: bool = False


class KnownSettings(BaseModel):
    """What the spectra have in common."""

    beam_energy_kev: float
    takeoff_deg: float
    resolution_ev: float


def load_known(
    path: str | Path,
) -> tuple[KnownSettings, EnergyAxis, dict[str, tuple[Composition, NDArray[np.float64]]]]:
    """Read the file and the spectra that it names (relative to it).

    Returns
    -------
    settings, axis, materials
        Materials as `calibration.calibrate` takes them.

    Raises
    ------
    ConfigError, DataError
        Naming the file, and the field or the spectrum that is missing or wrong.
    """
    path = Path(path)
    _, content = read_yaml(path)
    try:
        file = KnownFile.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise ConfigError(f"{path}: field {field}: {first['msg']}") from error
    axis: EnergyAxis | None = None
    beams, takeoffs, resolutions = [], [], []
    materials: dict[str, tuple[Composition, NDArray[np.float64]]] = {}
    for name, material in file.materials.items():
        try:
            composition = Composition.parse(material.composition)
        except ConfigError as error:
            raise ConfigError(f"{path}: field materials.{name}.{error}") from error
        rows = []
        for entry in material.files:
            measured = read_spectra(path.parent / entry)
            axis = axis if axis is not None else measured.axis
            rows.append(on_axis(measured, axis, str(measured.path), force=file.rebin).counts)
            beams.append(measured.beam_energy_kev)
            takeoffs.append(measured.takeoff_deg)
            resolutions.append(measured.resolution_ev)
        materials[name] = (composition, np.concatenate(rows).sum(axis=0))
    assert axis is not None
    settings = KnownSettings(
        beam_energy_kev=_common(path, "beam_energy_kev", file.beam_energy_kev, beams, None),
        takeoff_deg=_common(path, "takeoff_deg", file.takeoff_deg, takeoffs, 28.5),
        resolution_ev=_common(path, "resolution_ev", file.resolution_ev, resolutions, 126.0),
    )
    return settings, axis, materials


def _common(
    path: Path, name: str, stated: float | None, found: list[float | None], default: float | None
) -> float:
    """Return the stated value, else the one that the headers agree on to 2 %, else the default."""
    if stated is not None:
        return stated
    known = [value for value in found if value is not None]
    if not known:
        if default is None:
            raise ConfigError(f"{path}: field {name} is missing, and no spectrum's header has it")
        return default
    if max(known) - min(known) > 0.02 * max(known):
        raise DataError(f"{path}: the spectra have {name} from {min(known):g} to {max(known):g}")
    return float(np.mean(known))
