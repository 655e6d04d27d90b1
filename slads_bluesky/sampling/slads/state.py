"""The arrays in which the sampler keeps, for every pixel, what its next decision depends on.

Layout: a row is cut into tiles of 8 pixels (the last one padded), tile ``row * tiles_per_row + column // 8``,
lane ``column % 8``. All that belongs to a tile lies together, so that a decision touches few cache lines and the
inner loops run over lanes. 16 × 16 pixels make a block, for which bounds and maxima are kept.

A neighbour is packed into one int32 **key**, ``d² << 6 | label``: d² up to 2 · 4095² takes 25 bits, the compact
label (0 … 62) 6 bits. Keys order neighbours by distance and, at equal distance, by label, which is how ties
between samples at the same distance are decided: the lower label is nearer. The list of the k smallest keys is
thus a function of the set of measured pixels alone, whatever the order in which they came.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..base import MAX_LABELS

__all__ = [
    "BLOCK",
    "CLOSED",
    "COLUMNS",
    "LANES",
    "NO_KEY",
    "N_TODO",
    "N_VOTES",
    "OUTSIDE",
    "REACH",
    "ROWS",
    "SHIFT",
    "STEP",
    "Field",
    "copy_field",
    "empty_field",
    "to_grid",
]

LANES = 8
BLOCK = 16
SHIFT = 6
NO_KEY = 2**31 - 1
"""Key of a neighbour that is not there yet."""
CLOSED = -1
"""Key of pixels that need no neighbours: measured with a phase, or outside the map."""
OUTSIDE = 255
"""What the reconstruction holds outside the map."""


class Field(NamedTuple):
    """Everything the compiled loops work on; T tiles of 8 lanes, R × C blocks of 16 × 16 pixels."""

    keys: NDArray[np.int32]
    """(T, k, 8): the k smallest neighbour keys, ascending."""
    recon: NDArray[np.uint8]
    """(T, 8): compact label of the reconstruction, `OUTSIDE` outside the map."""
    disagreement: NDArray[np.float32]
    """(T, 8): feature 0, the weight of the neighbours that disagree with the reconstruction."""
    wrong: NDArray[np.uint8]
    """(T, 8): how many of the neighbours disagree."""
    close: NDArray[np.uint8]
    """(T, 8): how many of the neighbours lie within the model's radius."""
    erd: NDArray[np.float32]
    """(T, 8): expected reduction in distortion, -inf where nothing may be measured."""
    open: NDArray[np.bool_]
    """(T, 8): whether the pixel may be chosen."""
    reach: NDArray[np.int32]
    """(R, C): no pixel of the block has a last key above this."""
    best: NDArray[np.float32]
    """(R, C): largest ERD of the block."""
    best_row: NDArray[np.float32]
    """(R,): largest ERD of the row of blocks."""
    todo: NDArray[np.int32]
    """(T,): tiles to do in this decision."""
    stamp: NDArray[np.int32]
    """(T,): the decision in which a tile was last put on `todo`."""
    block_todo: NDArray[np.int32]
    """(R · C,): blocks to do in this decision."""
    block_stamp: NDArray[np.int32]
    """(R · C,): the decision in which a block was last put on `block_todo`."""
    counts: NDArray[np.int64]
    """(6,): numbers that compiled loops change: `N_VOTES`, `STEP`, `REACH`, `N_TODO`, `ROWS`, `COLUMNS`."""
    theta: NDArray[np.float64]
    """(7, 7): upper triangle of coefficients of 1, f0 … f5 and their products."""
    radius: NDArray[np.float64]
    """(2,): R² and 1 + πR² of feature 3."""
    waiting: NDArray[np.int32]
    """(8,): scratch, keys that wait to be inserted."""
    votes: NDArray[np.float32]
    """(63, 8): scratch, weight per label."""
    lane_f32: NDArray[np.float32]
    """(3, 8): scratch."""
    lane_i32: NDArray[np.int32]
    """(4, 8): scratch."""
    lane_f64: NDArray[np.float64]
    """(2, 8): scratch."""
    no_tile: NDArray[np.uint8]
    """(8,): the reconstruction of a tile outside the map."""


