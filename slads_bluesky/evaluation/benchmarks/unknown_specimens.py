"""Specimens whose phases nobody gives: a simulated object, exposed for a mean number of counts, devices left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...phantom import make_object
from ...phantom.imperfect import ImperfectPhantom
from ...phantom.imperfections import imperfections_of
from ...phantom.specimen import Phantom

__all__ = ["Specimen", "adjusted_rand_index", "make_specimen", "matched_phases"]

MOST_WRONG = 0.5
"""A found phase is one of the specimen's if it holds more than this part of it, and of nothing else."""


@dataclass(frozen=True)
class Specimen:
    """A simulated object, and how long its pixels are exposed."""

    name: str
    phantom: Phantom
    counts: float
    """Counts of an exposure, mean over the phases."""
    fraction: float
    """Part of the pixels that is measured."""

    @property
    def truth(self) -> NDArray[np.uint8]:
        """(rows, columns): the sharp phase map."""
        return self.phantom.truth

    @property
    def majority(self) -> NDArray[np.uint8]:
        """(rows, columns): the phase with the largest part at each pixel."""
        return self.phantom.majority

    def expected(self, pixel: int, clock_s: float) -> NDArray[np.float64]:
        """Expected counts (channels,) of an exposure."""
        phantom = self.phantom
        part = self.counts / phantom.recipe.mean_counts
        if isinstance(phantom, ImperfectPhantom):
            # the carbon layer grows with the dose, its counts with the square
            carbon = part**2 * float(phantom.rate.flat[pixel]) * phantom.carbon
            return np.asarray(part * phantom.expected_at(pixel, clock_s) + carbon)
        label = int(phantom.truth.flat[pixel])
        recorded = phantom.templates[label - 1, int(phantom.choice.flat[pixel])]
        return np.asarray(part * (recorded + phantom.recipe.noise_rate))

    def expose(self, pixel: int, clock_s: float, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw a spectrum (channels,)."""
        return np.asarray(rng.poisson(self.expected(pixel, clock_s)), np.int64)

    @property
    def dwell_s(self) -> float:
        """Live time of an exposure, s."""
        return self.phantom.full_dwell_s * self.counts / self.phantom.recipe.mean_counts

    @property
    def shapes(self) -> NDArray[np.float64]:
        """(L, channels): mean shape of each phase, rows sum to 1."""
        if isinstance(self.phantom, ImperfectPhantom):
            rows = self.phantom.expected.mean(axis=(0, 2))
        else:
            rows = self.phantom.templates.mean(axis=1)
        rows = rows + self.phantom.recipe.noise_rate
        return np.asarray(rows / rows.sum(axis=1, keepdims=True))


def make_specimen(name: str, seed: int) -> Specimen:
    """Make the specimen of a name such as ``pbsn-128``; with ``-imperfect`` after it, with all imperfections.

    A rock is exposed for 2000 counts a pixel, four times the Chernoff distance of its augites, and measured in 15 %
    of them, any other object for 60 counts in 10 %. The beam drifts by 0.06 pixels meanwhile, which is left out.
    """
    whole = name.removesuffix("-imperfect")
    phantom = make_object(whole, seed, imperfections_of(whole != name))
    if not whole.startswith("rock-"):
        return Specimen(name, phantom, 60.0, 0.10)
    return Specimen(name, phantom, 2000.0, 0.15)


def matched_phases(truth: NDArray[Any], found: NDArray[Any]) -> tuple[int, int]:
    """How many phases of the truth have a found phase of their own, and how many found ones are of no phase.

    Parameters
    ----------
    truth, found : (n,) labels
        Of the measured pixels; 0 in `found` where unclassified.
    """
    from scipy.optimize import linear_sum_assignment

    labels, names = np.unique(truth), np.unique(found[found > 0])
    shared = np.array([[np.sum((truth == t) & (found == f)) for f in names] for t in labels], float)
    if not names.size:
        return 0, 0
    rows, columns = linear_sum_assignment(-shared)
    good = [
        shared[r, c] > MOST_WRONG * shared[:, c].sum()
        and shared[r, c] > MOST_WRONG * np.sum(truth == labels[r])
        for r, c in zip(rows, columns, strict=True)
    ]
    return int(sum(good)), len(names) - int(sum(good))


def adjusted_rand_index(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Adjusted Rand index of two labellings (n,): 1 for the same groups, 0 by chance (Hubert and Arabie 1985)."""
    _, i = np.unique(a, return_inverse=True)
    _, j = np.unique(b, return_inverse=True)
    table = np.zeros((i.max() + 1, j.max() + 1))
    np.add.at(table, (i, j), 1.0)
    pairs, rows, columns = (float((v * (v - 1) / 2).sum()) for v in (table, table.sum(1), table.sum(0)))
    n = float(len(i))
    by_chance = rows * columns / (n * (n - 1) / 2)
    return (pairs - by_chance) / max((rows + columns) / 2 - by_chance, 1e-12)
