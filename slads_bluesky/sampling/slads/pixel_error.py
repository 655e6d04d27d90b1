"""The probability that the map is wrong at an unmeasured pixel: a logistic function of SLADS's own features.

Its sum over the map is a first estimate of the number of wrong pixels; along the run, its sum over the chosen
pixels is what the misses found there are compared with.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...threads import one_thread
from .features import tile_edges
from .state import CLOSED, LANES, N_VOTES, OUTSIDE, SHIFT

__all__ = ["N_TERMS", "fit_pixel_error", "map_pixel_error", "pixel_error_at", "pixel_error_terms"]

N_TERMS = 14


def pixel_error_terms(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the terms (n, 14) of the logistic function for features f0 … f5, (n, 6)."""
    f0, f1, f2, f3, f4, f5 = features.T
    distance, area = np.log(f2), np.log(f3)
    return np.stack(
        [
            np.ones_like(f0),
            f0,
            f1,
            f4,
            f5,
            f4 * f5,
            distance,
            area,
            distance * f1,
            distance * (f4 + f5),
            f0 * f1,
            f0 * f0,
            f1 * f1,
            distance * distance,
        ],
        axis=1,
    )


@njit(cache=True, error_model="numpy")
def _logistic(b, f0, f1, d2, f3, f4, f5):  # type: ignore[no-untyped-def]
    distance = 0.5 * np.log(d2)
    value = (
        b[0]
        + f0 * (b[1] + b[10] * f1 + b[11] * f0)
        + f1 * (b[2] + b[8] * distance + b[12] * f1)
        + f4 * b[3]
        + f5 * b[4]
        + f4 * f5 * b[5]
        + distance * (b[6] + b[9] * (f4 + f5) + b[13] * distance)
        + b[7] * np.log(f3)
    )
    return 1.0 / (1.0 + np.exp(-min(30.0, max(-30.0, value))))


@njit(cache=True, error_model="numpy")
def pixel_error_at(field, tile, lane, b):  # type: ignore[no-untyped-def]
    """Probability that the map is wrong at one unmeasured pixel, by coefficients b (14,)."""
    tile_edges(field, tile)
    neighbours = float(min(field.counts[N_VOTES], field.keys.shape[1]))
    return _logistic(
        b,
        np.float64(field.disagreement[tile, lane]),
        np.sqrt(np.float64(field.wrong[tile, lane]) / neighbours),
        np.float64(field.keys[tile, 0, lane] >> SHIFT),
        field.radius[1] / (1.0 + np.float64(field.close[tile, lane])),
        field.lane_f64[0, lane],
        field.lane_f64[1, lane],
    )


@njit(cache=True, error_model="numpy")
def map_pixel_error(field, b):  # type: ignore[no-untyped-def]
    """Sum of the pixel error over the map, its part where all neighbours agree, and the numbers of pixels of both.

    Pixels that need no vote are left out: those measured with a phase. Unclassified ones count.
    """
    neighbours = float(min(field.counts[N_VOTES], field.keys.shape[1]))
    total, agreed, n_total, n_agreed = 0.0, 0.0, 0, 0
    for tile in range(field.keys.shape[0]):
        tile_edges(field, tile)
        for lane in range(LANES):
            if field.keys[tile, 0, lane] == CLOSED or field.recon[tile, lane] == OUTSIDE:
                continue
            pixel_error = _logistic(
                b,
                np.float64(field.disagreement[tile, lane]),
                np.sqrt(np.float64(field.wrong[tile, lane]) / neighbours),
                np.float64(field.keys[tile, 0, lane] >> SHIFT),
                field.radius[1] / (1.0 + np.float64(field.close[tile, lane])),
                field.lane_f64[0, lane],
                field.lane_f64[1, lane],
            )
            total += pixel_error
            n_total += 1
            if field.wrong[tile, lane] == 0:
                agreed += pixel_error
                n_agreed += 1
    return total, agreed, n_total, n_agreed


@one_thread()
def fit_pixel_error(
    features: NDArray[np.float64],
    wrong: NDArray[np.bool_],
    weights: NDArray[np.float64],
    *,
    ridge: float = 1e-3,
) -> NDArray[np.float64]:
    """Fit the logistic function by weighted maximum likelihood (Newton's method with step halving).

    Parameters
    ----------
    features : (n, 6) float64 array
        f0 … f5 of unmeasured pixels.
    wrong : (n,) bool array
        Whether the map was wrong there.
    weights : (n,) float64 array
        Weight of each.
    ridge : float
        Penalty on the standardised coefficients, per unit of total weight of 1000 wrong pixels.

    Returns
    -------
    (14,) float64 array
        Coefficients of `pixel_error_terms`.
    """
    terms = pixel_error_terms(features)
    mean, scale = terms.mean(axis=0), terms.std(axis=0) + 1e-9
    mean[0], scale[0] = 0.0, 1.0
    z = (terms - mean) / scale
    y = wrong.astype(np.float64)
    weight = weights * (1000.0 / max(1e-12, float((weights * y).sum())))
    share = min(0.5, max(1e-6, float(np.average(y, weights=weight))))
    b = np.zeros(N_TERMS)
    b[0] = np.log(share / (1.0 - share))
    penalty = np.full(N_TERMS, ridge)
    penalty[0] = 1e-9

    def likelihood(b: NDArray[np.float64]) -> float:
        value = z @ b
        return float(-(weight * (np.logaddexp(0.0, value) - y * value)).sum() - 0.5 * penalty @ (b * b))

    current = likelihood(b)
    for _ in range(60):
        p = 1.0 / (1.0 + np.exp(-np.clip(z @ b, -30.0, 30.0)))
        gradient = z.T @ (weight * (y - p)) - penalty * b
        curvature = (z * (weight * p * (1.0 - p))[:, None]).T @ z + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while likelihood(b + size * step) < current and size > 1e-4:
            size /= 2.0
        b = b + size * step
        following = likelihood(b)
        if following - current < 1e-6 * abs(current):
            break
        current = following
    raw: NDArray[np.float64] = b / scale
    raw[0] = b[0] - float((b[1:] * mean[1:] / scale[1:]).sum())
    return raw
