"""A detector's calibration from spectra of known materials.

Each material is fitted with the nuisances of a computed phase (`marginal`). What belongs to the detector and the
microscope (energy scale, line widths, low-energy efficiency, continuum, pile-up, tail, contamination) is the same in
all of them but for a scatter (`common_values`). What is common goes into the model, the scatter and what is left
uncertain into the prior: what the materials do not show (the gain, where none has a line at high energies) stays as
wide as it was. Three rounds, since the energy scale and the charge losses move all else. Then each material is left
out in turn, and only what predicts it better than no calibration is kept (`holdout`).
"""

from __future__ import annotations

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
from .common_values import LINE, MaterialFit, common_values, shared_names
from .computed import ADDED, DetectorCalibration, computed_phase
from .holdout import HoldOut, line_scatter, validated
from .kernel import binned
from .live_channels import discriminator_end, strobe_end
from .marginal import fit_phase
from .nuisance import BROADENING_KEV2, COMPUTED, RESPONSE, TYPICAL, Direction
from .nuisance_judge import centred_directions
from .settings import ClassifierSettings

__all__ = ["calibrate"]

REFINED = 3
LEARNT_BOUNDS = 3.0
"""Upper bounds of `ADDITIVE` amplitudes in a calibration, in those of a spectrum: they are what is to be found."""
ADDITIVE = ("continuum", "slope", "low", "pile_up", "tail", "carbon", "soft_carbon", "oxygen")
"""Nuisances whose change is proportional to the amplitude, however large; the others are moved to in rounds."""
LEAST_COUNTS = 5000.0
NOTHING_LEFT_OUT = HoldOut((), 1.0, 0.0)


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
    compositions = {name: composition for name, (composition, _) in materials.items()}
    for _ in range(REFINED - 1):
        found = _learnt(found, _fits(found, compositions, spectra, axis, chosen), chosen)
    fits = _fits(found, compositions, spectra, axis, chosen)
    return _learnt(found, fits, chosen, validated(fits, _uncalibrated(found, chosen)))


def _fits(
    known: DetectorCalibration,
    compositions: Mapping[str, str | Mapping[str, float] | Composition],
    spectra: Mapping[str, NDArray[Any]],
    axis: EnergyAxis,
    settings: ClassifierSettings,
) -> list[MaterialFit]:
    """Fit all materials about a calibration's scale, widths and charge losses; all else starts from the model."""
    starts = settings.bin_starts(axis)
    scale_only = replace(known, mean=_response(known), sd={})
    fits = []
    for name, composition in compositions.items():
        try:
            phase = computed_phase(composition, axis, starts, settings, scale_only)
        except ConfigError as error:
            raise ConfigError(f"material {name!r}: {error}") from error
        counts = binned(spectra[name], starts)
        if counts.sum() < LEAST_COUNTS:
            raise DataError(f"material {name!r}: {counts.sum():g} counts, needs {LEAST_COUNTS:g} or more")
        directions = phase.directions(phase.shape, starts, axis)
        names = tuple(direction.name for direction in directions)
        fits.append(MaterialFit(names, *_fitted(counts, phase.shape, directions)))
    return fits


def _response(known: DetectorCalibration) -> dict[str, float]:
    return {name: known.mean.get(name, TYPICAL[name]) for name in RESPONSE}


def _scales(settings: ClassifierSettings) -> dict[str, float]:
    """What one unit of each nuisance of the energy scale and the widths is in the fields of a calibration."""
    return {
        "gain": max(COMPUTED.gain, settings.gain_sd),
        "offset": max(COMPUTED.offset_kev, settings.offset_sd_kev),
        "width": COMPUTED.width * BROADENING_KEV2,
    }


def _uncalibrated(known: DetectorCalibration, settings: ClassifierSettings) -> dict[str, float]:
    """Where each nuisance lies without a calibration, seen from where `_fits` starts with `known`."""
    unit = _scales(settings)
    return {
        "gain": -known.gain / unit["gain"],
        "offset": -known.offset_kev / unit["offset"],
        "width": -known.broadening_kev2 / unit["width"],
        **{name: TYPICAL[name] - value for name, value in _response(known).items()},
    }


def _learnt(
    known: DetectorCalibration,
    fits: list[MaterialFit],
    settings: ClassifierSettings,
    kept: HoldOut = NOTHING_LEFT_OUT,
) -> DetectorCalibration:
    """Calibration about which materials were fitted, with what they have in common added to it."""
    names = shared_names(fits)
    before = _uncalibrated(known, settings)
    unlearnt = {name: before.get(name, 0.0) for name in names if name in kept.dropped}
    common, scatter = common_values(fits, names, unlearnt)
    mean = dict(zip(names, common.tolist(), strict=True))
    sd = {n: min(kept.widened * s, 1.0) for n, s in zip(names, scatter.tolist(), strict=True)}
    sd[LINE] = 1.0 if LINE in kept.dropped else min(kept.widened * line_scatter(fits), 1.0)
    unit, response = _scales(settings), _response(known)
    return replace(
        known,
        gain=known.gain + mean.get("gain", 0.0) * unit["gain"],
        offset_kev=known.offset_kev + mean.get("offset", 0.0) * unit["offset"],
        broadening_kev2=known.broadening_kev2 + mean.get("width", 0.0) * unit["width"],
        mean={name: mean[name] + response.get(name, 0.0) for name in ADDED if name in mean},
        sd={("offset_kev" if name == "offset" else name): value for name, value in sd.items()},
        dropped=kept.dropped,
    )


def _fitted(
    counts: NDArray[np.float64], shape: NDArray[np.float64], directions: list[Direction]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Amplitudes of the nuisances in one spectrum, their Fisher matrix, and the dispersion that no nuisance explains.

    Its weight is bounded, since the model's own errors are not counting.
    """
    total = min(float(counts.sum()), 2e5)
    changes = np.array([direction.change for direction in directions])
    centred = centred_directions(shape, changes)
    theta, mu = np.zeros(len(directions)), np.empty(len(shape))
    scaled = counts * (total / counts.sum())
    fisher = np.ascontiguousarray((centred / shape) @ centred.T)
    fit_phase(
        scaled,
        total,
        shape,
        changes,
        fisher,
        np.array([direction.low for direction in directions]),
        np.array([LEARNT_BOUNDS * d.high if d.name in ADDITIVE else d.high for d in directions]),
        np.ones(len(directions)),
        40,
        theta,
        mu,
    )
    misfit = float(((scaled - total * mu) ** 2 / (total * mu + 1.0)).sum()) / len(mu)
    return theta, total * fisher, max(misfit, 1.0)
