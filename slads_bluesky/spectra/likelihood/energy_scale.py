"""Templates moved to another energy scale: that of a detector calibrated again, or of one that has drifted.

A shape in bins is the difference of a cumulative spectrum at the bins' edges. A cubic spline through it is evaluated
at the edges that the other scale has. All is linear in the shape, so one matrix moves templates and directions alike,
and what was measured stays as it is: no count is rebinned, Poisson statistics are kept.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from ..axis import EnergyAxis
from .nuisance import Nuisance
from .templates import STRAY, Templates, flat_shape

__all__ = ["bin_edges", "moved", "transfer_matrix"]

LEAST = 0.01
"""Part of the stray counts that a bin of a moved template holds at least."""


def bin_edges(axis: EnergyAxis, starts: NDArray[np.int32]) -> NDArray[np.float64]:
    """Energies at which bins begin and the last one ends, (n_bins + 1,) in keV."""
    return np.asarray(axis.offset_kev + axis.width_kev * (starts.astype(np.float64) - 0.5))


def transfer_matrix(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrix (m, n) that takes contents of bins with edges `source` (n + 1,) to edges `target` (m + 1,).

    What lies outside the source's range is 0.

    Examples
    --------
    >>> edges = np.linspace(0.0, 10.0, 41)
    >>> shape = np.diff(1.0 / (1.0 + np.exp((5.0 - edges) / 0.4)))
    >>> moved = transfer_matrix(edges, edges + 0.1) @ shape
    >>> bool(np.abs(moved - np.diff(1.0 / (1.0 + np.exp((4.9 - edges) / 0.4)))).max() < 1e-4)
    True
    """
    n = len(source) - 1
    cumulative = np.vstack([np.zeros(n), np.tri(n)])
    at = np.clip(target, source[0], source[-1])
    return np.asarray(np.diff(CubicSpline(source, cumulative, axis=0)(at), axis=0))


def moved(
    templates: Templates,
    nuisance: Nuisance | None,
    matrix: NDArray[np.float64],
    starts: NDArray[np.int32],
) -> tuple[Templates, Nuisance | None]:
    """Return templates and what may differ from them in the bins `starts` (m + 1,) that a matrix (m, n) takes to."""
    stray = STRAY * flat_shape(starts)
    shape = np.maximum(templates.shape @ matrix.T, LEAST * stray)
    shape /= shape.sum(axis=1, keepdims=True)
    changes = templates.changes @ matrix.T
    changes -= changes.sum(axis=2, keepdims=True) * shape[:, None, :]
    new = replace(templates, shape=shape, changes=np.ascontiguousarray(changes))
    if nuisance is None:
        return new, None
    directions = nuisance.directions @ matrix.T
    directions -= directions.sum(axis=2, keepdims=True) * shape[:, None, :]
    return new, replace(nuisance, directions=np.ascontiguousarray(directions))
