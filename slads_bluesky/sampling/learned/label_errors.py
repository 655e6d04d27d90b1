"""Measured labels that may be wrong: which share of them, and which ones all the others contradict.

The network takes every label for true. Real labels are not: each sample is predicted from the others by hold-out
validation, and the share of wrong labels is that under which the labels are most probable, P(label) = (1 - e) p +
e (1 - p) / (L - 1) with p the network's probability, tempered so that a network which is too certain does not find
errors where there are none. On a map of true labels the share comes out as 0. Where it does not, a sample is
contradicted once its label is more probably wrong than right; the others are then predicted without it, and so on.

A thin feature that one sample has met looks like a wrong label, too. So a sample is contradicted only where its
nearest samples, close by, all have one other label, and none before the map has nearly half as many samples as
boundary pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ...protocols import UNMEASURED

__all__ = ["LabelErrors", "error_share", "find_label_errors"]

Predict = Callable[[NDArray[np.int16], NDArray[np.int64]], tuple[NDArray[np.uint8], NDArray[np.float32]]]
"""From measured labels and flat pixels (n,): the labels that can be predicted, (L,), their probabilities (L, n)."""

FOLDS = 5
ROUNDS = 3
LEAST = 100
"""With fewer voting samples none is contradicted."""
FEW = 8
"""A label with fewer samples is never contradicted: it may be a small feature that nothing else has seen."""
SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08)
POWERS = (0.4, 0.55, 0.7, 0.85, 1.0)
"""Of the network's probabilities, normalised again."""
GAIN = 2.0
"""Logarithm of the likelihood ratio that a share above 0 needs against none."""
SPARSE = 0.45
"""Samples for each boundary pixel of the map below which no sample is contradicted."""
NEIGHBOURS, REACH = 3, 5.0
"""Nearest samples that must agree on another label, and how far they may be, pixels."""
CONTRADICTED = 0.6
"""Probability of a wrong label from which a sample is contradicted."""
_LEAST_P = 1e-6


@dataclass(frozen=True, eq=False)
class LabelErrors:
    """What hold-out validation says of the measured labels."""

    share: float
    """Of the samples whose label is wrong; 0 where none need be."""
    pixels: NDArray[np.int64]
    """Flat indices of the contradicted samples, ascending."""

    def without(self, measured: NDArray[np.int16]) -> NDArray[np.int16]:
        """Return the labels with the contradicted samples unmeasured."""
        left = measured.copy()
        left.reshape(-1)[self.pixels] = UNMEASURED
        return left


def error_share(probability: NDArray[np.float64], position: NDArray[np.int64]) -> tuple[float, float]:
    """Most probable share of wrong labels, and the power of the probabilities under which it is.

    Parameters
    ----------
    probability : (L, n) float64
        Of each label at each sample, from the other samples.
    position : (n,) int64
        Row of the label that was measured.

    Examples
    --------
    Two of forty labels have a probability of a thousandth where the others have 0.99:

    >>> import numpy as np
    >>> own = np.where(np.arange(40) < 2, 0.001, 0.99)
    >>> error_share(np.stack([own, 1 - own]), np.zeros(40, np.int64))[0]
    0.05
    """
    found = [(_likelihood(probability, position, power, 0.0), 0.0, power) for power in POWERS]
    without = max(found)
    wrong = max(
        (_likelihood(probability, position, power, share), share, power)
        for power in POWERS
        for share in SHARES
    )
    _, share, power = wrong if wrong[0] > without[0] + GAIN else without
    return share, power


def find_label_errors(
    predict: Predict, measured: NDArray[np.int16], boundaries: float, seed: int, rounds: int = ROUNDS
) -> LabelErrors:
    """Find the samples that the others contradict.

    Parameters
    ----------
    predict : callable
        The network; called `FOLDS` times a round.
    measured : (rows, columns) int16
        Labels, 0 where unclassified, -1 where unmeasured.
    boundaries : float
        Part of the pixels that lie at a boundary of the map.
    seed : int
        Decides, with the number of labels, which samples are predicted together.
    rounds : int
        At most: each predicts the samples without those that the round before contradicted.
    """
    flat = measured.reshape(-1)
    pixels = np.flatnonzero(flat > 0)
    none = np.zeros(0, np.int64)
    known, position, counts = np.unique(flat[pixels], return_inverse=True, return_counts=True)
    density = pixels.size / max(boundaries * flat.size, 1.0)
    if pixels.size < LEAST or known.size < 2 or density < SPARSE:
        return LabelErrors(0.0, none)
    open_to_it = (counts[position] >= FEW) & _surrounded(pixels, position, measured.shape[1])
    wrong = np.zeros(pixels.size, bool)
    share = 0.0
    rng = np.random.default_rng([seed, pixels.size, 0x3A])
    for _ in range(rounds):
        probability = np.zeros((known.size, pixels.size))
        order = rng.permutation(pixels.size)
        believed = measured.copy()
        believed.reshape(-1)[pixels[wrong]] = UNMEASURED
        for fold in range(FOLDS):
            part = order[fold::FOLDS]
            seen = believed.copy()
            seen.reshape(-1)[pixels[part]] = UNMEASURED
            values, found = predict(seen, pixels[part])
            probability[np.ix_(np.searchsorted(known, values), part)] = found
        share, power = error_share(probability, position)
        own = _own(probability, position, power)
        by_error = share * (1 - own) / (known.size - 1)
        now = (by_error > CONTRADICTED * (by_error + (1 - share) * own)) & open_to_it
        if np.array_equal(now, wrong):
            break
        wrong = now
    return LabelErrors(share, pixels[wrong].astype(np.int64))


def _own(probability: NDArray[np.float64], position: NDArray[np.int64], power: float) -> NDArray[np.float64]:
    """Probability of the measured labels, (n,), after the power."""
    tempered = np.maximum(probability, _LEAST_P) ** power
    return np.asarray(tempered[position, np.arange(position.size)] / tempered.sum(axis=0))


def _likelihood(
    probability: NDArray[np.float64], position: NDArray[np.int64], power: float, share: float
) -> float:
    own = _own(probability, position, power)
    return float(np.log((1 - share) * own + share * (1 - own) / (probability.shape[0] - 1) + 1e-12).sum())


def _surrounded(pixels: NDArray[np.int64], position: NDArray[np.int64], columns: int) -> NDArray[np.bool_]:
    """Whether the nearest samples of each are close and all have the same other label, (n,)."""
    places = np.column_stack(np.divmod(pixels, columns))
    distance, index = cKDTree(places).query(places, NEIGHBOURS + 1)
    around = position[index[:, 1:]]
    agree = (around == around[:, :1]).all(axis=1) & (around[:, 0] != position)
    return np.asarray(agree & (distance[:, -1] <= REACH))
