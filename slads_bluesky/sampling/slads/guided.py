"""SLADS beside an image: the vote of the nearest samples, multiplied by what the image says of each label.

The vote shares of the k nearest samples (`reconstruct`) stand for the probability of each label; the evidence of the
image (`imaging`) multiplies them. As long as hold-out validation lets the image be used, pixels are chosen in batches
as those of the learned sampler are: uncertain ones, spread out. Otherwise the ERD decides alone.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...images.labels import label_positions
from ...protocols import UNMEASURED
from ..imaging.evidence import ImageEvidence
from ..imaging.guide import EXPONENT
from ..picks import expected_reduction, pick_batch, scores
from .engine import rebuild
from .state import COLUMNS, LANES, NO_KEY, ROWS, SHIFT, Field, empty_field

__all__ = ["GuidedPlan", "VoteMap", "vote_map", "vote_probabilities"]

PRIOR = np.float32(0.03)
"""Vote that each label has everywhere, of a sum of 1: k samples of one label do not rule another out."""


class VoteMap:
    """What vote and image together say of every pixel."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.best = np.zeros(shape, np.uint8)
        """(rows, columns): the most probable compact label; where measured or outside, that of the field."""
        self.uncertainty = np.zeros(shape, np.float32)
        """(rows, columns): 1 - its probability; 0 where measured or outside."""
        self.distance = np.zeros(shape, np.float32)
        """(rows, columns): to the nearest sample, pixels."""


@njit(cache=True, nogil=True)
def _votes(keys, tile, lane, votes):  # type: ignore[no-untyped-def]
    """Fill `votes` (labels,) with the shares of a pixel's samples; the squared distance to the nearest, 0: none."""
    votes[:] = 0.0
    total = np.float32(0.0)
    first = 0
    for j in range(keys.shape[1]):
        key = keys[tile, j, lane]
        if key < 0 or key == NO_KEY:
            break
        squared = key >> SHIFT
        if j == 0:
            first = squared
        weight = np.float32(1.0) / np.float32(max(squared, 1))
        votes[key - (squared << SHIFT)] += weight
        total += weight
    for i in range(votes.size):
        votes[i] = (votes[i] / total if total > 0 else 0.0) + PRIOR
    return first


@njit(cache=True, nogil=True)
def _map(field, bins, tables, n_labels, best, uncertainty, distance):  # type: ignore[no-untyped-def]
    rows, columns = field.counts[ROWS], field.counts[COLUMNS]
    per_row = (columns + LANES - 1) // LANES
    votes = np.empty(n_labels, np.float32)
    logs = np.empty(n_labels, np.float32)
    for r in range(rows):
        for c in range(columns):
            tile, lane = r * per_row + c // LANES, c % LANES
            best[r, c] = field.recon[tile, lane]
            squared = _votes(field.keys, tile, lane, votes)
            if squared == 0:
                continue
            logs[:] = 0.0
            for t in range(bins.shape[0]):
                for i in range(n_labels):
                    logs[i] += tables[t, i, bins[t, r, c]]
            top = logs.max()
            total, most, at = np.float32(0.0), np.float32(-1.0), 0
            for i in range(n_labels):
                value = votes[i] * np.exp(logs[i] - top)
                total += value
                if value > most:
                    most, at = value, i
            best[r, c] = at
            uncertainty[r, c] = np.float32(1.0) - most / total
            distance[r, c] = np.sqrt(np.float32(squared))


def vote_map(field: Field, evidence: ImageEvidence, values: NDArray[np.uint8]) -> VoteMap:
    """Combine the votes of a field, whose compact labels stand for `values` (L,), with the evidence of an image."""
    out = VoteMap((int(field.counts[ROWS]), int(field.counts[COLUMNS])))
    bins, tables = evidence.of(values, (slice(None), slice(None)))
    _map(field, bins, tables, values.size, out.best, out.uncertainty, out.distance)
    return out