N_VOTES = 0
"""Entry of `Field.counts`: voting samples."""
STEP = 1
"""Entry of `Field.counts`: number of the present decision."""
REACH = 2
"""Entry of `Field.counts`: bound on the last key of every pixel of the map."""
N_TODO = 3
"""Entry of `Field.counts`: tiles on `Field.todo`."""
ROWS = 4
"""Entry of `Field.counts`: rows of the grid."""
COLUMNS = 5
"""Entry of `Field.counts`: columns of the grid."""


def empty_field(
    allowed: NDArray[np.bool_],
    inside: NDArray[np.bool_],
    *,
    k: int,
    theta: NDArray[np.float64],
    radius: int,
) -> Field:
    """Make the field of a map with nothing measured.

    Parameters
    ----------
    allowed : (rows, columns) bool array
        Pixels that may be chosen.
    inside : (rows, columns) bool array
        Pixels that are mapped; holds `allowed`.
    k : int
        Number of neighbours.
    theta : (7, 7) float64 array
        Coefficients, upper triangle.
    radius : int
        R of feature 3, in pixels.
    """
    rows, columns = inside.shape
    per_row = -(-columns // LANES)
    tiles = rows * per_row
    blocks = (-(-rows // BLOCK), -(-columns // BLOCK))
    padded = np.zeros((rows, per_row * LANES), bool)
    padded[:, :columns] = inside
    mapped = padded.reshape(tiles, LANES).copy()
    padded[:, :columns] = allowed
    opened = padded.reshape(tiles, LANES)
    keys = np.empty((tiles, k, LANES), np.int32)
    keys[:] = np.where(mapped, NO_KEY, CLOSED).astype(np.int32)[:, None, :]
    counts = np.zeros(COLUMNS + 1, np.int64)
    counts[REACH], counts[ROWS], counts[COLUMNS] = NO_KEY, rows, columns
    return Field(
        keys=keys,
        recon=np.where(mapped, 0, OUTSIDE).astype(np.uint8),
        disagreement=np.zeros((tiles, LANES), np.float32),
        wrong=np.zeros((tiles, LANES), np.uint8),
        close=np.zeros((tiles, LANES), np.uint8),
        erd=np.full((tiles, LANES), -np.inf, np.float32),
        open=opened.copy(),
        reach=np.full(blocks, NO_KEY, np.int32),
        best=np.full(blocks, -np.inf, np.float32),
        best_row=np.full(blocks[0], -np.inf, np.float32),
        todo=np.zeros(tiles, np.int32),
        stamp=np.zeros(tiles, np.int32),
        block_todo=np.zeros(blocks[0] * blocks[1], np.int32),
        block_stamp=np.zeros(blocks[0] * blocks[1], np.int32),
        counts=counts,
        theta=np.ascontiguousarray(theta, np.float64),
        radius=np.array([radius * radius, 1.0 + math.pi * radius * radius], np.float64),
        waiting=np.zeros(LANES, np.int32),
        votes=np.zeros((MAX_LABELS, LANES), np.float32),
        lane_f32=np.zeros((3, LANES), np.float32),
        lane_i32=np.zeros((4, LANES), np.int32),
        lane_f64=np.zeros((2, LANES), np.float64),
        no_tile=np.full(LANES, OUTSIDE, np.uint8),
    )


def copy_field(field: Field) -> Field:
    """Return a field of its own arrays with the same contents."""
    arrays: tuple[NDArray[Any], ...] = tuple(field)
    return Field._make(array.copy() for array in arrays)


def to_grid(field: Field, array: NDArray[Any]) -> NDArray[Any]:
    """Return a (T, 8) array of `field` as (rows, columns), a copy."""
    rows, columns = int(field.counts[ROWS]), int(field.counts[COLUMNS])
    return array.reshape(rows, -1)[:, :columns].copy()
