"""Fit of the physics model to one spectrum: amplitudes of line families, energy scale and resolution.

Maximum likelihood of Poisson counts by iteratively reweighted least squares (Fisher scoring), with a variance of the
model's own error beside the counts', and Gaussian priors on the nuisance terms: weaker lines of each family, tails of
incomplete charge collection, smooth correction of the continuum, pile-up, energy scale and line width. What the
priors leave open is part of the covariance of the amplitudes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.ndimage import gaussian_filter1d

from ...errors import DataError
from ...spectra.axis import EnergyAxis
from ...spectra.physics.composition import Composition
from ...spectra.physics.detector import FWHM, Detector
from .columns import (
    COMMON_TAIL,
    COMMON_TAIL_SD,
    CONTINUUM_SD,
    MINOR_SD,
    TAIL_SD,
    Columns,
    model_columns,
    shifted,
)
from .geometry import Conditions

__all__ = ["SpectralFit", "fit_spectrum"]

MODEL_SD = 0.01
"""Relative error of the model in one channel."""
ROUNDS = 4
"""The first ones move energy scale and resolution as a whole, the last gives each family its own small shift."""
REWEIGHTINGS = 4
LEAST_COUNTS = 200
LEAST_SHAPE_COUNTS = 1e5
MAX_SHIFT_KEV, MAX_GAIN = 0.02, 0.005
"""Most that one round may move the energy scale."""
OFFSET_SD_KEV, GAIN_SD = 0.008, 0.0015
"""Prior of the energy scale, around what the instrument states."""
FAMILY_SHIFT_KEV, FAMILY_VARIANCE_KEV2 = 0.0015, 6e-5
"""Of one family against the others: chemical shift, nonlinearity, natural width."""
PILE_UP_SD = 0.02
KNOWN_SHAPE = 0.25
"""What is left of the nuisance terms' standard deviations for a family whose shape a standard has shown."""
SHAPE_WINDOW_KEV = (0.20, 0.10)
"""Reach of a measured shape under its lowest and above its highest line of some strength."""
LOWEST_RESOLUTION_EV, HIGHEST_RESOLUTION_EV = 119.0, 220.0


@dataclass(frozen=True, eq=False)
class LineShape:
    """How a family's measured lines differ from the model's.

    Parameters
    ----------
    energies_kev : (n,) float64
    change : (n,) float64
        Counts per keV to add, per count of the model's family.
    """

    energies_kev: NDArray[np.float64]
    change: NDArray[np.float64]

    def on(self, energies_kev: NDArray[np.float64]) -> NDArray[np.float64]:
        """Change at other energies, 0 outside its range."""
        return np.interp(energies_kev, self.energies_kev, self.change, left=0.0, right=0.0)


@dataclass(frozen=True, eq=False)
class SpectralFit:
    """Result of a fit, F line families.

    Parameters
    ----------
    families : tuple of (int, str)
        Atomic number and shell of each.
    main_kev, edge_kev : (F,) float64
        Energy of the strongest line, lowest ionisation energy.
    amplitude : (F,) float64
        Intensity relative to the model's per electron into 4π: all alike if model and composition were right.
    covariance : (F, F) float64
        Of the amplitudes, counts and nuisance terms together.
    counting_sd : (F,) float64
        Standard deviation by counts alone, every other parameter known.
    counts : (F,) float64
        Net counts of each family.
    blank_sd : (F,) float64
        Standard deviation of the amplitude if there were none of the family.
    overlap : (F, F) float64
        Correlation of the amplitudes.
    inflation : (F,) float64
        Standard deviation over that of the family if nothing else were in the spectrum.
    axis : EnergyAxis
        As fitted.
    resolution_ev : float
        FWHM at Mn Kα as fitted.
    model, continuum : (n_channels,) float64
    used : (n_channels,) bool
        Channels of the fit.
    reduced_chi2 : float
        Of the counts alone: 1 for a perfect model; grows with the counts for any other.
    misfit : float
        The same with the model's own error of 1 % in each channel: near 1 if the model is as good as assumed.
    shapes : mapping
        Of the families that no other overlaps: how their lines differ from the model's.
    """

    families: tuple[tuple[int, str], ...]
    main_kev: NDArray[np.float64]
    edge_kev: NDArray[np.float64]
    amplitude: NDArray[np.float64]
    covariance: NDArray[np.float64]
    counting_sd: NDArray[np.float64]
    counts: NDArray[np.float64]
    blank_sd: NDArray[np.float64]
    overlap: NDArray[np.float64]
    inflation: NDArray[np.float64]
    axis: EnergyAxis
    resolution_ev: float
    model: NDArray[np.float64]
    continuum: NDArray[np.float64]
    used: NDArray[np.bool_]
    reduced_chi2: float
    misfit: float
    shapes: Mapping[tuple[int, str], LineShape]


