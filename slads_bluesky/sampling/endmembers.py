"""What a pure phase reads here: abundances corrected by the samples that lie deep inside their phases.

A phase is not the same everywhere: solid solutions are graded, spectra scatter from spot to spot. A pure spot then
reads as if a little of another phase were mixed in, e_l(x) instead of 1 and 0, and every boundary of the phase would
be found displaced. But what a mixed spectrum can be is known: nothing is mixed further from a boundary than the
interaction volume reaches. So e_l is learnt from the samples there, a constant and a slope along rows and columns for
each phase, with a normal prior about "as the classifier knows it" (Bayesian linear regression), and the parts of a
sample are those under which its reading Σ α_l e_l(x) comes out (spectral unmixing with endmember
variability; Somers et al., Remote Sensing of Environment 115, 1603-1616, 2011). What scatter is left is added to the
uncertainty.

Most phases read as the classifier knows them, and what a hundred pure samples of few counts say otherwise is noise
that displaces every boundary. So a correction counts with its posterior probability (`UNLIKELY`), and scatter counts
as far as it is significant: both only if ``evident``, which runs recorded before do not ask for.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..protocols import Endmembers

__all__ = ["corrected"]

DEEP = 0.99
"""Part of the interaction volume that a phase fills, by the map, where its samples are taken to be pure."""
FEWEST = 12
"""Pure samples of a phase from which on it is corrected."""
CONSTANT_SD, SLOPE_SD = 0.05, 0.15
"""Of the prior: parts by which a phase reads differently, everywhere and from one side of the map to the other."""
OUTLIER = 4.0
"""Standard deviations from which on a pure sample is left out: it is not of this phase."""
ROUNDS = 3
UNLIKELY = 10.0
"""Odds, before its samples are seen, that a phase reads as the classifier knows it."""
SIGNIFICANT = 2.0
"""Standard errors by which scatter exceeds the noise."""
MEDIAN_SQUARE = 0.455
"""Median of the square of a standard normal number; that of n of them has the relative standard error 2.34 / √n."""
LARGEST = 0.45
"""No reading of a pure phase is taken to differ by more."""


def corrected(
    shape: tuple[int, int],
    pixels: NDArray[np.int64],
    parts: NDArray[np.float64],
    part_sd: NDArray[np.float64],
    filled: NDArray[np.floating],
    endmembers: Endmembers = "evident",
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Correct the parts of samples by those that are pure.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns.
    pixels : (N,) int64
        Flat index of each sample.
    parts, part_sd : (N, L) float64
        Parts of the phases as measured, without bounds, and their standard deviations.
    filled : (N, L) float array
        Part of the interaction volume of each sample that each phase fills, by the map so far.
    endmembers : {"evident", "always"}
        Whether a correction counts with its posterior probability, or always.

    Returns
    -------
    (N, L) float64, (N, L) float64
        Corrected parts, and their standard deviations with what the phases scatter.
    """
    n_labels = parts.shape[1]
    row, column = np.divmod(pixels, shape[1])
    place = np.column_stack(
        [np.ones(len(pixels)), (row + 0.5) / shape[0] - 0.5, (column + 0.5) / shape[1] - 0.5]
    )
    ends = np.zeros((len(pixels), n_labels, n_labels))  # [sample, component, pure phase]
    scatter = np.zeros((n_labels, n_labels))  # variance [component, pure phase]
    for phase in range(n_labels):
        pure = filled[:, phase] >= DEEP
        offset = np.zeros((len(pixels), n_labels))
        if pure.sum() >= FEWEST:
            offset, scatter[:, phase] = _reading(place, pure, parts, part_sd, phase, endmembers)
        ends[:, :, phase] = np.clip(offset, -LARGEST, LARGEST)
        ends[:, phase, phase] += 1.0
    inverse = np.linalg.inv(ends)
    found = np.einsum("nij,nj->ni", inverse, parts)
    variance = part_sd**2 + np.clip(found, 0.0, 1.0) ** 2 @ scatter.T
    return found, np.sqrt(np.einsum("nij,nj->ni", inverse**2, variance))


def _reading(
    place: NDArray[np.float64],
    pure: NDArray[np.bool_],
    parts: NDArray[np.float64],
    part_sd: NDArray[np.float64],
    phase: int,
    endmembers: Endmembers,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How pure samples of a phase read less 1 or 0, at all samples (N, L), and the variance of their scatter (L,)."""
    wanted = np.zeros(parts.shape[1])
    wanted[phase] = 1.0
    precision = np.diag([CONSTANT_SD**-2.0, SLOPE_SD**-2.0, SLOPE_SD**-2.0])
    offset, scatter = np.zeros(parts.shape), np.zeros(parts.shape[1])
    beyond = 1.0
    if endmembers == "evident":
        beyond += SIGNIFICANT * 2.34 / math.sqrt(pure.sum())
    for component in range(parts.shape[1]):
        x, y = place[pure], parts[pure, component] - wanted[component]
        noise = part_sd[pure, component] ** 2
        kept, extra = np.ones(len(y), bool), 0.0
        for _ in range(ROUNDS):
            weight = kept / (noise + extra)
            known, said = (x * weight[:, None]).T @ x + precision, (x * weight[:, None]).T @ y
            slopes = np.linalg.solve(known, said)
            left = y - x @ slopes
            extra = max(float(np.median(left**2) / MEDIAN_SQUARE - beyond * np.median(noise)), 0.0)
            kept = np.abs(left) <= OUTLIER * np.sqrt(noise + extra)
        if endmembers == "evident":
            slopes = slopes * _probability(float(said @ slopes), known, precision)
        offset[:, component] = place @ slopes
        scatter[component] = extra
    # offsets of a phase's components sum to 0 as far as the parts sum to 1
    return offset - offset.mean(axis=1, keepdims=True), scatter


def _probability(fit: float, known: NDArray[np.float64], precision: NDArray[np.float64]) -> float:
    """Posterior probability of offsets against none: their evidence, (fit - ln |known| / |precision|) / 2 in nats."""
    evidence = 0.5 * (fit - np.linalg.slogdet(known)[1] + np.linalg.slogdet(precision)[1])
    return float(1.0 / (1.0 + UNLIKELY * math.exp(-min(max(evidence, -100.0), 100.0))))
