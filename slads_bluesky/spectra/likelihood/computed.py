"""Phases computed from compositions, with what a calibration of the detector has shown.

A calibration (`calibration.calibrate`) holds, of the nuisances that belong to the detector and the microscope rather
than to a phase, how far they lie from the model and how far they scatter. Energy scale and line widths go into the
detector's response; the others are added to the computed shape, and all have narrower priors afterwards.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError, in_one_line
from ...files import write_json
from ..axis import EnergyAxis
from ..physics.composition import Composition
from ..physics.detector import FWHM, Detector
from ..physics.spectrum import emitted_photons, expected_counts, family_photons
from .kernel import binned
from .nuisance import (
    CARBON,
    COMPUTED,
    CONTAMINANTS,
    RESPONSE,
    TYPICAL,
    Direction,
    Family,
    NuisancePriors,
    line_sd,
    phase_directions,
    responded,
)
from .settings import ClassifierSettings

__all__ = ["ADDED", "ComputedPhase", "DetectorCalibration", "computed_phase"]

LEAST_COMPUTED = 1e-4
"""Part of the counts from which on a line family of a composition is a direction of its own."""
ADDED = (
    "continuum", "slope", "low", "pile_up", "shoulder", "soft_shift", "tail", "carbon", "soft_carbon", "oxygen",
)  # fmt: skip
"""Nuisances that a calibration adds to a computed shape."""
ONE_SIDED = ("pile_up", "shoulder", "tail", "carbon", "soft_carbon", "oxygen")
STATED_RELATIVE, STATED_ABSOLUTE, STATED_MOST = 0.03, 0.01, 0.5
"""Uncertainty of a stated composition: relative, in mass fraction, and the most, relative."""
KIND = "detector calibration"
VERSION = 2
FIRST_SD = {
    "gain": 1.5e-3,
    "offset_kev": 5e-3,
    "line": 0.25,
    "continuum": 0.15,
    "low": 0.25,
    "carbon": 0.04,
    "pile_up": 0.01,
}
"""Prior standard deviations in which calibrations of version 1 were written, where they were others."""


@dataclass(frozen=True)
class DetectorCalibration:
    """What known materials have shown of a detector.

    Parameters
    ----------
    materials : tuple of str
        Names of those it was learnt from.
    beam_energy_kev, resolution_ev : float
        Settings that it belongs to.
    gain, offset_kev, broadening_kev2 : float
        Relative error and offset of the energy scale; variance that the lines have beyond the stated resolution.
    mean, sd : mapping
        Of each nuisance (`NuisancePriors`), in its standard deviations without a calibration; ``line``, the relative
        strength of line families, has a ``sd`` only.
    low_kev : float
        Energy under which the strobe peak and the noise lie.
    dropped : tuple of str
        Nuisances left as they are without a calibration: what others had shown did not predict a left-out material.
    """

    materials: tuple[str, ...]
    beam_energy_kev: float
    resolution_ev: float
    gain: float = 0.0
    offset_kev: float = 0.0
    broadening_kev2: float = 0.0
    mean: Mapping[str, float] = field(default_factory=dict)
    sd: Mapping[str, float] = field(default_factory=dict)
    low_kev: float = 0.12
    dropped: tuple[str, ...] = ()

    def true_axis(self, axis: EnergyAxis) -> EnergyAxis:
        """Energies that the channels of an axis really have."""
        scale = 1.0 + self.gain
        return EnergyAxis(
            (axis.offset_kev - self.offset_kev) / scale, axis.width_kev / scale, axis.n_channels
        )

    def true_resolution_ev(self, stated_ev: float) -> float:
        """FWHM at Mn Kα with the broadening of the lines."""
        return math.sqrt(max(stated_ev**2 + FWHM**2 * self.broadening_kev2 * 1e6, 118.0**2))

    def priors(self, wide: NuisancePriors) -> NuisancePriors:
        """Prior standard deviations with this calibration."""
        narrow = {name: getattr(wide, name) * factor for name, factor in self.sd.items()}
        return replace(wide, **narrow)

    def save(self, path: str | Path) -> None:
        """Write it as JSON; ConfigError if it cannot be written."""
        write_json(Path(path), {"kind": KIND, "version": VERSION, **asdict(self)})

    @classmethod
    def load(cls, path: str | Path) -> DetectorCalibration:
        """Read what `save` wrote; ConfigError naming the file and what is wrong with it."""
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: cannot be read ({error})") from error
        if not (isinstance(data, dict) and data.get("kind") == KIND):
            raise ConfigError(f"{path}: holds no {KIND}")
        if data.get("version") not in (1, VERSION):
            raise ConfigError(f"{path}: version {data.get('version')!r} of a {KIND} is not known")
        try:
            made = cls(**{k: v for k, v in data.items() if k not in ("kind", "version")})
            made = replace(
                made, materials=tuple(map(str, made.materials)), dropped=tuple(map(str, made.dropped))
            )
            if data["version"] == 1:
                factor = {name: sd / getattr(COMPUTED, name) for name, sd in FIRST_SD.items()}
                mean = {name: value * factor.get(name, 1.0) for name, value in made.mean.items()}
                sd = {name: value * factor.get(name, 1.0) for name, value in made.sd.items()}
                made = replace(made, mean=mean, sd=sd)
            numbers = [
                made.gain,
                made.offset_kev,
                made.broadening_kev2,
                *made.mean.values(),
                *made.sd.values(),
            ]
            if not all(math.isfinite(float(value)) for value in numbers):
                raise ValueError("a number is not finite")
            made.priors(COMPUTED)
        except (TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"{path}: {in_one_line('', error)}") from error
        return made


@dataclass(frozen=True, eq=False)
class ComputedPhase:
    """A computed shape, (n_bins,) of sum 1, its line families, and the priors of what may differ."""

    shape: NDArray[np.float64]
    families: list[Family]
    family_sd: list[float]
    priors: NuisancePriors
    present: dict[str, float]
    contaminants: tuple[Family, ...]
    """Lines of contamination as this detector shows them, each of sum 1."""

    def directions(
        self,
        shape: NDArray[np.float64],
        starts: NDArray[np.int32],
        axis: EnergyAxis,
    ) -> list[Direction]:
        """Directions about `shape`, this phase's own with whatever a classifier adds to all templates."""
        return phase_directions(
            shape, self.families, self.family_sd, self.contaminants, starts, axis, self.priors, self.present
        )


