"""The six features from which SLADS predicts, for a tile inside compiled loops and for a table of pixels.

====  =======================================================================================
f0    Σ w_r [l_r ≠ l̂] / Σ w_r
f1    √(mean_r [l_r ≠ l̂])
f2    d₁, distance to the nearest measured pixel, in pixels
f3    (1 + πR²) / (1 + #{r : d_r ≤ R})
f4    1 where the reconstruction differs between the left and the right neighbour of s, else 0
f5    the same for the neighbours above and below
====  =======================================================================================

for an unmeasured pixel s with its k nearest measured pixels r at distances d_r, labels l_r, weights w_r = 1/d_r²
and reconstruction l̂. A neighbour that lies outside the map counts as s itself.

Source: Godaliyadda et al., IEEE Trans. Comput. Imaging 4 (2018) 1–16, section IV; Zhang et al., Ultramicroscopy
184 (2018), for labels.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .state import COLUMNS, LANES, N_VOTES, OUTSIDE, ROWS, SHIFT, Field

__all__ = ["feature_table", "fill_feature_table", "tile_edges"]


@njit(cache=True, error_model="numpy")
def _differs(a, b, own):  # type: ignore[no-untyped-def]
    """Whether two neighbours' labels differ, those outside the map counting as the pixel's own."""
    if a == OUTSIDE:
        a = own
    if b == OUTSIDE:
        b = own
    return 1.0 if a != b else 0.0


@njit(cache=True, error_model="numpy")
def tile_edges(field, tile):  # type: ignore[no-untyped-def]
    """Put f4 and f5 of one tile into the field's lane_f64[0] and lane_f64[1]."""
    rows = field.counts[ROWS]
    per_row = (field.counts[COLUMNS] + LANES - 1) // LANES
    row, at = tile // per_row, tile % per_row
    recon = field.recon[tile]
    across, along = field.lane_f64[0], field.lane_f64[1]
    outside = np.uint8(OUTSIDE)
    above = field.recon[tile - per_row] if row > 0 else field.no_tile
    below = field.recon[tile + per_row] if row < rows - 1 else field.no_tile
    for lane in range(LANES):
        left, right = outside, outside
        if lane > 0:
            left = recon[lane - 1]
        elif at > 0:
            left = field.recon[tile - 1, LANES - 1]
        if lane < LANES - 1:
            right = recon[lane + 1]
        elif at < per_row - 1:
            right = field.recon[tile + 1, 0]
        across[lane] = _differs(left, right, recon[lane])
        along[lane] = _differs(above[lane], below[lane], recon[lane])


@njit(cache=True, error_model="numpy")
def fill_feature_table(field, pixels, out):  # type: ignore[no-untyped-def]
    """Put f0 … f5 of `pixels` (n,) into `out` (n, 6)."""
    columns = field.counts[COLUMNS]
    per_row = (columns + LANES - 1) // LANES
    neighbours = float(min(field.counts[N_VOTES], field.keys.shape[1]))
    before = -1
    for i in range(pixels.size):
        row, column = pixels[i] // columns, pixels[i] % columns
        tile, lane = row * per_row + column // LANES, column % LANES
        if tile != before:
            tile_edges(field, tile)
            before = tile
        out[i, 0] = field.disagreement[tile, lane]
        out[i, 1] = np.sqrt(np.float64(field.wrong[tile, lane]) / neighbours)
        out[i, 2] = np.sqrt(np.float64(field.keys[tile, 0, lane] >> SHIFT))
        out[i, 3] = field.radius[1] / (1.0 + np.float64(field.close[tile, lane]))
        out[i, 4] = field.lane_f64[0, lane]
        out[i, 5] = field.lane_f64[1, lane]


def feature_table(field: Field, pixels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return f0 … f5, (n, 6), of unmeasured `pixels` (n,), flat indices."""
    out = np.empty((pixels.size, 6))
    fill_feature_table(field, np.ascontiguousarray(pixels, np.int64), out)
    return out
