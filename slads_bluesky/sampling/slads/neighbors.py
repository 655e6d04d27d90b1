"""Exact k nearest measured pixels: found in bulk at the start, kept up to date sample by sample.

`search_tiles` finds the lists from nothing, by cells that grow in rings around each pixel. `insert_sample` takes
one new sample into the lists that it enters. Those pixels form a star-shaped region around the sample (the k-th
distance grows by at most the step taken), but on a grid a thin arm of it may skip a ring of pixels, so that
"stop at the first ring without change" is nearly and not always exact; here a bound kept per 16 × 16 block on
the largest k-th distance decides which blocks are looked at, which is exact and costs as little.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .state import BLOCK, CLOSED, COLUMNS, LANES, N_TODO, NO_KEY, REACH, ROWS, SHIFT, STEP

__all__ = ["Cells", "block_reach", "insert_sample", "make_cells", "mark", "search_tiles"]

_PER_BLOCK = BLOCK // LANES


class Cells(NamedTuple):
    """Voting samples sorted into square cells."""

    size: int
    """Side of a cell, in pixels."""
    n_columns: int
    """Cells in a row."""
    start: NDArray[np.int32]
    """(cells + 1,): where each cell's samples start."""
    row: NDArray[np.int32]
    """(n,): row of each sample."""
    column: NDArray[np.int32]
    """(n,): column of each sample."""
    label: NDArray[np.int32]
    """(n,): compact label of each sample."""


