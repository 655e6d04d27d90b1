"""A detector's calibration from spectra of known materials.

Each material is fitted with the nuisances of a computed phase (`marginal`). What belongs to the detector and the
microscope (energy scale, line widths, low-energy efficiency, continuum, pile-up, tail, contamination) is the same in
all of them: its mean goes into the model, its scatter among them into the prior. With few materials the scatter is
shrunk to a third of the width without a calibration. Two rounds, since the energy scale moves all else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError, DataError
from ...threads import one_thread
from ..axis import EnergyAxis
from ..counts import check_counts
from ..physics.composition import Composition
from ..physics.detector import Detector
from .computed import ADDED, DetectorCalibration, computed_phase
from .kernel import binned
from .live_channels import discriminator_end, strobe_end
from .marginal import fit_phase
from .nuisance import BROADENING_KEV2, COMPUTED, Direction, library_families
from .nuisance_judge import centred_directions
from .settings import ClassifierSettings

__all__ = ["calibrate"]

SHRUNK_SD = 0.3
SHRUNK_WORTH = 2.0
"""Materials that the assumed scatter `SHRUNK_SD` is worth."""
LINE_SD = 0.4
"""The same of the strengths of line families, which hold errors of the yields that no calibration learns."""
LEAST_COUNTS = 5000.0


@one_thread()
def calibrate(
    materials: Mapping[str, tuple[str | Mapping[str, float] | Composition, NDArray[Any]]],
    axis: EnergyAxis,
    **settings: Any,
) -> DetectorCalibration:
    """Learn a detector's calibration.

    Parameters
    ----------
    materials : name to (composition, (n_channels,) counts)
        Two or more, of known composition; the more lines over the energy range, the better.
    axis : EnergyAxis
    **settings
        Fields of `ClassifierSettings`.

    Raises
    ------
    ConfigError
        If there are fewer than two materials, or a composition or setting is wrong.
    DataError
        Naming the material whose spectrum holds too few counts.
    """
    if len(materials) < 2:
        raise ConfigError(f"calibration: needs two known materials or more, not {len(materials)}")
    chosen = ClassifierSettings(**settings)
    spectra = {name: check_counts(counts, axis.n_channels) for name, (_, counts) in materials.items()}
    ends = [max(strobe_end(counts, axis), discriminator_end(counts, axis)) for counts in spectra.values()]
    low = max([chosen.low_kev, *ends])
    chosen = replace(chosen, low_kev=low)
    found = DetectorCalibration(tuple(materials), chosen.beam_energy_kev, chosen.resolution_ev, low_kev=low)
    for _ in range(2):
        found = _refined(found, {n: c for n, (c, _) in materials.items()}, spectra, axis, chosen)
    return found


def _refined(
    known: DetectorCalibration,
    compositions: Mapping[str, str | Mapping[str, float] | Composition],
    spectra: Mapping[str, NDArray[Any]],
    axis: EnergyAxis,
    settings: ClassifierSettings,
) -> DetectorCalibration:
    """Fit all materials about a calibration's energy scale and widths; everything else starts from the model."""
    starts = settings.bin_starts(axis)
    detector = Detector(resolution_ev=settings.resolution_ev)
    library = library_families(axis, starts, settings.beam_energy_kev, settings.takeoff_deg, detector)
    scale_only = replace(known, mean={}, sd={})
    amplitudes: dict[str, list[float]] = {}
    for name, composition in compositions.items():
        try:
            phase = computed_phase(composition, axis, starts, settings, scale_only)
        except ConfigError as error:
            raise ConfigError(f"material {name!r}: {error}") from error
        counts = binned(spectra[name], starts)
        if counts.sum() < LEAST_COUNTS:
            raise DataError(f"material {name!r}: {counts.sum():g} counts, needs {LEAST_COUNTS:g} or more")
        directions = phase.directions(phase.shape, library, starts, axis)
        for direction, amplitude in zip(directions, _fitted(counts, phase.shape, directions), strict=True):
            amplitudes.setdefault(direction.name, []).append(amplitude)
    mean = {name: float(np.mean(values)) for name, values in amplitudes.items() if name != "line"}
    sd = {name: _scatter(values, mean[name]) for name, values in amplitudes.items() if name != "line"}
    lines = np.array(amplitudes.get("line", [0.0]))
    sd["line"] = min(
        math.sqrt((SHRUNK_WORTH * LINE_SD**2 + float((lines**2).sum())) / (SHRUNK_WORTH + len(lines))), 1.0
    )
    return replace(
        known,
        gain=known.gain + mean.get("gain", 0.0) * max(COMPUTED.gain, settings.gain_sd),
        offset_kev=known.offset_kev
        + mean.get("offset", 0.0) * max(COMPUTED.offset_kev, settings.offset_sd_kev),
        broadening_kev2=known.broadening_kev2 + mean.get("width", 0.0) * COMPUTED.width * BROADENING_KEV2,
        mean={name: mean[name] for name in ADDED if name in mean},
        sd={("offset_kev" if name == "offset" else name): value for name, value in sd.items()},
    )


def _scatter(values: list[float], mean: float) -> float:
    squares = float(((np.array(values) - mean) ** 2).sum())
    return min(math.sqrt((SHRUNK_WORTH * SHRUNK_SD**2 + squares) / (SHRUNK_WORTH + len(values) - 1)), 1.0)


def _fitted(
    counts: NDArray[np.float64], shape: NDArray[np.float64], directions: list[Direction]
) -> NDArray[np.float64]:
    """Amplitudes of the nuisances in one spectrum; its weight is bounded, the model's own errors are not counting."""
    total = min(float(counts.sum()), 2e5)
    changes = np.array([direction.change for direction in directions])
    centred = centred_directions(shape, changes)
    theta, mu = np.zeros(len(directions)), np.empty(len(shape))
    fit_phase(
        counts * (total / counts.sum()),
        total,
        shape,
        changes,
        np.ascontiguousarray((centred / shape) @ centred.T),
        np.array([direction.low for direction in directions]),
        np.array([direction.high for direction in directions]),
        np.ones(len(directions)),
        40,
        theta,
        mu,
    )
    return theta
