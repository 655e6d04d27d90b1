"""Which phase a spectrum is of, among those found: label, probability and verdict."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...protocols import UNCLASSIFIED, Classification, Verdict
from .mixture import Floats
from .search import Found

__all__ = ["call_spectra"]

SURE = 0.9
"""Posterior from which a spectrum votes."""
SCATTER = 0.04
"""Chi-square per count that is expected of the scatter within a phase."""
SIGMAS = 5.0
"""A spectrum fits no phase if its chi-square lies so many standard deviations above what chance explains."""


def call_spectra(
    found: Found, labels: Sequence[int], bins: NDArray[np.int64] | Floats
) -> tuple[list[Classification], NDArray[np.int64]]:
    """Call spectra (m, bins) by the phases that were found.

    Parameters
    ----------
    found : Found
    labels : sequence of int
        Of each group; 0 of one that has none.
    bins : (m, bins) counts

    Returns
    -------
    list of Classification, (m,) int64
        And the group that each spectrum is nearest to.
    """
    mixture, between = found.mixture, found.between
    posterior = found.posterior(bins)
    # a mixture votes for its larger part
    votes = np.array(
        [
            labels[(between[k].first if between[k].part >= 0.5 else between[k].second) if k in between else k]
            for k in range(mixture.n_phases)
        ]
    )
    best = posterior.argmax(axis=1)
    same = votes[None, :] == votes[best][:, None]
    probabilities = (posterior * same).sum(axis=1)  # groups that show one label are one phase
    odd = _fits_none(found, bins, best)
    calls = []
    for k, probability, outlier in zip(best.tolist(), probabilities.tolist(), odd.tolist(), strict=True):
        label = int(votes[k])
        verdict: Verdict = "mixed" if k in between else "ok"
        if outlier:
            verdict, label = "unknown", UNCLASSIFIED
        elif probability < SURE or label == UNCLASSIFIED:
            verdict = "low_counts"
        calls.append(Classification(label, min(probability, 1.0), verdict))
    return calls, best


def _fits_none(found: Found, bins: NDArray[np.int64] | Floats, best: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each spectrum differs from its phase by more than chance and scatter explain."""
    mixture, bins = found.mixture, found.in_bins(bins)
    shape = mixture._shapes.mean(mixture.sums)[best]
    total = bins.sum(axis=1, keepdims=True).astype(np.float64)
    expected: Floats = total * shape
    spread = expected + total**2 * shape / np.maximum(mixture.sums.sum(axis=1)[best], 1.0)[:, None] + 0.25
    chi = ((bins - expected) ** 2 / spread).sum(axis=1)
    # Σ (n - e)² / e has the mean of the bins that count and a variance of 2 and of 1/e each
    share = expected / spread
    mean, variance = share.sum(axis=1), (2.0 * share**2 + expected / spread**2).sum(axis=1)
    return np.asarray(chi - mean - SCATTER * total[:, 0] > SIGMAS * np.sqrt(variance + 1.0))
