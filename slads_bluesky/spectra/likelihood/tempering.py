"""How far the likelihood of a classifier with nuisances is to be tempered, by spectra left out of learning.

Each training spectrum is judged by the template of the others of its phase, with the nuisances in the model: what
they explain is no reason to temper.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .marginal import fit_phase, log_occam
from .nuisance import Nuisance
from .nuisance_judge import centred_directions
from .templates import TEMPERING, Templates, flat_shape, shrunk_shapes, tempering_gains

__all__ = ["retempered"]

LEAST_SPECTRA = 3
COMPUTED_PART = 0.25
STEPS = 6
MISLABELLED = 0.02
"""Training spectra may lie on another phase, in this part: an operator or a segmentation chose them."""
AT_MOST = 24
"""Spectra of a phase that are left out, one at a time."""


def retempered(
    templates: Templates,
    nuisance: Nuisance,
    spectra: list[NDArray[np.float64]],
    computed: NDArray[np.bool_],
    starts: NDArray[np.int32],
    assumed: float,
) -> Templates:
    """Templates with the tempering that left-out spectra show.

    Parameters
    ----------
    templates : Templates
    nuisance : Nuisance
    spectra : list of (M, n_bins) float64
        Binned training spectra of each phase.
    computed : (L,) bool
    starts : (n_bins + 1,) int32
    assumed : float
        Least tempering if a phase has one or two measured spectra; `COMPUTED_PART` of it if one is computed, whose
        nuisances are wide enough to hold most of what a template has wrong.
    """
    flat = flat_shape(starts)
    sums = np.array([rows.sum(axis=0) for rows in spectra])
    found: list[NDArray[np.float64]] = []
    least = 0.0
    for phase, rows in enumerate(spectra):
        if computed[phase] or len(rows) < LEAST_SPECTRA:
            least = max(least, COMPUTED_PART * assumed if computed[phase] else assumed)
            continue
        for row in rows[:: max(1, -(-len(rows) // AT_MOST))]:
            rest = sums.copy()
            rest[phase] -= row
            shapes = np.ascontiguousarray(shrunk_shapes(rest, computed, flat))
            total = float(row.sum())
            value = np.array([_evidence(row, total, shapes[i], nuisance, i) for i in range(len(shapes))])
            found.append(np.append(value - value[phase], total))
    tempering = max(_mean_tempering(np.array(found)) if found else 0.0, least)
    return replace(templates, tempering=np.array([tempering]))


def _mean_tempering(left_out: NDArray[np.float64]) -> float:
    """ω of the mean factor 1 / (1 + N ω), averaged over ω by its likelihood.

    A few dozen spectra leave ω uncertain by orders of magnitude; its likeliest value alone hangs on one or two of
    them.
    """
    gains = tempering_gains(left_out, MISLABELLED)
    weight = np.exp(gains - gains.max())
    total = float(left_out[:, -1].mean())
    factor = float((weight / (1.0 + TEMPERING * total)).sum() / weight.sum())
    return (1.0 / factor - 1.0) / total


def _evidence(
    row: NDArray[np.float64], total: float, shape: NDArray[np.float64], nuisance: Nuisance, phase: int
) -> float:
    directions = nuisance.directions[phase]
    centred = centred_directions(shape, directions)
    fisher = np.ascontiguousarray((centred / shape) @ centred.T)
    size = len(directions)
    value = fit_phase(
        np.ascontiguousarray(row),
        total,
        shape,
        directions,
        fisher,
        nuisance.low[phase],
        nuisance.high[phase],
        np.ones(size),
        STEPS,
        np.zeros(size),
        np.empty(len(shape)),
    )
    return float(value - log_occam(total, np.maximum(np.linalg.eigvalsh(fisher), 0.0)))
