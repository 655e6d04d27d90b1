"""Evidence of a simulated specimen without devices: counts of its spectra, weighed by its classifier's phases.

For comparing samplers and rasters at a dose: a visit of a few counts costs microseconds instead of milliseconds. What
is left out is what the instrument does besides counting: positions, dead time from pixel to pixel, verdicts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..phantom import Phantom
from ..sampling.joint.evidence import robust
from ..spectra import PhaseClassifier

__all__ = ["EvidenceSource"]

MANY = 100.0
"""Counts a pixel from which on they are drawn bin by bin."""
ROWS = 4096
"""Pixels that are drawn at a time then."""


class EvidenceSource:
    """Spectra of a phantom in the classifier's bins, and what they say of the phases.

    Parameters
    ----------
    phantom : Phantom
    classifier : PhaseClassifier
        Its phases' shapes weigh the counts, as in its own likelihood without nuisances.
    seed : int
        Of the counts.
    """

    def __init__(self, phantom: Phantom, classifier: PhaseClassifier, seed: int = 0) -> None:
        if tuple(classifier.phases) != phantom.phases:
            raise ConfigError(f"{phantom.name} has the phases {phantom.phases}, not {classifier.phases}")
        self.phantom, self.classifier = phantom, classifier
        self._rng = np.random.default_rng([seed, 0xE71D])
        starts = classifier.settings.bin_starts(classifier.axis)
        expected = phantom.templates + phantom.recipe.noise_rate
        live = expected[..., starts[0] : starts[-1]]
        inside = np.add.reduceat(live, starts[:-1] - starts[0], axis=-1)
        whole = expected.sum(axis=-1, keepdims=True)
        rest = np.maximum(whole - inside.sum(axis=-1, keepdims=True), 0.0)
        shares = np.concatenate([inside, rest], axis=-1) / whole
        self._shares = shares.reshape(-1, shares.shape[-1])
        self._cumulative = np.cumsum(self._shares, axis=1)
        self.rate_cps = float(whole.mean() / phantom.full_dwell_s)
        """Counts per second of live time, mean over the phases."""
        ill = np.append(np.diff(starts), expected.shape[-1] - (starts[-1] - starts[0])).astype(float)
        self._ill_shares = ill / ill.sum()
        self._ill = np.cumsum(self._ill_shares)
        shape = classifier.templates.shape
        self._log = np.vstack([np.log(shape), np.log(ill[:-1] / ill[:-1].sum())])  # the last: none, flat
        self._log = np.concatenate(
            [self._log, np.zeros((len(self._log), 1))], axis=1
        )  # outside the bins: no say

    def visit(
        self, pixels: NDArray[np.integer], counts: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Visit pixels for an expected number of counts each.

        Parameters
        ----------
        pixels : (n,) int array
        counts : (n,) float array

        Returns
        -------
        (n, L + 1) float64 array, (n,) int64 array
            Log-likelihoods as an Event records them, and the counts that came.
        """
        phantom = self.phantom
        label = phantom.labels.ravel()[pixels].astype(np.int64)
        kind = (label - 1) * phantom.templates.shape[1] + phantom.choice.ravel()[pixels]
        kind = np.where(label > 0, kind, -1)
        if len(pixels) and float(np.mean(counts)) > MANY:
            return self._visit_long(kind, np.asarray(counts, np.float64))
        number = self._rng.poisson(counts)
        owner = np.repeat(np.arange(len(pixels)), number)
        u = self._rng.random(owner.size)
        bins = np.empty(owner.size, np.intp)
        kinds = kind[owner]
        for k in np.unique(kinds):
            of = kinds == k
            cumulative = self._ill if k < 0 else self._cumulative[k]
            bins[of] = np.minimum(np.searchsorted(cumulative, u[of]), len(cumulative) - 1)
        out = np.stack(
            [np.bincount(owner, weights=row[bins], minlength=len(pixels)) for row in self._log], axis=1
        )
        return out - out.max(axis=1, keepdims=True), number.astype(np.int64)

    def _visit_long(
        self, kind: NDArray[np.int64], counts: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """As `visit`, drawn bin by bin instead of count by count; -1 is the kind of an ill pixel."""
        out, number = np.empty((len(kind), len(self._log))), np.empty(len(kind), np.int64)
        for first in range(0, len(kind), ROWS):
            rows = slice(first, first + ROWS)
            shares = np.where(kind[rows, None] < 0, self._ill_shares, self._shares[kind[rows]])
            drawn = self._rng.poisson(counts[rows, None] * shares)
            number[rows] = drawn.sum(axis=1)
            out[rows] = drawn @ self._log.T
        return out - out.max(axis=1, keepdims=True), number

    def raster(self, counts: float) -> NDArray[np.float64]:
        """Return the evidence (rows, columns, L) of a raster of every pixel at so many counts."""
        shape = self.phantom.shape
        n = shape[0] * shape[1]
        said, _ = self.visit(np.arange(n), np.full(n, float(counts)))
        return robust(said).reshape(*shape, -1)
