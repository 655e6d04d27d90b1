"""How far the spectra of one phase scatter about its template, along each direction, learnt from training spectra.

The score of a spectrum along the directions has the covariance N F (counting) plus (N F) V (N F), V the diagonal
covariance of the amplitudes. V is found by expectation and maximisation (Dempster, Laird & Rubin, J. R. Stat. Soc. B
39, 1 (1977)): the posterior of the amplitudes of each spectrum given V, then V from the mean of their squares *and*
posterior variances. An estimate that left out the latter would find no scatter in spectra of few counts, where the
prior holds the amplitudes near 0.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..axis import EnergyAxis
from .families import families_in
from .nuisance import MEASURED, Direction, Family, phase_directions, scale_directions
from .settings import ClassifierSettings

__all__ = ["measured_directions", "scatter_of"]

ASSUMED_LINE = 0.03
"""Relative scatter of a line's strength where too few spectra were measured to learn it."""
LEAST_SPECTRA = 3
ROUNDS = 60
MOST_LINE = 0.5
"""Relative scatter of a line's strength that training spectra can show: more is another phase."""
LEARNT = ("continuum", "slope", "low", "carbon", "oxygen", "tail", "pile_up", "width")
"""Nuisances besides lines whose scatter is learnt; the energy scale's is a setting."""
WIDEST = 20.0
"""A nuisance's learnt standard deviation is at most so many times `MEASURED`'s."""


def measured_directions(
    rows: NDArray[np.float64],
    shape: NDArray[np.float64],
    library: tuple[Family, ...],
    starts: NDArray[np.int32],
    axis: EnergyAxis,
    settings: ClassifierSettings,
) -> list[Direction]:
    """Directions of a phase with binned training spectra (M, n_bins) about its shape (n_bins,)."""
    priors = replace(MEASURED, gain=settings.gain_sd, offset_kev=settings.offset_sd_kev)
    scale = scale_directions(shape, starts, axis, priors)
    families = families_in(shape, float(rows.sum()), library, np.array(scale))
    assumed = [ASSUMED_LINE] * len(families)
    directions = phase_directions(shape, families, assumed, library, starts, axis, priors)
    if len(rows) < LEAST_SPECTRA:
        return directions
    found = scatter_of(rows, shape, np.array([d.change for d in directions]))
    factor: dict[str, float] = {}
    lines = []
    for direction, sd in zip(directions, found, strict=True):
        if direction.name == "line":
            lines.append(float(np.clip(ASSUMED_LINE * sd, MEASURED.line, MOST_LINE)))
        elif direction.name in LEARNT:
            factor[direction.name] = float(np.clip(sd, 1.0, WIDEST)) * getattr(priors, direction.name)
    return phase_directions(shape, families, lines, library, starts, axis, replace(priors, **factor))


def scatter_of(
    rows: NDArray[np.float64], shape: NDArray[np.float64], changes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Standard deviation of each direction's amplitude between spectra, beyond counting statistics.

    Parameters
    ----------
    rows : (M, n_bins) float64
        Binned counts.
    shape : (n_bins,) float64
        Learnt from them.
    changes : (K, n_bins) float64
        What one unit of each direction adds to the shape.

    Returns
    -------
    (K,) float64
        In units of the directions.
    """
    centred = changes - changes.sum(axis=1, keepdims=True) * shape
    fisher = (centred / shape) @ centred.T
    totals = rows.sum(axis=1)
    m = len(rows)
    score = (rows / shape) @ centred.T * np.sqrt(m / (m - 1.0))  # the shape is their own mean
    variance = np.ones(len(changes))
    for _ in range(ROUNDS):
        precision = totals[:, None, None] * fisher + np.diag(1.0 / np.maximum(variance, 1e-12))
        covariance = np.linalg.inv(precision)
        amplitude = np.einsum("mkj,mj->mk", covariance, score)
        variance = (amplitude**2 + np.diagonal(covariance, axis1=1, axis2=2)).mean(axis=0)
    return np.asarray(np.sqrt(variance))
