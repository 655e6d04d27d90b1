"""What the network sees of the measured labels: exact distances to the nearest sample of a label and of any other.

Squared Euclidean distances are integers, computed exactly in two passes (columns, then the lower envelope of
parabolas along each row; Meijster, Roerdink and Hesselink 2000, in Mathematical Morphology and its Applications
to Image and Signal Processing, 331-340), and capped at `CAP` pixels, so that a map may be cut into tiles.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["CAP", "N_PLANES", "fold_planes", "label_distances", "one_against_rest", "planes"]

CAP = 100
"""Pixels; greater distances count as this one."""

N_PLANES = 5
"""Planes that `planes` makes for one label."""

_FAR = CAP * CAP
_ROOT = np.sqrt(np.arange(_FAR + 1)).astype(np.float32)
_LOG = (0.5 * np.log1p(_ROOT)).astype(np.float32)


@njit(cache=True, nogil=True)
def _distance_to(measured, label, other, out):  # type: ignore[no-untyped-def]
    """Fill `out` with squared distances to samples of `label`; of all other labels > 0 if `other`."""
    rows, columns = measured.shape
    g = np.empty((rows, columns), np.int32)
    for r in range(rows):
        for c in range(columns):
            m = measured[r, c]
            hit = m > 0 and ((m == label) != other)
            if hit:
                g[r, c] = 0
            elif r > 0:
                g[r, c] = min(g[r - 1, c] + 1, CAP)
            else:
                g[r, c] = CAP
    for r in range(rows - 2, -1, -1):
        for c in range(columns):
            if g[r + 1, c] + 1 < g[r, c]:
                g[r, c] = g[r + 1, c] + 1
    foot = np.empty(columns, np.int32)
    start = np.empty(columns + 1, np.float64)
    for r in range(rows):
        n = 0
        for q in range(columns):
            if g[r, q] >= CAP:
                continue
            fq = g[r, q] * g[r, q] + q * q
            s = -1.0e30
            while n > 0:
                p = foot[n - 1]
                s = (fq - (g[r, p] * g[r, p] + p * p)) / (2.0 * (q - p))
                if s > start[n - 1]:
                    break
                n -= 1
                s = -1.0e30
            foot[n] = q
            start[n] = s
            n += 1
        if n == 0:
            for c in range(columns):
                out[r, c] = _FAR
            continue
        k = 0
        for c in range(columns):
            while k + 1 < n and start[k + 1] < c:
                k += 1
            d = (c - foot[k]) * (c - foot[k]) + g[r, foot[k]] * g[r, foot[k]]
            out[r, c] = min(d, _FAR)


def label_distances(measured: NDArray[np.int16], n_labels: int) -> NDArray[np.uint16]:
    """Return squared distances to the nearest sample of each label.

    Parameters
    ----------
    measured : (rows, columns) int16
        Label of each measured pixel; 0 (unclassified) and -1 (unmeasured) count for nothing.
    n_labels : int
        Labels run from 1 to this.

    Returns
    -------
    (n_labels, rows, columns) uint16
        Squared distance in pixels², at most ``CAP**2``.
    """
    out = np.empty((n_labels, *measured.shape), np.uint16)
    for label in range(1, n_labels + 1):
        _distance_to(measured, label, False, out[label - 1])
    return out


def one_against_rest(measured: NDArray[np.int16], label: int) -> NDArray[np.uint16]:
    """Return squared distances to the nearest sample of `label` and of any other, (2, rows, columns)."""
    out = np.empty((2, *measured.shape), np.uint16)
    _distance_to(measured, label, False, out[0])
    _distance_to(measured, label, True, out[1])
    return out


@njit(cache=True, nogil=True)
def _planes(own, other, root, log, out):  # type: ignore[no-untyped-def]
    rows, columns = own.shape
    for r in range(rows):
        for c in range(columns):
            a, b = own[r, c], other[r, c]
            out[0, r, c] = 1.0 if a == 0 else 0.0
            out[1, r, c] = 1.0 if b == 0 else 0.0
            out[2, r, c] = log[a]
            out[3, r, c] = log[b]
            total = root[a] + root[b]
            out[4, r, c] = (root[b] - root[a]) / total if total > 0 else 0.0


def planes(own: NDArray[np.uint16], other: NDArray[np.uint16], out: NDArray[np.float32]) -> None:
    """Fill the network's input for one label from squared distances.

    Parameters
    ----------
    own, other : (rows, columns) uint16
        Squared distance to the nearest sample of the label, and of any other one.
    out : (5, rows, columns) float32
        Is this label; is another; ½ log(1 + d_own); ½ log(1 + d_other); (d_other - d_own) / (d_other + d_own).
    """
    _planes(own, other, _ROOT, _LOG, out)


@njit(cache=True, nogil=True)
def _fold_planes(own, other, root, log, out):  # type: ignore[no-untyped-def]
    rows, columns = own.shape
    for r in range(rows):
        for c in range(columns):
            a, b = own[r, c], other[r, c]
            lane = (r % 2) * 2 + c % 2
            cell = out[r // 2, c // 2]
            cell[lane] = 1.0 if a == 0 else 0.0
            cell[4 + lane] = 1.0 if b == 0 else 0.0
            cell[8 + lane] = log[a]
            cell[12 + lane] = log[b]
            total = root[a] + root[b]
            cell[16 + lane] = (root[b] - root[a]) / total if total > 0 else 0.0


def fold_planes(own: NDArray[np.uint16], other: NDArray[np.uint16], out: NDArray[np.float32]) -> None:
    """Fill `out`, (rows / 2, columns / 2, 20), with what `planes` makes, 2 × 2 pixels folded, channels last."""
    _fold_planes(own, other, _ROOT, _LOG, out)
