"""Hold-out validation: whether the network predicts the measurements of a specimen as well as a k-NN vote.

From time to time a part of the measured pixels is hidden, and the network and the k-NN vote of SLADS predict their
labels from the rest. Where the vote is right significantly more often, the specimen is unlike anything that the
network was trained on, and SLADS decides until the next validation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...protocols import UNMEASURED
from ..slads.reconstruct import knn_reconstruct
from .planning import Mapper

__all__ = ["SPACING", "Validation", "validate"]

HIDDEN = 0.1
"""Share of the voting pixels that a validation hides."""

LEAST = 12
"""With fewer hidden pixels than this the network is accepted without validation."""

SPACING = 2.0
"""Factor by which the number of measured pixels grows from one validation to the next."""


@dataclass(frozen=True)
class Validation:
    """Predictions of hidden labels, counted."""

    hidden: int
    """Pixels hidden."""
    network_only: int
    """Of these, wrong by the network and right by the vote."""
    vote_only: int
    """Wrong by the vote and right by the network."""
    both: int
    """Wrong by both."""
    expected: float
    """How many the network itself expected to have wrong."""

    @property
    def accepts_network(self) -> bool:
        """False where the vote is better by more than two standard errors of the paired difference."""
        worse, differ = self.network_only - self.vote_only, self.network_only + self.vote_only
        return worse <= 2 * float(np.sqrt(differ))

    @property
    def calibration(self) -> float:
        """Wrong predictions for each that the network expected; one is added to both, so that few weigh little."""
        return (self.network_only + self.both + 1) / (self.expected + 1)


def validate(mapper: Mapper, measured: NDArray[np.int16], seed: int) -> Validation:
    """Hide a part of the measured labels and let network and vote predict them.

    Parameters
    ----------
    mapper : callable
        The network, with or without an image.
    measured : (rows, columns) int16
        Labels, 0 where unclassified, -1 where unmeasured.
    seed : int
        Decides, with the number of labels, which are hidden.
    """
    voting = np.flatnonzero(measured.ravel() > 0)
    n = int(HIDDEN * voting.size)
    if n < LEAST:
        return Validation(0, 0, 0, 0, 0.0)
    hidden = np.random.default_rng([seed, voting.size]).choice(voting, n, replace=False)
    truth = measured.ravel()[hidden]
    rest = measured.copy()
    rest.ravel()[hidden] = UNMEASURED
    prediction = mapper(rest)
    by_network = prediction.labels.ravel()[hidden] != truth
    by_vote = knn_reconstruct(rest).ravel()[hidden] != truth
    return Validation(
        n,
        int(np.sum(by_network & ~by_vote)),
        int(np.sum(by_vote & ~by_network)),
        int(np.sum(by_network & by_vote)),
        float(np.sum(1 - prediction.probability.ravel()[hidden], dtype=np.float64)),
    )
