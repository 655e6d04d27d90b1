"""Belief propagation on a Potts field: what the pixels around say of a pixel, from the evidence of all.

The model is P(x | counts) ∝ exp(Σ_i ℓ_i(x_i) + Σ_ij β w_ij [x_i = x_j]) over the eight neighbours of each pixel,
with w = 1 along rows and columns and 1/√2 along diagonals. Messages pass in sweeps, forward and backward, each used
at once (Pearl 1988; Kschischang, Frey and Loeliger, IEEE Trans. Inf. Theory 47 (2001) 498-519); for a Potts model
each takes O(L). Loops make its marginals too sure, for which `reference` corrects.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["PottsField"]

_ROWS = np.array([-1, -1, -1, 0, 0, 1, 1, 1])
_COLUMNS = np.array([-1, 0, 1, -1, 1, -1, 0, 1])
_WEIGHTS = np.where(_ROWS * _COLUMNS == 0, 1.0, np.sqrt(0.5))
_LEAST = np.float32(1e-7)
"""Least part of a message, so that no label is ruled out by what lies around."""
REACH = 6
"""Pixels around a changed one in which messages are passed again."""


@njit(cache=True, nogil=True)
def _pass(evidence, messages, couple, r, c):  # type: ignore[no-untyped-def]
    """Send the messages of pixel (r, c) to its neighbours; return the greatest change of one."""
    rows, columns, n = evidence.shape
    belief = np.empty(n, np.float32)
    for x in range(n):
        value = evidence[r, c, x]
        for d in range(8):
            value *= messages[r, c, d, x]
        belief[x] = value
    moved = np.float32(0.0)
    out = np.empty(n, np.float32)
    for d in range(8):
        y, z = r + _ROWS[d], c + _COLUMNS[d]
        if y < 0 or z < 0 or y >= rows or z >= columns:
            continue
        total = np.float32(0.0)
        for x in range(n):
            out[x] = belief[x] / messages[r, c, d, x]
            total += out[x]
        norm = np.float32(0.0)
        for x in range(n):
            out[x] = max(out[x] / total * couple[d] + np.float32(1.0), _LEAST)
            norm += out[x]
        back = 7 - d  # the direction in which the receiver finds this pixel
        for x in range(n):
            new = max(out[x] / norm, _LEAST)
            moved = max(moved, abs(new - messages[y, z, back, x]))
            messages[y, z, back, x] = new
    return moved


@njit(cache=True, nogil=True)
def _sweep(evidence, messages, couple, top, bottom, left, right):  # type: ignore[no-untyped-def]
    moved = np.float32(0.0)
    for r in range(top, bottom):
        for c in range(left, right):
            moved = max(moved, _pass(evidence, messages, couple, r, c))
    for r in range(bottom - 1, top - 1, -1):
        for c in range(right - 1, left - 1, -1):
            moved = max(moved, _pass(evidence, messages, couple, r, c))
    return moved


@njit(cache=True, nogil=True)
def _fields(messages, out):  # type: ignore[no-untyped-def]
    rows, columns, _, n = messages.shape
    for r in range(rows):
        for c in range(columns):
            top = np.float32(-1e30)
            for x in range(n):
                value = np.float32(0.0)
                for d in range(8):
                    value += np.log(messages[r, c, d, x])
                out[r, c, x] = value
                top = max(top, value)
            for x in range(n):
                out[r, c, x] -= top


class PottsField:
    """Messages between the pixels of a map; kept, so that another count changes only what lies around it.

    Parameters
    ----------
    log_likelihood : (rows, columns, L) float array
        ℓ: of each label, 0 where nothing was measured (`evidence.robust`).
    strength : float
        β: log-odds that one neighbour's label is worth; 0: pixels are independent.

    Examples
    --------
    A pixel without evidence between pixels of the first label:

    >>> import numpy as np
    >>> evidence = np.zeros((3, 3, 2))
    >>> evidence[..., 1] = -2.0
    >>> evidence[1, 1] = 0.0
    >>> field = PottsField(evidence, strength=1.0)
    >>> _ = field.settle()
    >>> bool(field.prior()[1, 1, 0] > 0.99)
    True
    """

    def __init__(self, log_likelihood: NDArray[np.floating], strength: float) -> None:
        rows, columns, n = log_likelihood.shape
        self._evidence = np.empty((rows, columns, n), np.float32)
        self._couple = np.expm1(strength * _WEIGHTS).astype(np.float32)
        self._messages = np.full((rows, columns, 8, n), 1.0 / n, np.float32)
        self._take(np.s_[:, :], log_likelihood)

    def _take(self, where: tuple[slice | int, slice | int], log_likelihood: NDArray[np.floating]) -> None:
        scaled = log_likelihood - log_likelihood.max(axis=-1, keepdims=True)
        self._evidence[where] = np.maximum(np.exp(scaled), 1e-9)

    def settle(self, sweeps: int = 12, tolerance: float = 1e-3) -> float:
        """Pass messages until none changes by more than `tolerance`; return the last change."""
        rows, columns, _ = self._evidence.shape
        moved = 0.0
        for _ in range(sweeps):
            moved = float(_sweep(self._evidence, self._messages, self._couple, 0, rows, 0, columns))
            if moved < tolerance:
                break
        return moved

    def change(self, row: int, column: int, log_likelihood: NDArray[np.floating], sweeps: int = 2) -> None:
        """Take new log-likelihoods (L,) of one pixel, and pass messages within `REACH` pixels of it."""
        self._take((row, column), log_likelihood)
        rows, columns, _ = self._evidence.shape
        top, bottom = max(0, row - REACH), min(rows, row + REACH + 1)
        left, right = max(0, column - REACH), min(columns, column + REACH + 1)
        for _ in range(sweeps):
            _sweep(self._evidence, self._messages, self._couple, top, bottom, left, right)

    def log_prior(self) -> NDArray[np.float32]:
        """Return ln P(label | all but the pixel's own evidence), up to a constant: (rows, columns, L)."""
        out = np.empty(self._evidence.shape, np.float32)
        _fields(self._messages, out)
        return out

    def prior(self) -> NDArray[np.float32]:
        """Probability of each label given all but the pixel's own evidence, (rows, columns, L)."""
        p = np.exp(self.log_prior())
        return np.asarray(p / p.sum(axis=2, keepdims=True), np.float32)
