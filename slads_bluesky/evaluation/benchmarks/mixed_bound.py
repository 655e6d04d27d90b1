"""What a dose allows at mixed boundaries, whoever spends it: a Cramér-Rao bound for the two-phase specimen.

A count of a spectrum with abundance α has the Fisher information I(α) about α, hence φ(x)² I / σ² about the position
x σ of a straight boundary; the best distance gives c σ / √n pixels for n counts. The specimen's boundaries are
the level set of a Gaussian field of known spectrum. With n counts for each pixel of boundary length, at the best
distance, the field's posterior variance on the boundary follows from linear algebra; over its slope it is that of the
position. The mean absolute error of the position times the length is the number of pixels with a wrong largest part.

The dose is spent evenly along the boundary, and nothing is spent on finding it. A dwell that follows the sample is
better by what it saves where pixels are surely on one side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from ...images.distortion import boundary_fraction
from ...spectra.likelihood.classifier import PhaseClassifier
from ..figures import Figure, measured

__all__ = ["bound_figures", "even_dose_distortion", "even_dose_factor", "position_constant"]

WIDTH = 0.24
"""Mean width of the ring of the specimens' spectrum, in ln of the frequency (`phantom.microstructures`)."""
PHASE_PART = 0.45
"""Area of the first phase."""
DISTANCES = np.linspace(-2.0, 2.0, 81)
"""Distances of a boundary from a sample, in σ, of which the best is taken."""


def position_constant(classifier: PhaseClassifier, first: int = 0, second: int = 1) -> float:
    """Return c: n counts locate a straight boundary between two phases (indices) to c σ / √n.

    Parameters
    ----------
    classifier : PhaseClassifier
    first, second : int
    """
    shape = classifier.templates.shape
    n = len(classifier.phases)
    yields = np.ones(n) if classifier.settings.yields is None else np.asarray(classifier.settings.yields)
    alpha = ndtr(DISTANCES)[:, None]
    whole = alpha * yields[first] + (1.0 - alpha) * yields[second]
    part = alpha * yields[first] / whole
    mixed = part * shape[first] + (1.0 - part) * shape[second]
    slope = yields[first] * yields[second] / whole**2 * (shape[first] - shape[second])
    information = (slope**2 / mixed).sum(axis=1)
    density = np.exp(-0.5 * DISTANCES**2) / math.sqrt(2.0 * math.pi)
    return float((1.0 / (density * np.sqrt(information))).min())


@cache
def _boundary(size: int, wanted: float, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Covariance of a field at its boundary's points (n, n), the slopes there (n,), and the boundary's length."""
    y, x = np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None]
    radius = np.hypot(y, x)
    noise = np.fft.fft2(np.random.default_rng(seed).standard_normal((size, size)))
    wavelength = 4.2 / wanted
    for _ in range(12):
        with np.errstate(divide="ignore"):
            ring = np.exp(-(np.log(radius * wavelength) ** 2) / (2.0 * WIDTH**2)) / np.maximum(radius, 1e-6)
        field = np.fft.ifft2(noise * ring).real
        field = (field - np.quantile(field, PHASE_PART)) / field.std()
        found = boundary_fraction(np.where(field < 0, 1, 2).astype(np.uint8))
        if abs(found / wanted - 1.0) < 0.02:
            break
        wavelength *= found / wanted
    covariance = np.fft.ifft2(ring**2).real
    covariance /= covariance[0, 0]
    slope = np.hypot(*np.gradient(field))
    down = np.argwhere(field[:-1] * field[1:] < 0)
    across = np.argwhere(field[:, :-1] * field[:, 1:] < 0)
    points = np.concatenate([down, across])
    apart = (points[:, None] - points[None]) % size
    length = math.pi / 4.0 * len(points)  # Crofton: crossings with the lines of a square grid
    return covariance[apart[..., 0], apart[..., 1]], slope[tuple(points.T)], length


def even_dose_distortion(
    constant: float,
    sigma_px: float,
    counts: float,
    *,
    size: int = 128,
    boundaries: float = 0.12,
    seed: int = 0,
) -> float:
    """Return the least distortion, majority phase, that so many counts allow if they are spent evenly at boundaries.

    Parameters
    ----------
    constant : float
        Of `position_constant`.
    sigma_px : float
        Standard deviation of the interaction volume, pixels.
    counts : float
        Of the whole map.
    size : int
        Rows and columns.
    boundaries : float
        Boundary fraction of the specimen.
    seed : int
        Of the field.
    """
    covariance, slope, length = _boundary(size, boundaries, seed)
    noise = (constant * sigma_px * slope) ** 2 * len(slope) / counts
    left = np.linalg.solve(covariance + np.diag(noise + 1e-9), covariance)
    variance = np.maximum(np.diag(covariance) - np.einsum("ij,ji->i", covariance, left), 0.0)
    error = math.sqrt(2.0 / math.pi) * np.sqrt(variance) / slope
    return float(error.mean() * length / size**2)


def even_dose_factor(constant: float, sigma_px: float, counts: float, wanted: float) -> float:
    """Return how many times as many counts the distortion `wanted` takes at least, spent evenly."""
    low, high = 1e-2, 1e4
    for _ in range(12):
        middle = math.sqrt(low * high)
        if even_dose_distortion(constant, sigma_px, middle * counts) > wanted:
            low = middle
        else:
            high = middle
    return math.sqrt(low * high)


def bound_figures(
    results: Sequence[Mapping[str, Any]],
    classifiers: Mapping[str, PhaseClassifier],
    goals: Mapping[float, float],
) -> list[Figure]:
    """What even doses allow beside rows of `mixed.measure_rows`: of pbsn-128, mixed, with adaptive dwell.

    Parameters
    ----------
    results : sequence of mapping
    classifiers : object name to PhaseClassifier
    goals : σ to distortion
        Distortions of which the dose is given in that of the sharp case.
    """
    name = "pbsn-128"
    rows = [r for r in results if r["object_name"] == name and r["dwell"] != "fixed" and not r["imperfect"]]
    if not rows:
        return []
    constant = position_constant(classifiers[name])
    figures = [measured("pbsn: c, n counts locate a boundary to c σ / √n", constant)]
    sharp = [r["counts"]["median"] for r in rows if r["sigma_px"] == 0]
    for r in rows:
        if r["sigma_px"] == 0:
            continue
        least = even_dose_distortion(constant, r["sigma_px"], r["counts"]["median"])
        figures.append(measured(f"{r['row']}: least distortion by its counts, evenly spent", least))
    for sigma in dict.fromkeys(r["sigma_px"] for r in rows if r["sigma_px"] in goals):
        for counts in sharp[:1]:
            factor = even_dose_factor(constant, sigma, counts, goals[sigma])
            text = f"{name}, σ = {sigma:g}: dose for {goals[sigma]:g}, evenly spent, over the sharp case's"
            figures.append(measured(text, factor, "×"))
            three = even_dose_distortion(constant, sigma, 3.0 * counts)
            figures.append(
                measured(f"{name}, σ = {sigma:g}: least distortion by 3 × the sharp case's counts", three)
            )
    return figures