@njit(cache=True, nogil=True)
def _votes_at(field, rows, columns, out):  # type: ignore[no-untyped-def]
    per_row = (field.counts[COLUMNS] + LANES - 1) // LANES
    votes = np.empty(out.shape[0], np.float32)
    for j in range(rows.size):
        _votes(field.keys, rows[j] * per_row + columns[j] // LANES, columns[j] % LANES, votes)
        out[:, j] = votes / votes.sum()


def vote_probabilities(
    measured: NDArray[np.int16], pixels: NDArray[np.int64], *, k: int = 10
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Predict unmeasured pixels by the vote alone.

    Parameters
    ----------
    measured : (rows, columns) int16
        Labels, 0 where unclassified, -1 where unmeasured; at least one above 0.
    pixels : (n,) int64
        Flat indices of unmeasured pixels.
    k : int
        Samples that vote.

    Returns
    -------
    labels : (L,) uint8
        Those among `measured`.
    probabilities : (L, n) float32
    """
    voting = np.flatnonzero(measured.reshape(-1) > 0).astype(np.int32)
    values = np.unique(measured.reshape(-1)[voting]).astype(np.uint8)
    inside = np.ones(measured.shape, bool)
    field = empty_field(np.zeros(measured.shape, bool), inside, k=k, theta=np.zeros((7, 7)), radius=1)
    compact = label_positions(measured.reshape(-1)[voting], values)
    rebuild(field, voting, compact.astype(np.int32), values.size)
    out = np.empty((values.size, pixels.size), np.float32)
    rows, columns = np.divmod(pixels, measured.shape[1])
    _votes_at(field, rows, columns, out)
    return values, out


class GuidedPlan:
    """Picks that follow from the labels of one moment, by vote and image; worked out when first asked for.

    Parameters
    ----------
    seen : (rows, columns) int16
        Labels, 0 where unclassified, -1 where unmeasured; at least one above 0.
    evidence : ImageEvidence
    inside, allowed : (rows, columns) bool
        Pixels that are mapped, and those of them that may be measured.
    k : int
        Samples that vote.
    """

    def __init__(
        self,
        seen: NDArray[np.int16],
        evidence: ImageEvidence,
        inside: NDArray[np.bool_],
        allowed: NDArray[np.bool_],
        k: int,
    ) -> None:
        self._seen, self._evidence, self._k = seen, evidence, k
        self._inside, self._allowed = inside, allowed
        self._map: VoteMap | None = None
        self._picks = np.zeros(0, np.int64)
        self._gains = np.zeros(0)

    def take(self, n: int, measured: NDArray[np.int16]) -> list[tuple[int, float]]:
        """Return the first `n` picks that are unmeasured by now, with their ERD; fewer if no more are left."""
        flat = measured.reshape(-1)
        while True:
            left = flat[self._picks] == UNMEASURED
            found = list(zip(self._picks[left].tolist(), self._gains[left].tolist(), strict=True))
            if len(found) >= n or not self._extend(max(2 * self._picks.size, 2 * n, 16)):
                return found[:n]

    def _extend(self, n: int) -> bool:
        before = self._picks.size
        if self._map is None:
            voting = np.flatnonzero(self._seen.reshape(-1) > 0).astype(np.int32)
            values = np.unique(self._seen.reshape(-1)[voting]).astype(np.uint8)
            field = empty_field(
                np.zeros(self._seen.shape, bool), self._inside, k=self._k, theta=np.zeros((7, 7)), radius=1
            )
            compact = label_positions(self._seen.reshape(-1)[voting], values)
            rebuild(field, voting, compact.astype(np.int32), values.size)
            self._map = vote_map(field, self._evidence, values)
        closed = (self._seen != UNMEASURED) | ~self._allowed
        score = scores(self._map.uncertainty, self._map.distance, EXPONENT)
        self._picks = pick_batch(np.where(closed, -np.inf, score).astype(np.float32), self._map.distance, n)
        self._gains = expected_reduction(self._map.uncertainty, self._map.distance, self._picks)
        return self._picks.size > before