def make_cells(shape: tuple[int, int], pixels: NDArray[np.int32], labels: NDArray[np.int32]) -> Cells:
    """Sort voting samples, flat `pixels` (n,) with compact `labels` (n,), into cells of about two samples."""
    rows, columns = shape
    size = int(np.clip(round((2 * rows * columns / max(1, pixels.size)) ** 0.5), 1, 4096))
    n_columns = -(-columns // size)
    n_rows = -(-rows // size)
    row, column = np.divmod(pixels.astype(np.int32), np.int32(columns))
    cell = (row // size) * n_columns + column // size
    order = np.argsort(cell, kind="stable")
    start = np.zeros(n_rows * n_columns + 1, np.int32)
    np.cumsum(np.bincount(cell, minlength=n_rows * n_columns), out=start[1:])
    return Cells(
        size, n_columns, start, row[order], column[order], np.ascontiguousarray(labels[order], dtype=np.int32)
    )


@njit(cache=True, error_model="numpy")
def _search_pixel(keys, lane, row, column, cells):  # type: ignore[no-untyped-def]
    """Fill keys[:, lane], (k, 8), with the k smallest keys of the samples around (row, column)."""
    k = keys.shape[0]
    size, n_columns = cells.size, cells.n_columns
    n_rows = (cells.start.size - 1) // n_columns
    for j in range(k):
        keys[j, lane] = NO_KEY
    mid_row, mid_column = row // size, column // size
    for ring in range(max(n_rows, n_columns)):
        # Nothing in this ring lies nearer than its inner edge.
        inner = (ring - 1) * size + 1
        if ring > 0 and (inner * inner) << SHIFT > keys[k - 1, lane]:
            break
        for cell_row in range(max(0, mid_row - ring), min(n_rows - 1, mid_row + ring) + 1):
            step = 1 if ring == 0 or abs(cell_row - mid_row) == ring else 2 * ring
            for cell_column in range(mid_column - ring, mid_column + ring + 1, step):
                if cell_column < 0 or cell_column >= n_columns:
                    continue
                cell = cell_row * n_columns + cell_column
                for s in range(cells.start[cell], cells.start[cell + 1]):
                    dy = cells.row[s] - row
                    dx = cells.column[s] - column
                    key = np.int32(((dy * dy + dx * dx) << SHIFT) | cells.label[s])
                    if key >= keys[k - 1, lane]:
                        continue
                    j = k - 1
                    while j > 0 and keys[j - 1, lane] > key:
                        keys[j, lane] = keys[j - 1, lane]
                        j -= 1
                    keys[j, lane] = key


@njit(cache=True, error_model="numpy")
def search_tiles(field, cells, tiles):  # type: ignore[no-untyped-def]
    """Find the neighbours of every pixel of `tiles` (n,) from nothing, but for closed ones."""
    columns = field.counts[COLUMNS]
    per_row = (columns + LANES - 1) // LANES
    k = field.keys.shape[1]
    for tile in tiles:
        row = tile // per_row
        for lane in range(LANES):
            if field.keys[tile, k - 1, lane] != CLOSED:
                _search_pixel(field.keys[tile], lane, row, (tile % per_row) * LANES + lane, cells)


@njit(cache=True, error_model="numpy")
def block_reach(field, block_row, block_column):  # type: ignore[no-untyped-def]
    """Set the bound on the last keys of one block from its pixels."""
    rows = field.counts[ROWS]
    per_row = (field.counts[COLUMNS] + LANES - 1) // LANES
    last = field.keys.shape[1] - 1
    largest = np.int32(CLOSED)
    for row in range(block_row * BLOCK, min(rows, (block_row + 1) * BLOCK)):
        first = row * per_row + block_column * _PER_BLOCK
        for tile in range(first, min(first + _PER_BLOCK, (row + 1) * per_row)):
            far = field.keys[tile, last]
            for lane in range(far.size):
                largest = max(largest, far[lane])
    field.reach[block_row, block_column] = largest


@njit(cache=True, error_model="numpy")
def mark(field, tile):  # type: ignore[no-untyped-def]
    """Put a tile on the list of this decision, once."""
    if field.stamp[tile] != field.counts[STEP]:
        field.stamp[tile] = field.counts[STEP]
        field.todo[field.counts[N_TODO]] = tile
        field.counts[N_TODO] += 1


@njit(cache=True, error_model="numpy")
def insert_sample(field, row, column, label):  # type: ignore[no-untyped-def]
    """Take a new voting sample into the lists that it enters, marking their tiles."""
    rows, columns = field.counts[ROWS], field.counts[COLUMNS]
    per_row = (columns + LANES - 1) // LANES
    k = field.keys.shape[1]
    n_block_rows, n_block_columns = field.reach.shape
    new = field.waiting
    # Now and then the bound for the whole map is drawn tighter; it only ever falls.
    if field.counts[STEP] % 32 == 0:
        largest = np.int32(CLOSED)
        flat = field.reach.reshape(field.reach.size)
        for i in range(flat.size):
            largest = max(largest, flat[i])
        field.counts[REACH] = largest
    far = int(np.sqrt(float(max(0, field.counts[REACH]) >> SHIFT))) + 1
    for block_row in range(max(0, row - far) // BLOCK, min(n_block_rows - 1, (row + far) // BLOCK) + 1):
        top = block_row * BLOCK
        dy = max(0, max(top - row, row - top - BLOCK + 1))
        for block_column in range(
            max(0, column - far) // BLOCK, min(n_block_columns - 1, (column + far) // BLOCK) + 1
        ):
            left = block_column * BLOCK
            dx = max(0, max(left - column, column - left - BLOCK + 1))
            if (dy * dy + dx * dx) << SHIFT > field.reach[block_row, block_column]:
                continue
            changed = False
            for r in range(top, min(rows, top + BLOCK)):
                vertical = (r - row) * (r - row)
                first = r * per_row + left // LANES
                for tile in range(first, min(first + _PER_BLOCK, (r + 1) * per_row)):
                    start = (tile - r * per_row) * LANES - column
                    for lane in range(new.size):
                        new[lane] = ((vertical + (start + lane) * (start + lane)) << SHIFT) | label
                    last = field.keys[tile, k - 1]
                    joins = 0
                    for lane in range(new.size):
                        joins += new[lane] < last[lane]
                    if joins == 0:
                        continue
                    changed = True
                    mark(field, tile)
                    for j in range(k):
                        own = field.keys[tile, j]
                        for lane in range(new.size):
                            held = own[lane]
                            own[lane] = min(held, new[lane])
                            new[lane] = max(held, new[lane])
            if changed:
                block_reach(field, block_row, block_column)
