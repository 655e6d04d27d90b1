"""A detector's calibration from spectra of known materials.

Each material is fitted with the nuisances of a computed phase (`marginal`). What belongs to the detector and the
microscope (energy scale, line widths, low-energy efficiency, continuum, pile-up, tail, contamination) is the same in
all of them but for a scatter: with the amplitudes t of a material known to the precision W (without its prior), t is
normal about the detector's m with the covariance V + W⁻¹, m about 0 with 1. m is found with a small V, so that a
material that shows a value well decides it. Then V, diagonal, is found by expectation and maximisation (Dempster,
Laird & Rubin, J. R. Stat. Soc. B 39, 1 (1977)), shrunk to 0.6 of the width without a calibration: three materials
show little of it. m goes into the model, V and what is left uncertain of m into the prior: what the materials do not
show (the gain, where none has a line at high energies) stays as wide as it was. Three rounds, since the energy scale
and the charge losses move all else.
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
from .computed import ADDED, DetectorCalibration, computed_phase
from .kernel import binned
from .live_channels import discriminator_end, strobe_end
from .marginal import fit_phase
from .nuisance import BROADENING_KEV2, COMPUTED, RESPONSE, TYPICAL, Direction
from .nuisance_judge import centred_directions
from .settings import ClassifierSettings

__all__ = ["calibrate"]

SHARED_SD = 0.3
"""Scatter among materials with which their common value is found."""
SHRUNK_SD = 0.6
SHRUNK_WORTH = 2.0
"""Materials that the assumed scatter `SHRUNK_SD` is worth."""
REFINED = 3
ROUNDS = 30
LEARNT_BOUNDS = 3.0
"""Upper bounds of `ADDITIVE` amplitudes in a calibration, in those of a spectrum: they are what is to be found."""
ADDITIVE = ("continuum", "slope", "low", "pile_up", "tail", "carbon", "soft_carbon", "oxygen")
"""Nuisances whose change is proportional to the amplitude, however large; the others are moved to in rounds."""
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
    for _ in range(REFINED):
        found = _refined(found, {n: c for n, (c, _) in materials.items()}, spectra, axis, chosen)
    return found


def _refined(
    known: DetectorCalibration,
    compositions: Mapping[str, str | Mapping[str, float] | Composition],
    spectra: Mapping[str, NDArray[Any]],
    axis: EnergyAxis,
    settings: ClassifierSettings,
) -> DetectorCalibration:
    """Fit all materials about a calibration's scale, widths and charge losses; all else starts from the model."""
    starts = settings.bin_starts(axis)
    response = {name: known.mean.get(name, TYPICAL[name]) for name in RESPONSE}
    scale_only = replace(known, mean=response, sd={})
    lines: list[float] = []
    names: list[str] = []
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
        theta, information, dispersion = _fitted(counts, phase.shape, directions)
        own = np.array([direction.name == "line" for direction in directions])
        lines += theta[own].tolist()
        # the strengths of lines are each material's own: integrated out
        cross = information[~own][:, own]
        inside = np.linalg.solve(information[own][:, own] + np.eye(int(own.sum())), cross.T)
        shared = {d.name: i for i, d in enumerate(d for d in directions if d.name != "line")}
        fits.append((shared, theta[~own], information[~own][:, ~own] - cross @ inside, dispersion))
        names += [n for n in shared if n not in names]
    common, scatter = _common_values([_padded(names, *fit) for fit in fits])
    mean = dict(zip(names, common.tolist(), strict=True))
    sd = dict(zip(names, scatter.tolist(), strict=True))
    squares = float((np.array(lines) ** 2).sum())
    sd["line"] = min(math.sqrt((SHRUNK_WORTH * LINE_SD**2 + squares) / (SHRUNK_WORTH + len(lines))), 1.0)
    return replace(
        known,
        gain=known.gain + mean.get("gain", 0.0) * max(COMPUTED.gain, settings.gain_sd),
        offset_kev=known.offset_kev
        + mean.get("offset", 0.0) * max(COMPUTED.offset_kev, settings.offset_sd_kev),
        broadening_kev2=known.broadening_kev2 + mean.get("width", 0.0) * COMPUTED.width * BROADENING_KEV2,
        mean={name: mean[name] + response.get(name, 0.0) for name in ADDED if name in mean},
        sd={("offset_kev" if name == "offset" else name): value for name, value in sd.items()},
    )


def _padded(
    names: list[str],
    shared: Mapping[str, int],
    theta: NDArray[np.float64],
    information: NDArray[np.float64],
    dispersion: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Put a material's amplitudes and information into the order of `names`; of what it lacks it says nothing."""
    place = [i for i, name in enumerate(names) if name in shared]
    order = [shared[names[i]] for i in place]
    amplitude, matrix = np.zeros(len(names)), np.zeros((len(names), len(names)))
    amplitude[place] = theta[order]
    matrix[np.ix_(place, place)] = information[np.ix_(order, order)]
    return amplitude, matrix, dispersion


def _common_values(
    fitted: list[tuple[NDArray[np.float64], NDArray[np.float64], float]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Amplitudes that materials have in common, and how far those of another may lie from them; (K,) each.

    Parameters
    ----------
    fitted : list of (amplitudes (K,), information (K, K), dispersion)
        Of each material: the most probable amplitudes with a standard normal prior, their Fisher matrix without it,
        and the variance that the model's misfit gives each count, in that of counting.
    """
    size = len(fitted[0][0])
    one = np.eye(size)
    scatter = np.full(size, SHARED_SD**2)
    # (W + 1) θ = W t: what a spectrum says of its amplitudes t, without the prior that θ has
    said = [
        (information @ amplitude + amplitude) / dispersion for amplitude, information, dispersion in fitted
    ]
    shown = [information / dispersion for _, information, dispersion in fitted]
    through = [np.linalg.inv(one + w * scatter) for w in shown]
    left = np.linalg.inv(one + sum(t @ w for t, w in zip(through, shown, strict=True)))
    common = left @ sum(t @ s for t, s in zip(through, said, strict=True))
    for _ in range(ROUNDS):
        squares = np.zeros(size)
        for w, s in zip(shown, said, strict=True):
            posterior = np.linalg.inv(w + np.diag(1.0 / scatter))
            squares += (posterior @ (s - w @ common)) ** 2 + np.diag(posterior)
        found = (SHRUNK_WORTH * SHRUNK_SD**2 + squares) / (SHRUNK_WORTH + len(fitted))
        scatter = np.minimum(found, 1.0)
    return common, np.minimum(np.sqrt(scatter + np.diag(left)), 1.0)


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