def fit_spectrum(
    counts: NDArray[np.floating] | NDArray[np.integer],
    axis: EnergyAxis,
    composition: Composition,
    conditions: Conditions,
    *,
    start: SpectralFit | None = None,
    rounds: int = ROUNDS,
    shapes: Mapping[tuple[int, str], LineShape] | None = None,
    limits: bool = True,
) -> SpectralFit:
    """Fit a spectrum with the lines of the elements of a composition.

    Parameters
    ----------
    counts : (n_channels,) array
    axis : EnergyAxis
        As the instrument states it; gain and offset are fitted.
    composition : Composition
        Its elements are fitted; their fractions set absorption and line ratios within a family.
    conditions : Conditions
    start : SpectralFit, optional
        A fit of the same spectrum to start from.
    rounds : int
        Of energy scale and resolution.
    shapes : mapping, optional
        Measured shapes of some families, from the fits of standards.
    limits : bool
        Whether `blank_sd` is computed; NaN without.

    Raises
    ------
    DataError
        If the spectrum has another number of channels, or fewer than 200 counts in its range.
    """
    data = np.asarray(counts, dtype=np.float64)
    if data.shape != (axis.n_channels,):
        raise DataError(f"spectrum: shape {data.shape}, expected ({axis.n_channels},)")
    last = int(np.searchsorted(axis.energies(), 1.02 * conditions.beam_energy_kev))
    axis = EnergyAxis(axis.offset_kev, axis.width_kev, max(min(last, axis.n_channels), 8))
    data = data[: axis.n_channels]
    true_axis = start.axis if start is not None else axis
    resolution = start.resolution_ev if start is not None else conditions.detector.resolution_ev
    solution: _Solution | None = None
    for turn in range(rounds):
        columns = model_columns(composition, true_axis, resolution, conditions)
        if shapes:
            _take_shapes(columns, shapes)
        if not columns.families:
            raise DataError(
                f"spectrum: no line of {', '.join(composition.symbols)} at {conditions.beam_energy_kev:g} keV"
            )
        low, high = conditions.lowest_kev(composition.z), conditions.beam_energy_kev
        used = columns.energies_kev >= low
        if data[used].sum() < LEAST_COUNTS:
            raise DataError(
                f"spectrum: {data[used].sum():.0f} counts between {low:g} and {high:g} keV, "
                f"at least {LEAST_COUNTS} are needed"
            )
        solution = _solve(
            data, columns, used, true_axis, axis, solution, shapes or {}, last=turn == rounds - 1
        )
        if turn < rounds - 1:
            true_axis, resolution = _moved(true_axis, resolution, solution)
    assert solution is not None
    return _result(data, columns, used, true_axis, resolution, solution, limits)


@dataclass(eq=False)
class _Solution:
    design: NDArray[np.float64]
    sd: NDArray[np.float64]
    values: NDArray[np.float64]
    model: NDArray[np.float64]
    amplitude: NDArray[np.float64]
    continuum: NDArray[np.float64]
    shift: tuple[float, float, float]


def _solve(
    data: NDArray[np.float64],
    columns: Columns,
    used: NDArray[np.bool_],
    axis: EnergyAxis,
    stated: EnergyAxis,
    before: _Solution | None,
    shapes: Mapping[tuple[int, str], LineShape],
    *,
    last: bool,
) -> _Solution:
    n = len(columns.families)
    smooth_counts = max(float(data[used].sum()), 1.0)
    if before is not None and len(before.amplitude) == n:
        model, amplitude = before.model, before.amplitude
    else:
        flat = columns.lines.sum(axis=0) + columns.continuum
        scale = smooth_counts / max(float(flat[used].sum()), 1e-30)
        model, amplitude = flat * scale, np.full(n, scale)
    own_error = _own_error(data)
    solution: _Solution | None = None
    for _ in range(REWEIGHTINGS):
        design, sd = _design(columns, amplitude, model, axis)
        sd[-3:] = 1e-9 if last else sd[-3:]
        sd[3 * n : 5 * n] = sd[3 * n : 5 * n] if last else 1e-9
        known = np.array([(f.z, f.shell) in shapes for f in columns.families])
        for k in range(1, 5):
            sd[k * n : (k + 1) * n][known] *= KNOWN_SHAPE
        mean = np.zeros(len(sd))
        mean[-6] = 0.0 if known.any() else COMMON_TAIL
        sd[-6] *= KNOWN_SHAPE if known.any() else 1.0
        mean[-3:-1] = (0.0, 0.0) if last else _back(axis, stated)
        x, y = design[:, used], data[used]
        expected = np.maximum(model[used], 0.3)
        weight = 1.0 / (expected + own_error[used])
        values, _ = _ridge(x, y, weight, sd, mean)
        model = np.maximum(values @ design, 0.0)
        amplitude = values[:n].copy()
        k = 5 * n
        continuum = values[k] * columns.continuum + values[k + 1 : k + 1 + len(columns.hats)] @ (
            columns.hats * columns.continuum
        )
        solution = _Solution(
            design, sd, values, model, amplitude, continuum, (values[-3], values[-2], values[-1])
        )
    assert solution is not None
    return solution


