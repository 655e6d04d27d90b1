"""A sharp map from mixed samples, deconvolved with the known interaction volume.

A sample's abundances are α = (K s)(pixel), s the sharp map as the probability of each phase at each pixel, K the
Gaussian of the interaction volume. Beside a straight boundary that is a signed distance, d = σ Φ⁻¹(α). Boundaries
need not be straight here: of all factorised distributions Q(x) = Π s_j(x_j) of the sharp labels x, the one is taken
that minimises the free energy

    F(s) =  Σ_i w_i Σ_l [(α_il − (K s_l)_i)² + (K² s_l (1 − s_l))_i] / 2
          + Σ_j KL(s_j ‖ p_j)  +  γ Σ_(j,k) (1 − s_j · s_k)

(mean-field variational Bayes; Jordan et al., Machine Learning 37, 183-233, 1999). Here i are samples with weights
w = 1 / sd², p_j is what a sampler's reconstruction says of pixel j without knowing of mixtures, and (j, k) are
neighbours. The minimum gives all that is asked for: the sharp map and its uncertainty s, the areas Σ s, and the phase
with the largest part at each pixel, from K s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.optimize import minimize
from scipy.special import softmax

from ..errors import DataError

__all__ = ["SharpMap", "boundary_distance", "deconvolve"]

COUPLING = 1.0
"""γ: what a boundary costs for each pixel of its length, in nats."""
LEAST_SD = 0.02
"""No abundance is taken to be better known than this: a Gaussian is not quite the interaction volume."""
LEAST_PRIOR = 1e-3
"""Least probability of a phase in p: a reconstruction that knows of no mixtures may be sure and wrong."""
START_FLOOR = 1e-4
"""Least probability of a phase in what is started from, so that a sure pixel can still change its phase."""
STEPS = 100


@dataclass(frozen=True, eq=False)
class SharpMap:
    """A deconvolved map."""

    probability: NDArray[np.float32]
    """(L, rows, columns): probability of each phase at each pixel of the sharp map: area fractions at boundaries."""
    abundances: NDArray[np.float32]
    """(L, rows, columns): expected part of each phase in the interaction volume at each pixel."""

    @property
    def sharp(self) -> NDArray[np.uint8]:
        """(rows, columns): the most probable phase of each pixel, 1 … L, as a beam of no width would find it."""
        return np.asarray(self.probability.argmax(axis=0) + 1, np.uint8)

    @property
    def majority(self) -> NDArray[np.uint8]:
        """(rows, columns): the phase with the largest part in the interaction volume at each pixel, 1 … L."""
        return np.asarray(self.abundances.argmax(axis=0) + 1, np.uint8)

    @property
    def uncertainty(self) -> NDArray[np.float32]:
        """(rows, columns): probability that the sharp label is wrong."""
        return np.asarray(1.0 - self.probability.max(axis=0), np.float32)

    def boundary_maps(self, labels: tuple[int, ...]) -> dict[str, NDArray[Any]]:
        """Sharp labels, the probability that each is wrong, and area fractions; see `protocols.TakesMixtures`.

        `labels` are those of the phases, in their order.
        """
        return {
            "sharp": np.asarray(labels, np.uint8)[self.probability.argmax(axis=0)],
            "sharp_uncertainty": self.uncertainty,
            "area_fractions": self.probability,
        }

    @property
    def areas(self) -> NDArray[np.float64]:
        """(L,): area fraction of each phase."""
        return np.asarray(self.probability.mean(axis=(1, 2), dtype=np.float64))


def boundary_distance(abundance: NDArray[np.float64], sigma_px: float) -> NDArray[np.float64]:
    """Signed distance of a straight boundary from a sample, pixels; positive inside the phase.

    Parameters
    ----------
    abundance : array
        Part of the phase in the interaction volume, 0 … 1; at 0 and 1 the distance is infinite.
    sigma_px : float
        Standard deviation of the interaction volume, pixels.

    Examples
    --------
    >>> import numpy as np
    >>> boundary_distance(np.array([0.5, 0.84, 0.16]), 2.0).round(1).tolist()
    [0.0, 2.0, -2.0]
    """
    from scipy.special import ndtri

    return np.asarray(sigma_px * ndtri(abundance))


def deconvolve(
    prior: NDArray[np.float32],
    pixels: NDArray[np.int64],
    abundances: NDArray[np.float64],
    abundance_sd: NDArray[np.float64],
    sigma_px: float,
    *,
    coupling: float = COUPLING,
    steps: int = STEPS,
    start: NDArray[np.float32] | None = None,
) -> SharpMap:
    """Find the sharp map that explains mixed samples.

    Parameters
    ----------
    prior : (L, rows, columns) float32
        p: probability of each phase at each pixel, without these samples' mixtures.
    pixels : (N,) int64
        Flat index of each sample.
    abundances, abundance_sd : (N, L) float64
        Parts of the phases in each sample, and their standard deviations; a row of NaN says nothing.
    sigma_px : float
        Standard deviation of the interaction volume, pixels.
    coupling : float
        γ, nats for each pixel of boundary.
    steps : int
        Steps of the minimiser (L-BFGS) at most.
    start : (L, rows, columns) float32, optional
        Probabilities to start from, such as those of fewer samples; by default the prior.

    Raises
    ------
    DataError
        If the shapes do not fit, or the interaction volume is no positive number.

    Examples
    --------
    Two samples on either side of a boundary between them say where it is:

    >>> import numpy as np
    >>> prior = np.full((2, 16, 16), 0.5, np.float32)
    >>> parts = np.array([[0.84, 0.16], [0.0, 1.0], [1.0, 0.0]])
    >>> found = deconvolve(prior, np.array([7 * 16 + 6, 7 * 16 + 13, 7 * 16 + 1]), parts, np.full((3, 2), 0.01), 2.0)
    >>> found.sharp[7].tolist()
    [1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2]
    """
    n_labels, rows, columns = prior.shape
    wanted = (len(pixels), n_labels)
    if abundances.shape != wanted or abundance_sd.shape != wanted:
        raise DataError(f"abundances of shape {abundances.shape}, {abundance_sd.shape}; expected {wanted}")
    if not 0.0 < sigma_px < 100.0:
        raise DataError(f"the interaction volume has a standard deviation of {sigma_px} pixels")
    known = np.isfinite(abundances).all(axis=1) & np.isfinite(abundance_sd).all(axis=1)
    where = pixels[known]
    weight = np.zeros((n_labels, rows * columns))
    target = np.zeros((n_labels, rows * columns))
    weight[:, where] = (1.0 / (abundance_sd[known] ** 2 + LEAST_SD**2)).T
    target[:, where] = abundances[known].T
    weight, target = (array.reshape(prior.shape) for array in (weight, target))
    if n_labels == 2:  # either part says the same
        weight *= 0.5
    spread = _spread(weight, sigma_px)
    log_prior = np.log(np.clip(prior.astype(np.float64), LEAST_PRIOR, None))
    log_prior -= log_prior.mean(axis=0)

    def energy(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z = flat.reshape(prior.shape)
        log_s = z - z.max(axis=0)
        log_s -= np.log(np.exp(log_s).sum(axis=0))
        s = np.exp(log_s)
        miss = _blur_parts(s, sigma_px) - target
        value = 0.5 * float((weight * miss**2).sum() + (spread * s * (1.0 - s)).sum())
        value += float((s * (log_s - log_prior)).sum())
        slope = _spread_back(weight * miss, sigma_px) + 0.5 * spread * (1.0 - 2.0 * s)
        slope += log_s - log_prior
        for axis in (1, 2):
            here, there = np.moveaxis(s, axis, 0)[:-1], np.moveaxis(s, axis, 0)[1:]
            value += coupling * float(here[:, 0].size - (here * there).sum())
            along = np.moveaxis(slope, axis, 0)
            along[:-1] -= coupling * there
            along[1:] -= coupling * here
        gradient = s * (slope - (s * slope).sum(axis=0))
        return value, gradient.ravel()

    first = log_prior if start is None else np.log(np.clip(start.astype(np.float64), START_FLOOR, None))
    options = {"maxiter": steps, "maxcor": 8}
    found = minimize(energy, first.ravel(), jac=True, method="L-BFGS-B", options=options)
    s = softmax(found.x.reshape(prior.shape), axis=0)
    return SharpMap(s.astype(np.float32), _blur_parts(s, sigma_px).astype(np.float32))


def _blur(maps: NDArray[np.float64], sigma_px: float, mode: str = "nearest") -> NDArray[np.float64]:
    """Convolve maps (n, rows, columns) with the interaction volume."""
    return np.asarray(gaussian_filter(maps, (0.0, sigma_px, sigma_px), mode=mode, truncate=3.5))


def _blur_parts(maps: NDArray[np.float64], sigma_px: float) -> NDArray[np.float64]:
    """Convolve maps (L, rows, columns) of sum 1: the last follows from the others."""
    blurred = _blur(maps[:-1], sigma_px)
    return np.concatenate([blurred, 1.0 - blurred.sum(axis=0, keepdims=True)])


def _spread_back(maps: NDArray[np.float64], sigma_px: float) -> NDArray[np.float64]:
    """Convolve maps (L, rows, columns) with nothing beyond the edge; of two, the second is minus the first."""
    if len(maps) > 2:
        return _blur(maps, sigma_px, mode="constant")
    blurred = _blur(maps[:1], sigma_px, mode="constant")
    return np.concatenate([blurred, -blurred])


def _spread(weight: NDArray[np.float64], sigma_px: float) -> NDArray[np.float64]:
    """Σ_i w_i K_ij²: K² is a Gaussian of σ / √2, divided by 4πσ² (no more than 1)."""
    narrow = gaussian_filter(weight, (0.0, sigma_px / np.sqrt(2.0), sigma_px / np.sqrt(2.0)), mode="constant")
    return np.asarray(narrow / max(4.0 * np.pi * sigma_px**2, 1.0))
