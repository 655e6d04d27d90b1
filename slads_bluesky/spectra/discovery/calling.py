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
    bins = found.in_bins(bins)
    posterior, parts = found.posterior(bins)
    shown, every = np.asarray(labels), np.arange(len(bins))
    best = posterior.argmax(axis=1)
    mixed = np.zeros(len(bins), bool)
    # groups that show one label are one phase
    of_label = np.zeros((len(bins), int(shown.max(initial=0)) + 1))
    np.add.at(of_label.T, shown, posterior.T)
    shapes = found.mixture.shapes
    expected = shapes[best]
    if parts is not None:
        rest = np.clip(1.0 - posterior.sum(axis=1), 0.0, 1.0)
        mixed = rest > posterior[every, best]
        # a mixture votes for its larger part
        best = np.where(mixed, parts.larger, best)
        order = np.argsort(-parts.parts, axis=1, kind="stable")
        for place, probability in enumerate((parts.sure, 1.0 - parts.sure)):
            which = parts.phases[every, order[:, place]]
            np.add.at(of_label, (every, shown[which]), rest * probability)
        expected = np.where(mixed[:, None], parts.shapes(shapes), expected)
    voted = shown[best]
    probabilities = of_label[every, voted]
    odd = _fits_none(found, bins, expected, best)
    calls = []
    for label, probability, of_two, outlier in zip(
        voted.tolist(), probabilities.tolist(), mixed.tolist(), odd.tolist(), strict=True
    ):
        verdict: Verdict = "mixed" if of_two else "ok"
        if outlier:
            verdict, label = "unknown", UNCLASSIFIED
        elif label == UNCLASSIFIED or (probability < SURE and not of_two):
            verdict = "low_counts"
        calls.append(Classification(label, min(probability, 1.0), verdict))
    return calls, best


def _fits_none(found: Found, bins: Floats, shape: Floats, best: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each spectrum differs from the shape (m, bins) of its phase by more than chance and scatter explain."""
    total = bins.sum(axis=1, keepdims=True)
    expected: Floats = total * shape
    known = np.maximum(found.mixture.sums.sum(axis=1)[best], 1.0)[:, None]
    spread = expected + total**2 * shape / known + 0.25
    chi = ((bins - expected) ** 2 / spread).sum(axis=1)
    # Σ (n - e)² / e has the mean of the bins that count and a variance of 2 and of 1/e each
    share = expected / spread
    mean, variance = share.sum(axis=1), (2.0 * share**2 + expected / spread**2).sum(axis=1)
    return np.asarray(chi - mean - SCATTER * total[:, 0] > SIGMAS * np.sqrt(variance + 1.0))