def _take_shapes(columns: Columns, shapes: Mapping[tuple[int, str], LineShape]) -> None:
    width = float(columns.energies_kev[1] - columns.energies_kev[0])
    for family, line in zip(columns.families, columns.lines, strict=True):
        shape = shapes.get((family.z, family.shell))
        if shape is not None:
            line += line.sum() * width * shape.on(columns.energies_kev)


def _windows(columns: Columns) -> list[tuple[float, float]]:
    out = []
    for family in columns.families:
        strong = family.energy_kev[family.photons > 0.01 * family.photons.max()]
        out.append((strong.min() - SHAPE_WINDOW_KEV[0], strong.max() + SHAPE_WINDOW_KEV[1]))
    return out


def _measured_shapes(
    data: NDArray[np.float64],
    columns: Columns,
    used: NDArray[np.bool_],
    solution: _Solution,
    width_kev: float,
) -> dict[tuple[int, str], LineShape]:
    """Shapes of the families that stand alone: the fitted nuisance terms and what they leave over."""
    n = len(columns.families)
    windows = _windows(columns)
    residual = data - solution.model
    total = columns.lines.sum(axis=1)
    common = solution.values[-6]
    out = {}
    for i, family in enumerate(columns.families):
        amplitude = solution.amplitude[i]
        net = amplitude * total[i]
        low, high = windows[i]
        alone = all(
            high < other[0] or other[1] < low or solution.amplitude[j] * total[j] < 0.01 * net
            for j, other in enumerate(windows)
            if j != i
        )
        if not alone or net < LEAST_SHAPE_COUNTS or low < columns.energies_kev[used][0]:
            continue
        inside = (columns.energies_kev >= low) & (columns.energies_kev <= high)
        edge = np.minimum(columns.energies_kev - low, high - columns.energies_kev)
        taper = np.clip(edge / 0.06, 0.0, 1.0)[inside]
        own = sum(
            (solution.values[k * n + i] * solution.design[k * n + i] for k in range(1, 5)),
            start=common * amplitude * (columns.tails[i] - columns.lines[i]),
        )
        change = (own[inside] + residual[inside] * taper) / net / width_kev
        out[family.z, family.shell] = LineShape(columns.energies_kev[inside], change)
    return out


