"""What the evidence network sees: how strongly a pixel's counts speak for a label, and how far away such pixels are.

The planes of the learned sampler (`learned.inputs`) are those of a limit: counts so many that each visited pixel is
certain. The strength s of a pixel is its log-likelihood ratio, one label against the rest, in units of `CERTAIN`, cut
at ±1. In place of the squared distance to the nearest sample of a label stands min over pixels q of
|x − q|² + `PENALTY` (1/s_q − 1): weak evidence counts as if it were farther away. Labels are s = ±1.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..learned.inputs import CAP, N_PLANES

__all__ = ["CERTAIN", "evidence_distances", "evidence_planes", "strength"]

CERTAIN = 6.0
"""Log-likelihood ratio from which on a pixel counts as a label: 1 in 400 is wrong."""
PENALTY = 4.0
"""Square pixels by which a pixel of strength 1/2 is farther away than a label."""
_FAR = CAP * CAP


def strength(ratio: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return log-likelihood ratios, one label against the rest, in units of `CERTAIN` and cut at ±1."""
    return np.asarray(np.clip(np.asarray(ratio, np.float32) / np.float32(CERTAIN), -1.0, 1.0), np.float32)


@njit(cache=True, nogil=True)
def _envelope(s, sign, out):  # type: ignore[no-untyped-def]
    """Fill `out` (rows, columns) int32 with min over q of |x - q|² + penalty(sign · s_q); see Felzenszwalb 2012."""
    rows, columns = s.shape
    g = np.full((rows, columns), _FAR, np.int32)
    foot = np.empty(max(rows, columns), np.int32)
    start = np.empty(max(rows, columns) + 1, np.float64)
    for r in range(rows):
        n = 0
        for q in range(columns):
            v = sign * s[r, q]
            if v <= 0.0:
                continue
            cost = PENALTY * (1.0 / v - 1.0)
            if cost < _FAR:
                g[r, q] = np.int32(cost + 0.5)
    for axis in range(2):
        outer = columns if axis == 0 else rows
        inner = rows if axis == 0 else columns
        for o in range(outer):
            n = 0
            for q in range(inner):
                value = g[q, o] if axis == 0 else g[o, q]
                if value >= _FAR:
                    continue
                fq = float(value) + q * q
                cut = -1.0e30
                while n > 0:
                    p = foot[n - 1]
                    fp = float(g[p, o] if axis == 0 else out[o, p]) + p * p
                    cut = (fq - fp) / (2.0 * (q - p))
                    if cut > start[n - 1]:
                        break
                    n -= 1
                    cut = -1.0e30
                foot[n] = q
                start[n] = cut
                n += 1
            k = 0
            for c in range(inner):
                best = _FAR
                if n > 0:
                    while k + 1 < n and start[k + 1] < c:
                        k += 1
                    p = foot[k]
                    d = (c - p) * (c - p) + (g[p, o] if axis == 0 else g[o, p])
                    best = min(d, _FAR)
                if axis == 0:
                    out[c, o] = best
                else:
                    out[o, c] = best
        if axis == 0:
            g[:, :] = out
            # rows now read from g, which the second pass does not change


def evidence_distances(s: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return the penalised squared distances to the label and to the rest, (2, rows, columns), at most ``CAP**2``."""
    out = np.empty((2, *s.shape), np.int32)
    _envelope(s, np.float32(1.0), out[0])
    _envelope(s, np.float32(-1.0), out[1])
    return out


@njit(cache=True, nogil=True)
def _fill(s, own, other, out):  # type: ignore[no-untyped-def]
    rows, columns = s.shape
    for r in range(rows):
        for c in range(columns):
            out[0, r, c] = max(s[r, c], np.float32(0.0))
            out[1, r, c] = max(-s[r, c], np.float32(0.0))
            a, b = np.sqrt(np.float32(own[r, c])), np.sqrt(np.float32(other[r, c]))
            out[2, r, c] = np.float32(0.5) * np.log1p(a)
            out[3, r, c] = np.float32(0.5) * np.log1p(b)
            out[4, r, c] = (b - a) / (a + b) if a + b > 0 else np.float32(0.0)


def evidence_planes(s: NDArray[np.float32], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Return the network's input for one label, (5, rows, columns) float32.

    Parameters
    ----------
    s : (rows, columns) float32
        `strength` of each pixel for the label; 0 where nothing was measured.
    out : (5, rows, columns) float32, optional
        To be filled.
    """
    planes = np.empty((N_PLANES, *s.shape), np.float32) if out is None else out
    own, other = evidence_distances(s)
    _fill(s, own, other, planes)
    return planes