def computed_phase(
    composition: str | Mapping[str, float] | Composition,
    axis: EnergyAxis,
    starts: NDArray[np.int32],
    settings: ClassifierSettings,
    calibration: DetectorCalibration | None = None,
) -> ComputedPhase:
    """Compute a phase; ConfigError naming what is wrong with the composition or the settings."""
    material = Composition.parse(composition)
    beam, takeoff = settings.beam_energy_kev, settings.takeoff_deg
    resolution, true_axis = settings.resolution_ev, axis
    if calibration is not None:
        resolution, true_axis = calibration.true_resolution_ev(resolution), calibration.true_axis(axis)
    detector = Detector(resolution_ev=resolution)
    counts = expected_counts(
        material, true_axis, beam_energy_kev=beam, takeoff_deg=takeoff, detector=detector, total_counts=1.0
    )
    shape = binned(counts, starts)
    shape /= shape.sum()
    response = detector.response(true_axis)
    n_true = response.shape[1]
    total = binned(response @ emitted_photons(material, n_true, beam, takeoff), starts).sum()
    found = family_photons(material, n_true, beam, takeoff)
    families = [Family(z, shell, binned(response @ ph, starts) / total) for (z, shell), ph in found.items()]
    families = [family for family in families if family.counts.sum() > LEAST_COMPUTED]
    middle = axis.offset_kev + axis.width_kev * 0.5 * (starts[:-1] + starts[1:] - 1)
    energies = [float((middle * f.counts).sum() / f.counts.sum()) for f in families]
    wide = replace(
        COMPUTED,
        gain=max(COMPUTED.gain, settings.gain_sd),
        offset_kev=max(COMPUTED.offset_kev, settings.offset_sd_kev),
    )
    sds = [line_sd(f.shell, energy, wide.line) for f, energy in zip(families, energies, strict=True)]
    mean = TYPICAL if calibration is None else calibration.mean
    narrower: Mapping[str, float] = {} if calibration is None else calibration.sd
    moved = responded(shape, starts, axis, mean)
    families = [Family(f.z, f.shell, responded(f.counts, starts, axis, mean)) for f in families]
    contaminants = []
    for z in CONTAMINANTS:
        lines = family_photons(Composition((z,), (1.0,)), n_true, beam, takeoff).get((z, "K"))
        if lines is not None:
            row = binned(response @ lines, starts)
            # without a calibration the place of carbon is free as it is: two profiles make every one between
            if z != CARBON or calibration is not None:
                row = responded(row, starts, axis, mean)
            contaminants.append(Family(z, "K", row / row.sum()))
    if calibration is not None:
        total = float(moved.sum())
        moved /= total
        families = [Family(f.z, f.shell, f.counts / total) for f in families]
        for direction in phase_directions(moved, families, sds, tuple(contaminants), starts, axis, wide):
            if direction.name in ADDED and direction.name not in RESPONSE:
                moved += mean.get(direction.name, 0.0) * direction.change
    moved = np.maximum(moved, 1e-6 * shape)
    scale = float(moved.sum())
    families = [Family(f.z, f.shell, f.counts / scale) for f in families]
    present = {name: max(mean.get(name, 0.0), 0.0) / max(narrower.get(name, 1.0), 1e-6) for name in ONE_SIDED}
    stated_sd = {z: composition_sd(part) for z, part in zip(material.z, material.mass_fraction, strict=True)}
    if len(stated_sd) == 1:
        stated_sd = dict.fromkeys(stated_sd, 0.0)
    learnt = narrower.get("line", 1.0)
    sds = [math.hypot(learnt * sd, stated_sd[f.z]) for f, sd in zip(families, sds, strict=True)]
    priors = wide if calibration is None else calibration.priors(wide)
    return ComputedPhase(moved / scale, families, sds, priors, present, tuple(contaminants))


def composition_sd(mass_fraction: float) -> float:
    """Relative uncertainty of a stated mass fraction; no calibration of a detector makes it less."""
    return min(math.hypot(STATED_RELATIVE, STATED_ABSOLUTE / max(mass_fraction, 1e-6)), STATED_MOST)
