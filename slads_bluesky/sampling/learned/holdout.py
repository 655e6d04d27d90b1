"""Is the network any good on this specimen? The measurements say: each tests the prediction made without it.

From time to time a part of the measured pixels is hidden, and the network and the k-NN vote of SLADS predict their
labels from the rest. Where the vote is right significantly more often, the specimen is unlike anything that the
network was trained on, and SLADS takes over until the next examination.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..slads.reconstruct import knn_reconstruct
from .inference import NetworkMapper

__all__ = ["APART", "Examination", "examine"]

HIDDEN = 0.1
"""Share of the voting pixels that an examination hides."""

LEAST = 12
"""With fewer hidden pixels than this the network is taken on trust."""

APART = 2.0
"""Factor by which the measured pixels grow from one examination to the next."""


@dataclass(frozen=True)
class Examination:
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
    def trust_network(self) -> bool:
        """False where the vote is better by more than two standard errors of the paired difference."""
        worse, differ = self.network_only - self.vote_only, self.network_only + self.vote_only
        return worse <= 2 * float(np.sqrt(differ))

    @property
    def calibration(self) -> float:
        """Wrong predictions for each that the network expected, one of each added, so that few say little."""
        return (self.network_only + self.both + 1) / (self.expected + 1)


def examine(mapper: NetworkMapper, measured: NDArray[np.int16], seed: int) -> Examination:
    """Hide a part of the measured labels and let network and vote predict them.

    Parameters
    ----------
    mapper : NetworkMapper
        The network.
    measured : (rows, columns) int16
        Labels, 0 where ill, -1 where unmeasured.
    seed : int
        Decides, with the number of labels, which are hidden.
    """
    voting = np.flatnonzero(measured.ravel() > 0)
    n = int(HIDDEN * voting.size)
    if n < LEAST:
        return Examination(0, 0, 0, 0, 0.0)
    hidden = np.random.default_rng([seed, voting.size]).choice(voting, n, replace=False)
    truth = measured.ravel()[hidden]
    rest = measured.copy()
    rest.ravel()[hidden] = -1
    estimate = mapper(rest)
    by_network = estimate.labels.ravel()[hidden] != truth
    by_vote = knn_reconstruct(rest).ravel()[hidden] != truth
    return Examination(
        n,
        int(np.sum(by_network & ~by_vote)),
        int(np.sum(by_vote & ~by_network)),
        int(np.sum(by_network & by_vote)),
        float(np.sum(1 - estimate.probability.ravel()[hidden], dtype=np.float64)),
    )