def _own_error(data: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance of the model's own error in each channel: from the data, so that no wrong model excuses itself."""
    return np.asarray((MODEL_SD * gaussian_filter1d(data, 1.0)) ** 2)


def _design(
    columns: Columns, amplitude: NDArray[np.float64], model: NDArray[np.float64], axis: EnergyAxis
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All columns (P, n_channels) with the standard deviations of their priors.

    Order: families, weaker lines, tails, shifts, widths, continuum, its hats, a flat
    background, tail of all lines, noise, pile-up, offset, gain, width.
    """
    size = np.maximum(np.abs(amplitude), 1e-3 * np.abs(amplitude).max())
    minor_sd = np.array([MINOR_SD[f.shell] for f in columns.families]) * size
    tail_sd = TAIL_SD * size
    common = amplitude @ (columns.tails - columns.lines)
    continuum_scale = _continuum_scale(columns, model, amplitude)
    piled = Detector(pile_up=0.5).piled_up(np.maximum(model, 0.0), axis)
    hats = columns.hats * columns.continuum
    slopes, widths = map(np.array, zip(*(shifted(line, axis) for line in columns.lines), strict=True))
    slope, width = amplitude @ slopes, amplitude @ widths  # of lines alone: the continuum is smooth
    design = np.vstack([
        columns.lines,
        columns.minor,
        columns.tails - columns.lines,
        slopes,
        widths,
        columns.continuum,
        hats,
        np.ones(len(model)),
        common,
        columns.noise,
        piled - np.maximum(model, 0.0),
        slope,
        slope * columns.energies_kev,
        width,
    ])  # fmt: skip
    sd = np.concatenate([
        np.full(len(size), np.inf),
        minor_sd,
        tail_sd,
        FAMILY_SHIFT_KEV * size,
        FAMILY_VARIANCE_KEV2 * size,
        [np.inf],
        np.full(len(hats), CONTINUUM_SD * continuum_scale),
        [max(float(model.mean()), 1e-30)],
        [COMMON_TAIL_SD],
        [np.inf],
        [PILE_UP_SD, OFFSET_SD_KEV, GAIN_SD, 2e-4],
    ])  # fmt: skip
    return design, sd


def _continuum_scale(columns: Columns, model: NDArray[np.float64], amplitude: NDArray[np.float64]) -> float:
    rest = float((model - amplitude @ columns.lines).sum())
    whole = float(columns.continuum.sum())
    return max(rest / whole, 1e-3 * float(np.abs(amplitude).max())) if whole > 0 else 1.0


def _ridge(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    weight: NDArray[np.float64],
    sd: NDArray[np.float64],
    mean: NDArray[np.float64] | float = 0.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted least squares with Gaussian priors around `mean`: values and their covariance."""
    norm = np.sqrt((x * x * weight).sum(axis=1))
    norm[norm == 0.0] = 1.0
    scaled = x / norm[:, None]
    prior = np.where(np.isfinite(sd), 1.0 / (np.maximum(sd, 1e-30) * norm) ** 2, 0.0)
    prior = np.minimum(prior, 1e10) + 1e-10
    full = (scaled * weight) @ scaled.T + np.diag(prior)
    factor = cho_factor(full, lower=True)
    inverse = cho_solve(factor, np.eye(len(full)))
    values = inverse @ ((scaled * weight) @ y + prior * mean * norm)
    return values / norm, inverse / np.outer(norm, norm)


def _back(axis: EnergyAxis, stated: EnergyAxis) -> tuple[float, float]:
    """Offset in keV and gain of lines that `_moved` would bring from an energy scale to the stated one."""
    scale = axis.width_kev / stated.width_kev
    return axis.offset_kev - scale * stated.offset_kev, scale - 1.0


def _moved(axis: EnergyAxis, resolution_ev: float, solution: _Solution) -> tuple[EnergyAxis, float]:
    """Energy scale and resolution after a round."""
    offset, gain, variance = solution.shift
    offset = float(np.clip(offset, -MAX_SHIFT_KEV, MAX_SHIFT_KEV))
    gain = float(np.clip(gain, -MAX_GAIN, MAX_GAIN))
    # A line at E appears at E + offset + gain E: so the channel that says E + … really holds E.
    scale = 1.0 + gain
    moved = EnergyAxis((axis.offset_kev - offset) / scale, axis.width_kev / scale, axis.n_channels)
    squared = resolution_ev**2 + FWHM**2 * float(np.clip(variance, -5e-4, 1e-3)) * 1e6
    resolution = math.sqrt(min(max(squared, LOWEST_RESOLUTION_EV**2), HIGHEST_RESOLUTION_EV**2))
    return moved, resolution


def _result(
    data: NDArray[np.float64],
    columns: Columns,
    used: NDArray[np.bool_],
    axis: EnergyAxis,
    resolution_ev: float,
    solution: _Solution,
    limits: bool,
) -> SpectralFit:
    n = len(columns.families)
    x, y = solution.design[:, used], data[used]
    expected = np.maximum(solution.model[used], 0.3)
    own_error = _own_error(data)[used]
    weight = 1.0 / (expected + own_error)
    _, covariance = _ridge(x, y, weight, solution.sd)
    dof = max(int(used.sum()) - n - 3, 1)
    misfit = float(((y - expected) ** 2 * weight).sum() / dof)
    reduced = float(((y - expected) ** 2 / expected).sum() / dof)
    covariance = covariance[:n, :n] * max(misfit, 1.0)
    alone = 1.0 / np.sqrt((columns.lines[:, used] ** 2 / expected).sum(axis=1))
    blank = np.full(n, np.nan)
    for i in range(n if limits else 0):
        without = np.maximum(expected - max(solution.amplitude[i], 0.0) * columns.lines[i, used], 0.3)
        w = 1.0 / (without + np.minimum(own_error, (MODEL_SD * without) ** 2))
        _, c = _ridge(x, y, w, solution.sd)
        blank[i] = math.sqrt(max(c[i, i], 0.0))
    sd = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    return SpectralFit(
        tuple((f.z, f.shell) for f in columns.families),
        np.array([f.main_kev for f in columns.families]),
        np.array([f.edge_kev for f in columns.families]),
        solution.amplitude,
        covariance,
        alone,
        solution.amplitude * columns.counts,
        blank,
        covariance / np.outer(sd, sd),
        sd / alone,
        axis,
        resolution_ev,
        solution.model,
        solution.continuum,
        used,
        reduced,
        misfit,
        _measured_shapes(data, columns, used, solution, axis.width_kev),
    )
