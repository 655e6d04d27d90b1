"""The best posterior of a map that there is: network, Potts field or both, by what predicts hidden evidence best.

The network knows how microstructures look and may not know this one; the field knows that neighbours are alike.
Neither is believed: each predicts the evidence of hidden pixels, and so do weighted sums of both in logarithms.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .mapper import EvidenceMapper
from .potts import PottsField
from .reference import (
    EXPONENTS,
    HIDDEN,
    LEAST_LOG,
    JointPosterior,
    combine,
    fit_strength,
    predictive_score,
)

__all__ = ["infer_map"]

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of the network; the rest is the field's."""
TURNS = 4


def infer_map(
    log_likelihood: NDArray[np.floating], mapper: EvidenceMapper | None, *, seed: int = 0, turns: int = TURNS
) -> JointPosterior:
    """Infer the phase of every pixel by network and field together.

    Parameters
    ----------
    log_likelihood : (rows, columns, L) float array
        0 where nothing was measured.
    mapper : EvidenceMapper, optional
        None for the field alone.
    seed : int
        Of the hidden pixels.
    turns : int
        Turned and mirrored copies of the map that the network is averaged over, 1 … 8.

    Returns
    -------
    JointPosterior
    """
    evidence = np.asarray(log_likelihood, np.float64)
    strength, exponent = fit_strength(evidence, seed=seed)

    def field(of: NDArray[np.float64]) -> NDArray[np.float32]:
        made = PottsField(of, strength)
        made.settle(20)
        return made.log_prior() * np.float32(exponent)

    if mapper is None:
        return JointPosterior(combine(_bounded(field(evidence)), evidence), strength, exponent)
    measured = np.ptp(evidence, axis=2) > 0
    hidden = measured & (np.random.default_rng(seed).random(measured.shape) < HIDDEN)
    weight, power = 1.0, 1.0
    if hidden.sum() >= 8:
        seen = np.where(hidden[..., None], 0.0, evidence)
        by_field, by_network = field(seen)[hidden], mapper.log_prior(seen)[hidden]
        score = np.array(
            [predictive_score(w * by_network + (1.0 - w) * by_field, evidence[hidden]) for w in WEIGHTS]
        )
        i, j = np.unravel_index(int(score.argmax()), score.shape)
        weight, power = WEIGHTS[i], EXPONENTS[j]
    prior = np.asarray(weight * _turned(mapper, evidence, turns), np.float32)
    if weight < 1.0:
        prior += (1.0 - weight) * field(evidence)
    return JointPosterior(combine(_bounded(power * prior), evidence), strength, exponent)


def _bounded(prior: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(np.maximum(prior - prior.max(axis=2, keepdims=True), LEAST_LOG), np.float32)


def _turned(mapper: EvidenceMapper, evidence: NDArray[np.float64], turns: int) -> NDArray[np.float32]:
    """Mean of what the network says of the map turned and mirrored."""
    total = np.zeros(evidence.shape, np.float32)
    for i in range(turns):
        view = np.rot90(evidence, i % 4)
        view = view[::-1] if i >= 4 else view
        found = mapper.log_prior(np.ascontiguousarray(view))
        found = found[::-1] if i >= 4 else found
        total += np.rot90(found, -(i % 4))
    return np.asarray(total / np.float32(turns), np.float32)
