"""One decision, compiled: take a label, bring everything that it changes up to date, choose the next pixel."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .erd import best_pixel, refresh
from .features import fill_feature_table
from .neighbors import block_reach, insert_sample, make_cells, mark, search_tiles
from .pixel_error import pixel_error_at
from .state import CLOSED, COLUMNS, LANES, N_TODO, N_VOTES, NO_KEY, REACH, ROWS, SHIFT, STEP, Field

__all__ = [
    "advance",
    "close_pixel",
    "copy_changed",
    "pick_batch",
    "place",
    "rebuild",
    "run_order",
    "run_recorded",
    "take_back",
]


@njit(cache=True, error_model="numpy")
def place(field, row, column, label, n_labels):  # type: ignore[no-untyped-def]
    """Take a voting sample with a compact label at a pixel that had none."""
    per_row = (field.counts[COLUMNS] + LANES - 1) // LANES
    tile, lane = row * per_row + column // LANES, column % LANES
    k = field.keys.shape[1]
    field.counts[N_VOTES] += 1
    field.counts[STEP] += 1
    field.counts[N_TODO] = 0
    for j in range(k):
        field.keys[tile, j, lane] = CLOSED
    field.open[tile, lane] = False
    field.disagreement[tile, lane] = 0.0
    field.wrong[tile, lane] = 0
    field.close[tile, lane] = 0
    mark(field, tile)
    if field.recon[tile, lane] != label:
        field.recon[tile, lane] = label
        if row > 0:
            mark(field, tile - per_row)
        if row < field.counts[ROWS] - 1:
            mark(field, tile + per_row)
        if lane == 0 and column > 0:
            mark(field, tile - 1)
        if lane == LANES - 1 and column // LANES < per_row - 1:
            mark(field, tile + 1)
    insert_sample(field, row, column, label)
    refresh(field, n_labels)


@njit(cache=True, error_model="numpy")
def close_pixel(field, row, column, opened, n_labels):  # type: ignore[no-untyped-def]
    """Say whether a pixel may be chosen, and nothing else: how an unclassified pixel is taken."""
    per_row = (field.counts[COLUMNS] + LANES - 1) // LANES
    tile = row * per_row + column // LANES
    field.counts[STEP] += 1
    field.counts[N_TODO] = 0
    field.open[tile, column % LANES] = opened
    mark(field, tile)
    refresh(field, n_labels)


@njit(cache=True, error_model="numpy")
def _mark_reached(field, row, column):  # type: ignore[no-untyped-def]
    """Mark the tiles with a pixel whose list may hold the sample at (row, column)."""
    rows = field.counts[ROWS]
    per_row = (field.counts[COLUMNS] + LANES - 1) // LANES
    last = field.keys.shape[1] - 1
    for tile in range(rows * per_row):
        dy = tile // per_row - row
        for lane in range(LANES):
            dx = (tile % per_row) * LANES + lane - column
            if (dy * dy + dx * dx) << SHIFT <= field.keys[tile, last, lane]:
                mark(field, tile)


@njit(cache=True, error_model="numpy")
def _rebuild(field, cells, n_labels):  # type: ignore[no-untyped-def]
    """Search the lists of the marked tiles from nothing and bring the rest up to date."""
    search_tiles(field, cells, field.todo[: field.counts[N_TODO]])
    refresh(field, n_labels)
    largest = np.int32(CLOSED)
    for block_row in range(field.reach.shape[0]):
        for block_column in range(field.reach.shape[1]):
            block_reach(field, block_row, block_column)
            largest = max(largest, field.reach[block_row, block_column])
    field.counts[REACH] = largest


def rebuild(field: Field, pixels: NDArray[np.int32], labels: NDArray[np.int32], n_labels: int) -> None:
    """Set the field from all voting samples at once.

    Parameters
    ----------
    field : Field
        As `empty_field` made it; changed in place. Its `open` must be as wanted already.
    pixels : (n,) int32 array
        Flat indices of the voting samples, n ≥ 1.
    labels : (n,) int32 array
        Their compact labels.
    n_labels : int
        Number of labels.
    """
    rows, columns = int(field.counts[ROWS]), int(field.counts[COLUMNS])
    per_row = -(-columns // LANES)
    row, column = np.divmod(pixels, columns)
    tile, lane = row * per_row + column // LANES, column % LANES
    field.keys[tile, :, lane] = CLOSED
    field.recon[tile, lane] = labels
    for array in (field.disagreement, field.wrong, field.close):
        array[tile, lane] = 0
    field.counts[N_VOTES] = pixels.size
    field.counts[STEP] += 1
    field.counts[N_TODO] = field.todo.size
    field.todo[:] = np.arange(field.todo.size)
    field.stamp[:] = field.counts[STEP]
    _rebuild(field, make_cells((rows, columns), pixels, labels), n_labels)


def take_back(
    field: Field,
    pixel: int,
    pixels: NDArray[np.int32],
    labels: NDArray[np.int32],
    n_labels: int,
    *,
    label: int | None,
) -> None:
    """Change or remove the vote of a sample: search the lists that may hold it again, from nothing.

    `pixels` and `labels` are all voting samples as they are to be; `label` is the new compact label of `pixel`,
    or None if it votes no more. A rare event, so it may cost a pass over the map.
    """
    columns = int(field.counts[COLUMNS])
    per_row = -(-columns // LANES)
    row, column = divmod(pixel, columns)
    tile, lane = row * per_row + column // LANES, column % LANES
    field.counts[N_VOTES] = pixels.size
    field.counts[STEP] += 1
    field.counts[N_TODO] = 0
    _mark_reached(field, row, column)
    mark(field, tile)
    if label is None:
        field.keys[tile, :, lane] = NO_KEY
    else:
        field.recon[tile, lane] = label
    for other in (tile - per_row, tile + per_row, tile - 1, tile + 1):
        if 0 <= other < field.todo.size:
            mark(field, other)
    _rebuild(field, make_cells((int(field.counts[ROWS]), columns), pixels, labels), n_labels)


@njit(cache=True, error_model="numpy")
def run_order(field, truth, order, start, stop, n_labels):  # type: ignore[no-untyped-def]
    """Sample a known image from step `start` to `stop`, writing the chosen pixels into `order`.

    `truth` (rows, columns) int16 holds compact labels, -1 where a pixel would come back unclassified. Returns the
    number of pixels chosen so far, less than `stop` when none are left.
    """
    columns = field.counts[COLUMNS]
    for i in range(start, stop):
        pixel = best_pixel(field)
        if pixel < 0:
            return i
        order[i] = pixel
        row, column = pixel // columns, pixel % columns
        if truth[row, column] < 0:
            close_pixel(field, row, column, False, n_labels)
        else:
            place(field, row, column, truth[row, column], n_labels)
    return stop


@njit(cache=True, error_model="numpy")
def run_recorded(field, truth, order, features, missed, start, stop, n_labels):  # type: ignore[no-untyped-def]
    """Do as `run_order`, and write down each pick's features (n, 6) and whether the map was wrong there (n,)."""
    columns = field.counts[COLUMNS]
    one = np.empty(1, np.int64)
    for i in range(start, stop):
        pixel = best_pixel(field)
        if pixel < 0:
            return i
        order[i] = pixel
        row, column = pixel // columns, pixel % columns
        one[0] = pixel
        fill_feature_table(field, one, features[i : i + 1])
        tile = row * ((columns + LANES - 1) // LANES) + column // LANES
        if truth[row, column] < 0:
            missed[i] = False
            close_pixel(field, row, column, False, n_labels)
        else:
            missed[i] = field.recon[tile, column % LANES] != truth[row, column]
            place(field, row, column, truth[row, column], n_labels)
    return stop


@njit(cache=True, error_model="numpy")
def advance(field, row, column, label, n_labels, pixel_error):  # type: ignore[no-untyped-def]
    """Take a first label at a pixel (-1: unclassified) and return the pixel to measure next, -1 if none is left.

    Also returned is how the map stood at the pixel before: the probability that it was wrong, by coefficients
    `pixel_error` (14,), whether all neighbours agreed, and whether it was wrong.
    """
    tile = row * ((field.counts[COLUMNS] + LANES - 1) // LANES) + column // LANES
    lane = column % LANES
    error = pixel_error_at(field, tile, lane, pixel_error) if pixel_error.size > 0 else np.nan
    agreed = field.wrong[tile, lane] == 0
    missed = field.recon[tile, lane] != label
    if label < 0:
        close_pixel(field, row, column, False, n_labels)
    else:
        place(field, row, column, label, n_labels)
    return best_pixel(field), error, agreed, missed


@njit(cache=True, error_model="numpy")
def copy_changed(source, target, since):  # type: ignore[no-untyped-def]
    """Make `target` equal to `source`, both equal at step `since`, copying only tiles touched after it."""
    for tile in range(source.stamp.size):
        if source.stamp[tile] > since or target.stamp[tile] > since:
            target.keys[tile] = source.keys[tile]
            target.recon[tile] = source.recon[tile]
            target.disagreement[tile] = source.disagreement[tile]
            target.wrong[tile] = source.wrong[tile]
            target.close[tile] = source.close[tile]
            target.erd[tile] = source.erd[tile]
            target.open[tile] = source.open[tile]
            target.stamp[tile] = source.stamp[tile]
    target.reach[:] = source.reach
    target.best[:] = source.best
    target.best_row[:] = source.best_row
    target.block_stamp[:] = source.block_stamp
    target.counts[:] = source.counts


@njit(cache=True, error_model="numpy")
def pick_batch(field, n, n_labels):  # type: ignore[no-untyped-def]
    """Choose up to n pixels, pretending after each that its reconstruction was measured; changes `field`."""
    columns = field.counts[COLUMNS]
    per_row = (columns + LANES - 1) // LANES
    pixels = np.empty(n, np.int32)
    erds = np.empty(n, np.float64)
    for i in range(n):
        pixel = best_pixel(field)
        if pixel < 0:
            return pixels[:i], erds[:i]
        row, column = pixel // columns, pixel % columns
        tile, lane = row * per_row + column // LANES, column % LANES
        pixels[i] = pixel
        erds[i] = field.erd[tile, lane]
        place(field, row, column, field.recon[tile, lane], n_labels)
    return pixels, erds
