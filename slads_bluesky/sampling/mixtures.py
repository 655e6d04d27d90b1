"""What mixed samples say of a map, whichever sampler chose them: the sharp map that explains their abundances.

A sampler knows sharp labels only. So the samples' abundances are deconvolved (`sampling.deconvolution`) with what the
sampler's own reconstruction says as the prior, and the sharp labels found at the samples are what it reconstructs
from the next time: a noisy label beside a boundary is corrected by its neighbours, and one that stays uncertain does
not vote.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from ..errors import ConfigError
from ..protocols import Endmembers
from .deconvolution import STEPS, SharpMap, deconvolve
from .endmembers import corrected

__all__ = ["MixedSamples", "smoothed_prior", "vote_prior"]

SURE = 0.75
"""Least probability of a sharp label with which a sample votes."""
FLOOR = 0.05
"""Least probability of each phase in what a reconstruction says."""
AROUND = 0.7
"""Measured pixels take what a reconstruction says of their surroundings, by a Gaussian of so many pixels."""
NEIGHBOURS = 10
"""Samples that vote for a pixel."""


class MixedSamples:
    """Abundances of the samples of a map.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns.
    labels : tuple of int
        In the order of the abundances.
    interaction_px : float
        Standard deviation of the interaction volume, pixels.
    endmembers : {"evident", "always"}
        Which corrections of pure phases count; see `endmembers`.

    Raises
    ------
    ConfigError
        If the interaction volume has no positive width.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        labels: tuple[int, ...],
        interaction_px: float,
        endmembers: Endmembers = "evident",
    ) -> None:
        if not 0.0 < interaction_px < 50.0:
            raise ConfigError(f"interaction_px must be over 0 and under 50 pixels, not {interaction_px}")
        if endmembers not in ("always", "evident"):
            raise ConfigError(f"endmembers are corrected always or where evident, not {endmembers!r}")
        self.interaction_px = float(interaction_px)
        self._endmembers: Endmembers = endmembers
        self._shape, self._labels = shape, np.asarray(labels, np.int16)
        self._parts = np.full((shape[0] * shape[1], len(labels)), np.nan)
        self._sd = np.full_like(self._parts, np.nan)
        self._unbounded = True

    def take(
        self,
        pixel: int,
        abundances: NDArray[np.float64],
        abundance_sd: NDArray[np.float64],
        unbounded: bool,
    ) -> None:
        """Take the parts (L,) of the phases at a flat pixel and their standard deviations; NaN: nothing is known.

        Only those that are `unbounded` say what pure phases read here (`endmembers`).
        """
        if 0 <= pixel < len(self._parts):
            self._parts[pixel] = abundances
            self._sd[pixel] = abundance_sd
            self._unbounded &= unbounded

    def deconvolved(
        self, prior: NDArray[np.float32], steps: int = STEPS, start: NDArray[np.float32] | None = None
    ) -> SharpMap:
        """Return the sharp map by all samples, of a prior (L, rows, columns); see `deconvolution.deconvolve`."""
        pixels = np.flatnonzero(np.isfinite(self._parts).all(axis=1))
        parts, sd = self._parts[pixels], self._sd[pixels]
        if len(pixels) and self._unbounded:
            labels = (prior if start is None else start).argmax(axis=0)
            own = (labels == np.arange(len(prior))[:, None, None]).astype(np.float32)
            by_map = gaussian_filter(own, (0.0, self.interaction_px, self.interaction_px), mode="nearest")
            filled = by_map.reshape(len(prior), -1)[:, pixels].T
            parts, sd = corrected(self._shape, pixels, parts, sd, filled, self._endmembers)
        return deconvolve(prior, pixels, parts, sd, self.interaction_px, steps=steps, start=start)

    def agreed(self, found: SharpMap, measured: NDArray[np.int16]) -> NDArray[np.int16]:
        """Return `measured` with the samples' labels as a deconvolved map has them, 0 where it is not sure."""
        sharp = self._labels[found.probability.argmax(axis=0)]
        sure = found.probability.max(axis=0) >= SURE
        known = np.isfinite(self._parts).all(axis=1).reshape(self._shape) & (measured >= 0)
        votes = measured.copy()
        votes[known] = np.where(sure, sharp, 0)[known]
        return votes if (votes > 0).any() else measured.copy()


def smoothed_prior(probability: NDArray[np.floating], measured: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return a prior of probabilities (L, rows, columns) that were taken as certain where `measured`.

    There a mixed sample's own label is not known for certain: such pixels get what is said around them.
    """
    log = np.log(np.clip(probability, FLOOR, None))
    free = (~measured).astype(np.float32)
    weight = np.maximum(gaussian_filter(free, AROUND), 1e-3)
    around = gaussian_filter(log * free, (0.0, AROUND, AROUND)) / weight
    out = np.exp(np.where(measured, around, log))
    return np.asarray(out / out.sum(axis=0), np.float32)


def vote_prior(votes: NDArray[np.int16], labels: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the shares of the labels in the vote of the nearest samples, weighted by 1 / d², (L, rows, columns).

    Parameters
    ----------
    votes : (rows, columns) int16
        Label of each sample; 0 and -1 do not vote. Without any all shares are equal.
    labels : tuple of int

    Examples
    --------
    >>> import numpy as np
    >>> votes = np.full((4, 8), -1, np.int16)
    >>> votes[:, 0], votes[:, 7] = 1, 2
    >>> (10 * vote_prior(votes, (1, 2))[0, 2]).round().astype(int).tolist()  # tenths
    [9, 10, 8, 6, 4, 2, 0, 1]
    """
    n = len(labels)
    samples = np.argwhere(votes > 0)
    if len(samples) == 0:
        return np.full((n, *votes.shape), 1.0 / n, np.float32)
    k = min(NEIGHBOURS, len(samples))
    everywhere = np.argwhere(np.ones(votes.shape, bool))
    distance, index = cKDTree(samples).query(everywhere, k=k)
    distance, index = distance.reshape(-1, k), index.reshape(-1, k)
    weight = 1.0 / np.maximum(distance, 0.5) ** 2
    own = votes[tuple(samples.T)][index]
    shares = np.stack([(weight * (own == label)).sum(axis=1) for label in labels])
    return smoothed_prior((shares / shares.sum(axis=0)).reshape(n, *votes.shape), votes > 0)
