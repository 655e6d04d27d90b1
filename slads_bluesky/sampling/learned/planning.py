"""A batch of picks: what the network predicts from the labels of one moment, and the pixels that follow from it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...images.distortion import boundary_fraction
from ...protocols import UNMEASURED
from ..masks import initial_pixels
from ..picks import disputed, expected_reduction, interleave, pick_batch, scores
from .inference import Prediction

__all__ = ["Mapper", "Plan", "hedge"]

Mapper = Callable[[NDArray[np.int16]], Prediction]
"""From measured labels to what is predicted of every pixel: the network, or the network with an image."""

HEDGE, HEDGE_FROM, HEDGE_TO = 0.4, 0.6, 1.1
"""Share of the squared conflict that is added to the network's uncertainty, at most, and between which numbers of
measurements, in units of the boundary fraction, it rises from nothing to that."""
GAPS = 0.03
"""Conflict granted to every pixel then, so that gaps between the samples are still visited."""
DISPUTED = 0.8
"""Share of the picks that `disputed` ranks, at most, when the hedge is highest."""


def hedge(labels: NDArray[np.uint8], seen: NDArray[np.int16], allowed: NDArray[np.bool_]) -> float:
    """Return how much the network is hedged against, 0 … 1.

    Plain SLADS needs about as many measurements as the map has boundary pixels (SLADS with a k-NN vote: 1.05–1.2
    times as many). A network trained on such images is done well before; where it is not, it was not trained on them,
    and what is left are small features that it is too sure are not there. They are found where samples of
    different labels are about equally near, which is where SLADS looks, too.
    """
    measured = float(np.mean(seen[allowed] != UNMEASURED))
    boundaries = boundary_fraction(np.where(allowed, labels, 0).astype(np.uint8))
    ratio = measured / max(boundaries, 1.0 / max(1, int(allowed.sum())))
    return float(np.clip((ratio - HEDGE_FROM) / (HEDGE_TO - HEDGE_FROM), 0.0, 1.0))


class Plan:
    """Picks that follow from labels; worked out when first asked for, then kept.

    Parameters
    ----------
    mapper : callable
        The network, with or without an image.
    seen : (rows, columns) int16
        Labels, 0 where unclassified, -1 where unmeasured.
    allowed : (rows, columns) bool
        Pixels that may be measured.
    seed : int
        Of the even order in which pixels are taken as long as no label votes.
    exponent : float
        Of the distance in `policy.scores`.
    """

    def __init__(
        self,
        mapper: Mapper,
        seen: NDArray[np.int16],
        allowed: NDArray[np.bool_],
        seed: int,
        exponent: float = 1.0,
    ) -> None:
        self._mapper, self._allowed, self._seed, self._exponent = mapper, allowed, seed, exponent
        self.seen = seen
        self.blind = not bool((seen > 0).any())
        """Whether no label votes yet."""
        self._prediction: Prediction | None = None
        self._picks: NDArray[np.int64] = np.zeros(0, np.int64)
        self._gains: NDArray[np.float64] = np.zeros(0)
        self._first = 0
        self._hedge: float | None = None

    @property
    def prediction(self) -> Prediction:
        """What the network predicts for every pixel."""
        if self._prediction is None:
            self._prediction = self._mapper(self.seen)
        return self._prediction

    @property
    def hedged(self) -> float:
        """How much the network is hedged against; see `hedge`."""
        if self._hedge is None:
            self._hedge = hedge(self.prediction.labels, self.seen, self._allowed)
        return self._hedge

    def take(self, n: int, measured: NDArray[np.int16], likely: int) -> list[tuple[int, float]]:
        """Return the first `n` picks that are unmeasured by now, with their ERD; fewer if no more are left.

        `likely` is how many picks are probably asked for in all.
        """
        flat = measured.reshape(-1)
        found: list[tuple[int, float]] = []
        i = self._first
        while len(found) < n:
            if i == self._picks.size and not self._extend(max(2 * self._picks.size, likely, n)):
                break
            pixel = int(self._picks[i])
            if flat[pixel] == UNMEASURED:
                found.append((pixel, float(self._gains[i])))
            elif i == self._first:
                self._first += 1
            i += 1
        return found

    def _extend(self, n: int) -> bool:
        """Lengthen the queue to `n` picks; False if there are no more than it holds."""
        before = self._picks.size
        if self.blind:
            everything = initial_pixels(self.seen.shape, 1.0, seed=self._seed, allowed=self._allowed)
            left = everything[self.seen.reshape(-1)[everything] == UNMEASURED]
            self._picks = left[:n].astype(np.int64)
            self._gains = np.full(self._picks.size, np.nan)
        else:
            uncertainty, distance = 1 - self.prediction.probability, self.prediction.distance
            self._picks = self._ranked(uncertainty, distance, n)
            self._gains = expected_reduction(uncertainty, distance, self._picks)
        return self._picks.size > before

    def _ranked(
        self, uncertainty: NDArray[np.float32], distance: NDArray[np.float32], n: int
    ) -> NDArray[np.int64]:
        """Return up to `n` picks: by the network's uncertainty and, as far as it is hedged against, by dispute."""
        closed = (self.seen != UNMEASURED) | ~self._allowed
        if self.hedged == 0.0:
            return pick_batch(
                np.where(closed, -np.inf, scores(uncertainty, distance, self._exponent)), distance, n
            )
        conflict = self.prediction.conflict
        raised = uncertainty + np.float32(HEDGE * self.hedged) * (conflict**2 + np.float32(GAPS))
        wide = pick_batch(np.where(closed, -np.inf, scores(raised, distance, self._exponent)), distance, n)
        sharp = pick_batch(np.where(closed, -np.inf, disputed(uncertainty, conflict)), distance, n)
        return interleave(wide, sharp, DISPUTED * self.hedged)
