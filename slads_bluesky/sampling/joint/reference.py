"""Joint inference without training: the Potts posterior of a map, its strength chosen by how well it predicts counts.

Some of the measured pixels are hidden, and what the field says of them from all others is scored by the evidence
that they have: Σ ln Σ_l P(l | the rest) exp ℓ(l), the predictive likelihood of their counts. The strength β and the
exponent of the field that score best are taken: no truth is needed, and, as the score is proper, the exponent is what
makes the loops of belief propagation no surer than they are right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .error import MapError, expected_error
from .potts import PottsField

__all__ = ["JointPosterior", "combine", "denoise", "fit_strength", "predictive_score"]

STRENGTHS = (0.25, 0.4, 0.6, 0.8, 1.0, 1.3, 1.7, 2.2)
EXPONENTS = (0.4, 0.5, 0.6, 0.7, 0.85, 1.0, 1.2, 1.4, 1.7)
HIDDEN = 0.15
"""Part of the measured pixels that is hidden: few, so that those around a hidden one are nearly all there."""
LEAST_LOG = np.float32(np.log(1e-6))
"""Of the least probability that the pixels around leave a label."""


@dataclass(frozen=True, eq=False)
class JointPosterior:
    """What all counts say of every pixel."""

    probability: NDArray[np.float32]
    """(rows, columns, L): of each label; sums to 1."""
    strength: float
    """β of the field, NaN of a posterior without one."""
    exponent: float
    """Power to which the field is taken, NaN likewise."""

    @property
    def labels(self) -> NDArray[np.uint8]:
        """(rows, columns): the most probable label, 1 … L."""
        return np.asarray(self.probability.argmax(axis=2) + 1, np.uint8)

    @property
    def error(self) -> MapError:
        """Expected part of the pixels that `labels` has wrong, with its interval."""
        return expected_error(self.probability)


def combine(log_prior: NDArray[np.floating], log_likelihood: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the posterior (…, L) of a prior and evidence, both in logarithms up to a constant."""
    z = np.asarray(log_prior, np.float32) + np.asarray(log_likelihood, np.float32)
    z -= z.max(axis=-1, keepdims=True)
    p = np.exp(z)
    return np.asarray(p / p.sum(axis=-1, keepdims=True), np.float32)


def predictive_score(
    log_prior: NDArray[np.floating],
    log_likelihood: NDArray[np.floating],
    exponents: Sequence[float] = EXPONENTS,
) -> NDArray[np.float64]:
    """Return the predictive log-likelihood of hidden evidence, for each exponent of the prior.

    Parameters
    ----------
    log_prior, log_likelihood : (n, L) float arrays
        Of the hidden pixels.
    exponents : sequence of float

    Returns
    -------
    (len(exponents),) float64 array
    """
    out = []
    for exponent in exponents:
        z = exponent * np.asarray(log_prior, np.float64)
        z = z - z.max(axis=1, keepdims=True)
        p = np.exp(z)
        p = np.maximum(p / p.sum(axis=1, keepdims=True), np.exp(LEAST_LOG))
        top = log_likelihood.max(axis=1)
        out.append(float((np.log((p * np.exp(log_likelihood - top[:, None])).sum(axis=1)) + top).sum()))
    return np.array(out)


def fit_strength(
    log_likelihood: NDArray[np.floating],
    *,
    strengths: Sequence[float] = STRENGTHS,
    seed: int = 0,
    window: int = 256,
) -> tuple[float, float]:
    """Choose β and the exponent by what the field predicts of hidden evidence.

    Parameters
    ----------
    log_likelihood : (rows, columns, L) float array
        0 where nothing was measured.
    strengths : sequence of float
        To choose from.
    seed : int
        Of the choice of hidden pixels.
    window : int
        Rows and columns from the middle of a larger map that are looked at.

    Returns
    -------
    (float, float)
    """
    rows, columns, _ = log_likelihood.shape
    top, left = max(0, (rows - window) // 2), max(0, (columns - window) // 2)
    part = np.asarray(log_likelihood[top : top + window, left : left + window], np.float64)
    measured = np.ptp(part, axis=2) > 0
    if measured.sum() < 8:
        return strengths[len(strengths) // 2], 1.0
    hidden = measured & (np.random.default_rng(seed).random(measured.shape) < HIDDEN)
    seen = np.where(hidden[..., None], 0.0, part)
    best = (-np.inf, 0.0, 1.0)
    falling = 0
    for strength in strengths:
        field = PottsField(seen, strength)
        field.settle(8, 1e-2)
        score = predictive_score(field.log_prior()[hidden], part[hidden])
        found = (float(score.max()), strength, EXPONENTS[int(score.argmax())])
        falling = 0 if found[0] > best[0] else falling + 1
        best = max(best, found)
        if falling == 2:
            break
    return best[1], best[2]


def denoise(
    log_likelihood: NDArray[np.floating],
    *,
    strength: float | None = None,
    exponent: float | None = None,
    seed: int = 0,
) -> JointPosterior:
    """Infer the phase of every pixel from all counts: P(phase at every pixel | counts).

    Parameters
    ----------
    log_likelihood : (rows, columns, L) float array
        What each pixel's counts say of the labels (`evidence.robust`), 0 where nothing was measured.
    strength, exponent : float, optional
        Of the field; by default `fit_strength` chooses both.
    seed : int
        Of that choice.

    Returns
    -------
    JointPosterior

    Examples
    --------
    Two halves of a map at two counts a pixel, of spectra that differ little:

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> truth = np.repeat([1, 2], 20)[None, :].repeat(40, axis=0)
    >>> ratio = rng.normal(np.where(truth == 1, 0.5, -0.5), 1.0)
    >>> evidence = np.stack([ratio / 2, -ratio / 2], axis=2)
    >>> alone = (evidence.argmax(axis=2) + 1 != truth).mean()
    >>> found = denoise(evidence)
    >>> bool(alone > 0.25), bool((found.labels != truth).mean() < 0.03)
    (True, True)
    """
    if strength is None or exponent is None:
        fitted = fit_strength(log_likelihood, seed=seed)
        strength = fitted[0] if strength is None else strength
        exponent = fitted[1] if exponent is None else exponent
    field = PottsField(log_likelihood, strength)
    field.settle(20)
    prior = np.maximum(field.log_prior() * np.float32(exponent), LEAST_LOG)
    return JointPosterior(combine(prior, log_likelihood), strength, exponent)
