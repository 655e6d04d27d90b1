"""Log-likelihoods as evidence: what several visits say together, and how it is kept from saying too much.

A spectrum of none of the phases (an ill pixel, a grain of dust) says nothing of the phase under it. With
log-likelihoods ℓ of the phases and ℓ₀ of "none of them", of prior π₀, what counts is ln((1 − π₀) exp ℓ + π₀ exp ℓ₀):
the same for every phase where none of them explains the counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["NONE_PRIOR", "label_evidence", "one_against_rest_ratio", "robust"]

NONE_PRIOR = 1e-3
"""Prior probability that a pixel's spectrum is of none of the phases."""
LABEL_EVIDENCE = 12.0
"""Log-likelihood ratio that a label given without counts stands for."""


def robust(log_likelihood: NDArray[np.floating], none_prior: float = NONE_PRIOR) -> NDArray[np.float64]:
    """Return what spectra say of the phases, the greatest 0.

    Parameters
    ----------
    log_likelihood : (…, L + 1) float array
        Of each phase and, last, of none of them.
    none_prior : float
        Prior of the last.

    Returns
    -------
    (…, L) float64 array
        Log-likelihoods up to a common constant, 0 for the best phase.

    Examples
    --------
    >>> import numpy as np
    >>> robust(np.array([0.0, -3.0, -20.0])).round(2)
    array([ 0., -3.])
    >>> robust(np.array([-30.0, -40.0, 0.0])).round(2) + 0.0
    array([0., 0.])
    """
    x = np.asarray(log_likelihood, np.float64)
    phases = x[..., :-1] + np.log1p(-none_prior)
    out = np.logaddexp(phases, x[..., -1:] + np.log(none_prior))
    return np.asarray(out - out.max(axis=-1, keepdims=True))


def label_evidence(label: int, n_labels: int) -> NDArray[np.float64]:
    """Return log-likelihoods (n_labels + 1,) that stand for a label 1 … n_labels; 0, unclassified, says nothing."""
    out = np.zeros(n_labels + 1)
    if label > 0:
        out[:] = -LABEL_EVIDENCE
        out[label - 1] = 0.0
    return out


def one_against_rest_ratio(log_likelihood: NDArray[np.floating], phase: int) -> NDArray[np.float64]:
    """Return ln of the likelihood of a phase (index from 0) over the mean of the others', (…,), of (…, L) values."""
    x = np.asarray(log_likelihood, np.float64)
    rest = np.delete(x, phase, axis=-1)
    if rest.shape[-1] == 1:
        return np.asarray(x[..., phase] - rest[..., 0])
    top = rest.max(axis=-1)
    mean = np.exp(rest - top[..., None]).mean(axis=-1)
    return np.asarray(x[..., phase] - top - np.log(mean))
