"""The file that says which phases there are: ``phases.yml``, with compositions, measured spectra, or some of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ...errors import ConfigError, DataError
from ...yamlsource import read_yaml
from ..axis import EnergyAxis
from ..counts import check_phases
from ..physics.composition import Composition
from ..reconcile import on_axis
from .formats import read_spectra

__all__ = ["PhaseFile", "load_phases"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AxisField(_Strict):
    """The energy axis; without it, that of the measured files, or of a Phenom ProX."""

    offset_kev: float
    width_kev: float
    n_channels: int


class PhaseField(_Strict):
    """One phase: a composition or files of measured spectra."""

    composition: str | dict[str, float] | None = None
    files: list[str] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_of_them(self) -> PhaseField:
        if (self.composition is None) == (self.files is None):
            raise ValueError("give either a composition or files")
        return self


class PhaseFile(_Strict):
    """All of the file."""

    phases: dict[str, PhaseField] = Field(min_length=1)
    axis: AxisField | None = None
    beam_energy_kev: float = Field(
        default=15.0, ge=1.0, le=50.0, validation_alias=AliasChoices("beam_energy_kev", "beam_kev")
    )
    takeoff_deg: float = Field(default=28.5, gt=0.0, le=90.0)
    resolution_ev: float = Field(default=126.0, gt=117.5, lt=1000.0)
    noise_lambda: float = Field(default=0.0, ge=0.0)
    false_alarm_rate: float = Field(default=1e-3, gt=0.0, le=0.2)
    detector: str | None = None
    """Calibration of the detector (``calibrate-detector``), for phases given as compositions."""
    rebin: bool = False
    """Whether spectra of another detector's energy scale are rebinned; those of one detector always are."""


def load_phases(
    path: str | Path,
) -> tuple[PhaseFile, EnergyAxis, dict[str, NDArray[np.float64]], dict[str, Composition]]:
    """Read the file and the spectra it names (relative to it).

    Returns
    -------
    file, axis, spectra, compositions
        The settings; the common energy axis; measured phases, (M, n_channels) each; computed phases.

    Raises
    ------
    ConfigError, DataError
        Naming the file, and the field in it or the spectrum file, that is missing or wrong.
    """
    path = Path(path)
    _, content = read_yaml(path)
    try:
        file = PhaseFile.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise ConfigError(f"{path}: field {field}: {first['msg']}") from error
    try:
        check_phases(file.phases)
        axis = EnergyAxis(**file.axis.model_dump()) if file.axis is not None else None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    spectra: dict[str, NDArray[np.float64]] = {}
    compositions: dict[str, Composition] = {}
    for name, phase in file.phases.items():
        if phase.composition is not None:
            try:
                compositions[name] = Composition.parse(phase.composition)
            except ConfigError as error:
                raise ConfigError(f"{path}: field phases.{name}.{error}") from error
            continue
        rows = []
        for entry in phase.files or []:
            measured = read_spectra(path.parent / entry)
            axis = axis if axis is not None else measured.axis
            measured = on_axis(measured, axis, f"{measured.path}, phase {name!r}", force=file.rebin)
            if measured.beam_energy_kev is not None:
                if "beam_energy_kev" not in file.model_fields_set:
                    file = file.model_copy(update={"beam_energy_kev": measured.beam_energy_kev})
                    file.model_fields_set.add("beam_energy_kev")
                elif abs(measured.beam_energy_kev - file.beam_energy_kev) > 0.02 * file.beam_energy_kev:
                    raise DataError(
                        f"{measured.path}, phase {name!r}: beam energy {measured.beam_energy_kev:g} keV, "
                        f"expected {file.beam_energy_kev:g} keV"
                    )
            rows.append(measured.counts)
        spectra[name] = np.concatenate(rows)
    return file, axis if axis is not None else EnergyAxis.phenom(), spectra, compositions
