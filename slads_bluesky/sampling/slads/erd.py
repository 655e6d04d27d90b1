"""Expected reduction in distortion of every pixel, Eq. 6 of the paper, and the pixel where it is largest, Eq. 5.

ERD = Σ_{a ≤ b} θ_ab z_a z_b with z = (1, f0 … f5) of the module `features`. The reconstruction of a pixel is the
label of the largest weight, the lowest of several; votes are summed in float32 in the order of the keys, the
polynomial in float64 row by row of θ, and the ERD is kept in float32. Of several pixels with the largest ERD the
first in C order is chosen.

Source: Godaliyadda et al., IEEE Trans. Comput. Imaging 4 (2018) 1–16, section IV; Zhang et al., Ultramicroscopy
184 (2018), for labels.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .features import tile_edges
from .neighbors import mark
from .state import BLOCK, CLOSED, COLUMNS, LANES, N_TODO, N_VOTES, NO_KEY, ROWS, SHIFT, STEP

__all__ = ["best_pixel", "block_best", "erd_tile", "refresh", "vote_tile"]

_PER_BLOCK = BLOCK // LANES
_LABEL_BITS = np.int32((1 << SHIFT) - 1)


@njit(cache=True, error_model="numpy")
def vote_tile(field, tile, n_labels):  # type: ignore[no-untyped-def]
    """Reconstruct a tile and set its neighbour features; bits of the lanes whose label changed.

    Every inner loop runs over the lanes of plain arrays, which is what the compiler turns into vector code.
    """
    keys = field.keys[tile]
    k, lanes = keys.shape
    votes, total, weight, largest = field.votes, field.lane_f32[0], field.lane_f32[1], field.lane_f32[2]
    label, top, n_wrong, n_close = (
        field.lane_i32[0],
        field.lane_i32[1],
        field.lane_i32[2],
        field.lane_i32[3],
    )
    radius2 = np.int32(field.radius[0])
    for lane in range(lanes):
        total[lane] = 0.0
        largest[lane] = -1.0
        top[lane] = 0
        n_wrong[lane] = 0
        n_close[lane] = 0
    for phase in range(n_labels):
        vote = votes[phase]
        for lane in range(lanes):
            vote[lane] = 0.0
    for j in range(k):
        own = keys[j]
        for lane in range(lanes):
            d2 = np.int32(own[lane] >> SHIFT)
            inverse = np.float32(1.0) / np.float32(d2)
            inverse = np.float32(0.0) if own[lane] == NO_KEY else inverse
            weight[lane] = inverse
            total[lane] += inverse
            label[lane] = own[lane] & _LABEL_BITS
            n_close[lane] += np.int32(d2 <= radius2)
        for phase in range(n_labels):
            vote = votes[phase]
            this = np.int32(phase)
            for lane in range(lanes):
                vote[lane] += weight[lane] if label[lane] == this else np.float32(0.0)
    for phase in range(n_labels):
        vote = votes[phase]
        this = np.int32(phase)
        for lane in range(lanes):
            more = vote[lane] > largest[lane]
            largest[lane] = vote[lane] if more else largest[lane]
            top[lane] = this if more else top[lane]
    for j in range(k):
        own = keys[j]
        for lane in range(lanes):
            n_wrong[lane] += np.int32((own[lane] != NO_KEY) & ((own[lane] & _LABEL_BITS) != top[lane]))
    recon, disagreement = field.recon[tile], field.disagreement[tile]
    wrong, close = field.wrong[tile], field.close[tile]
    changed = 0
    for lane in range(lanes):
        if keys[0, lane] == CLOSED:
            continue
        if recon[lane] != top[lane]:
            changed |= 1 << lane
            recon[lane] = top[lane]
        disagreement[lane] = (total[lane] - largest[lane]) / total[lane]
        wrong[lane] = n_wrong[lane]
        close[lane] = n_close[lane]
    return changed


@njit(cache=True, error_model="numpy")
def erd_tile(field, tile):  # type: ignore[no-untyped-def]
    """Set the ERD of one tile from its features and the reconstruction around it."""
    tile_edges(field, tile)
    theta, opened = field.theta, field.open[tile]
    disagreement, wrong, close = field.disagreement[tile], field.wrong[tile], field.close[tile]
    nearest, erd = field.keys[tile, 0], field.erd[tile]
    across, along = field.lane_f64[0], field.lane_f64[1]
    lanes = nearest.size
    neighbours = float(min(field.counts[N_VOTES], field.keys.shape[1]))
    for lane in range(lanes):
        f0 = np.float64(disagreement[lane])
        f1 = np.sqrt(np.float64(wrong[lane]) / neighbours)
        f2 = np.sqrt(np.float64(nearest[lane] >> SHIFT))
        f3 = field.radius[1] / (1.0 + np.float64(close[lane]))
        f4 = across[lane]
        f5 = along[lane]
        value = (
            theta[0, 0]
            + theta[0, 1] * f0
            + theta[0, 2] * f1
            + theta[0, 3] * f2
            + theta[0, 4] * f3
            + theta[0, 5] * f4
            + theta[0, 6] * f5
        )
        value += f0 * (
            theta[1, 1] * f0
            + theta[1, 2] * f1
            + theta[1, 3] * f2
            + theta[1, 4] * f3
            + theta[1, 5] * f4
            + theta[1, 6] * f5
        )
        value += f1 * (
            theta[2, 2] * f1 + theta[2, 3] * f2 + theta[2, 4] * f3 + theta[2, 5] * f4 + theta[2, 6] * f5
        )
        value += f2 * (theta[3, 3] * f2 + theta[3, 4] * f3 + theta[3, 5] * f4 + theta[3, 6] * f5)
        value += f3 * (theta[4, 4] * f3 + theta[4, 5] * f4 + theta[4, 6] * f5)
        value += f4 * (theta[5, 6] * f5)
        erd[lane] = np.float32(value) if opened[lane] else np.float32(-np.inf)


@njit(cache=True, error_model="numpy")
def block_best(field, block_row, block_column):  # type: ignore[no-untyped-def]
    """Set the largest ERD of one block from its pixels."""
    rows = field.counts[ROWS]
    per_row = (field.counts[COLUMNS] + LANES - 1) // LANES
    first = block_column * _PER_BLOCK
    last = min(first + _PER_BLOCK, per_row)
    most = field.lane_f32[0]
    for lane in range(most.size):
        most[lane] = -np.inf
    for row in range(block_row * BLOCK, min(rows, (block_row + 1) * BLOCK)):
        for tile in range(row * per_row + first, row * per_row + last):
            erd = field.erd[tile]
            for lane in range(most.size):
                most[lane] = erd[lane] if erd[lane] > most[lane] else most[lane]
    largest = most[0]
    for lane in range(1, most.size):
        largest = max(largest, most[lane])
    field.best[block_row, block_column] = largest


@njit(cache=True, error_model="numpy")
def refresh(field, n_labels):  # type: ignore[no-untyped-def]
    """Bring reconstruction, features, ERD and maxima up to date after the lists of the marked tiles changed."""
    rows = field.counts[ROWS]
    per_row = (field.counts[COLUMNS] + LANES - 1) // LANES
    n_block_columns = field.best.shape[1]
    step = field.counts[STEP]
    n_changed = field.counts[N_TODO]
    for i in range(n_changed):
        tile = field.todo[i]
        changed = vote_tile(field, tile, n_labels)
        if changed == 0:
            continue
        row, at = tile // per_row, tile % per_row
        if row > 0:
            mark(field, tile - per_row)
        if row < rows - 1:
            mark(field, tile + per_row)
        if changed & 1 and at > 0:
            mark(field, tile - 1)
        if changed >> (LANES - 1) and at < per_row - 1:
            mark(field, tile + 1)
    n_blocks = 0
    for i in range(field.counts[N_TODO]):
        tile = field.todo[i]
        erd_tile(field, tile)
        block = (tile // per_row // BLOCK) * n_block_columns + (tile % per_row) // _PER_BLOCK
        if field.block_stamp[block] != step:
            field.block_stamp[block] = step
            field.block_todo[n_blocks] = block
            n_blocks += 1
    for i in range(n_blocks):
        block = field.block_todo[i]
        block_best(field, block // n_block_columns, block % n_block_columns)
    previous = -1
    for i in range(n_blocks):
        block_row = field.block_todo[i] // n_block_columns
        if block_row != previous:
            previous = block_row
            largest = np.float32(-np.inf)
            own = field.best[block_row]
            for block_column in range(n_block_columns):
                if own[block_column] > largest:
                    largest = own[block_column]
            field.best_row[block_row] = largest
    field.counts[N_TODO] = 0


@njit(cache=True, error_model="numpy")
def best_pixel(field):  # type: ignore[no-untyped-def]
    """Flat index of the pixel with the largest ERD, the first in C order of several; -1 if none is open."""
    rows, columns = field.counts[ROWS], field.counts[COLUMNS]
    per_row = (columns + LANES - 1) // LANES
    n_block_rows, n_block_columns = field.best.shape
    largest = np.float32(-np.inf)
    block_row = 0
    for i in range(n_block_rows):
        if field.best_row[i] > largest:
            largest = field.best_row[i]
            block_row = i
    if largest == -np.inf:
        return -1
    found = rows * columns
    for block_column in range(n_block_columns):
        if field.best[block_row, block_column] != largest:
            continue
        done = False
        for row in range(block_row * BLOCK, min(rows, (block_row + 1) * BLOCK)):
            first = row * per_row + block_column * _PER_BLOCK
            for tile in range(first, min(first + _PER_BLOCK, (row + 1) * per_row)):
                for lane in range(LANES):
                    if field.erd[tile, lane] == largest and not done:
                        found = min(found, row * columns + (tile - row * per_row) * LANES + lane)
                        done = True
            if done:
                break
    return found
