"""Smooth variation of a quantity inside a phase, found by likelihood and interpolated with its variance (kriging).

The quantity at pixel i is μ + g(x_i) + e_i: a mean, a Gaussian random field g of covariance s ρ(d/l), and a
variation e from pixel to pixel of variance n (the nugget); a measurement adds noise of known variance. Mean, s, l, n
and the kind of ρ are those of the largest likelihood; variation is taken for real only if the likelihood says so.
Prediction uses the nearest measured pixels only, so that large maps take seconds (J.-P. Chilès, P. Delfiner,
Geostatistics, Wiley 2012, chapters 3 and 4).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

__all__ = ["Variation", "VariationFinder", "interpolate"]

LENGTHS = (1.5, 3.0, 6.0, 12.0, 24.0, 48.0, 96.0)
"""Correlation lengths that are tried, in pixels."""
IMAGE_LENGTHS = (0.2, 0.6, 1.8)
"""And those in the guide image, in its standard deviations."""
SHARES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 4.0)
MOST_POINTS = 300
LEAST_POINTS = 12
GAIN_SMOOTH, GAIN_NUGGET = 4.0, 2.0
"""Gain of the logarithm of the likelihood from which on a field, or a nugget, is believed."""
NEIGHBOURS = 20
CHUNK = 8192


@dataclass(frozen=True)
class Variation:
    """How a quantity varies in a phase.

    Parameters
    ----------
    mean, mean_sd : float
    sill : float
        Variance of the smooth field; 0 where none was found.
    length : float
        Its correlation length, in pixels.
    nugget : float
        Variance from pixel to pixel.
    kernel : str
        ``"exponential"`` or ``"matern32"``.
    image_length : float
        Correlation length in the guide image, in its standard deviations; infinite where it is of no use.
    """

    mean: float
    mean_sd: float
    sill: float = 0.0
    length: float = 1.0
    nugget: float = 0.0
    kernel: str = "exponential"
    image_length: float = np.inf

    @property
    def total(self) -> float:
        """Variance of a pixel around the mean."""
        return self.sill + self.nugget

    def scaled(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Coordinates in correlation lengths."""
        scale = np.full(points.shape[1], 1.0 / self.length)
        if points.shape[1] == 3:
            scale[2] = 1.0 / self.image_length if np.isfinite(self.image_length) else 0.0
        return np.asarray(points * scale)

    def correlation(self, distance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Correlation at distances in correlation lengths."""
        return _correlation(self.kernel, distance)


def _correlation(kernel: str, distance: NDArray[np.float64]) -> NDArray[np.float64]:
    if kernel == "matern32":
        a = np.sqrt(3.0) * distance
        return np.asarray((1.0 + a) * np.exp(-a))
    return np.asarray(np.exp(-distance))


class VariationFinder:
    """Finds the variation of any number of quantities that were measured at the same points.

    Parameters
    ----------
    points : (n, 2) or (n, 3) float64
        Row and column, and the guide image in its standard deviations.
    most : int
        So many of the points are looked at, at most.
    """

    def __init__(self, points: NDArray[np.float64], most: int = MOST_POINTS) -> None:
        n = len(points)
        chosen = np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.intp)) if n else np.zeros(0, np.intp)
        self._chosen = chosen
        near = points[chosen]
        space = np.sqrt(((near[:, None, :2] - near[None, :, :2]) ** 2).sum(axis=-1))
        image = None
        if points.shape[1] == 3:
            image = np.abs(near[:, None, 2] - near[None, :, 2])
        self._bases = list(self._decomposed(space, image)) if len(chosen) >= LEAST_POINTS else []

    @staticmethod
    def _decomposed(
        space: NDArray[np.float64], image: NDArray[np.float64] | None
    ) -> Iterator[tuple[str, float, float, NDArray[np.float64], NDArray[np.float64]]]:
        reach = max(float(space.max()), 2.0)
        for length in LENGTHS:
            if length > reach and length > LENGTHS[0]:
                continue
            for kernel in ("exponential", "matern32"):
                for image_length in (np.inf, *(IMAGE_LENGTHS if image is not None else ())):
                    distance = space / length
                    if image is not None and np.isfinite(image_length):
                        if kernel == "matern32":
                            continue
                        distance = np.hypot(distance, image / image_length)
                    values, vectors = np.linalg.eigh(_correlation(kernel, distance))
                    yield kernel, length, float(image_length), np.maximum(values, 0.0), vectors

    def find(self, values: NDArray[np.float64], noise: NDArray[np.float64]) -> Variation:
        """Find the variation of a quantity.

        Parameters
        ----------
        values : (n,) float64
        noise : (n,) float64
            Variance of each measurement.
        """
        weight = 1.0 / np.maximum(noise, 1e-300)
        plain = float((values * weight).sum() / weight.sum())
        plain_sd = float(np.sqrt(1.0 / weight.sum()))
        if not self._bases:
            spread = float(max(values.var() - noise.mean(), 0.0)) if len(values) > 2 else 0.0
            return Variation(plain, float(np.hypot(plain_sd, np.sqrt(spread / len(values)))), nugget=spread)
        y, own = values[self._chosen], float(noise[self._chosen].mean())
        scale = max(float(y.var()), 1e-300)
        shares = scale * np.array((0.0, *SHARES[:7]))
        n = len(y)
        # without a field: each nugget's likelihood in closed form
        flat = shares + own
        likelihood = -0.5 * (((y - y.mean()) ** 2).sum() / flat + n * np.log(flat))
        best_nugget = int(np.argmax(likelihood))
        if likelihood[best_nugget] - likelihood[0] < GAIN_NUGGET:
            best_nugget = 0
        best, top = None, likelihood[best_nugget] + GAIN_SMOOTH
        sills = scale * np.array(SHARES)
        for kernel, length, image_length, eigenvalues, vectors in self._bases:
            q, u = vectors.T @ y, vectors.sum(axis=0)
            diagonal = sills[:, None, None] * eigenvalues + (shares + own)[None, :, None]
            information = (u * u / diagonal).sum(axis=-1)
            mean = (u * q / diagonal).sum(axis=-1) / information
            rest = q - mean[..., None] * u
            score = -0.5 * (rest * rest / diagonal + np.log(diagonal)).sum(axis=-1)
            i, j = np.unravel_index(int(np.argmax(score)), score.shape)
            if score[i, j] > top:
                top = float(score[i, j])
                best = Variation(
                    float(mean[i, j]),
                    float(np.sqrt(1.0 / information[i, j])),
                    float(sills[i]),
                    length,
                    float(shares[j]),
                    kernel,
                    image_length,
                )
        if best is not None:
            return best
        nugget = float(shares[best_nugget])
        weight = 1.0 / (noise + nugget)
        return Variation(
            float((values * weight).sum() / weight.sum()), float(np.sqrt(1.0 / weight.sum())), nugget=nugget
        )


def interpolate(
    points: NDArray[np.float64],
    values: NDArray[np.float64],
    noise: NDArray[np.float64],
    variation: Variation,
    at: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Expected value at other points, and its variance.

    Parameters
    ----------
    points : (n, d) float64
    values, noise : (n,) float64
        Measured values and the variance of their noise.
    variation : Variation
    at : (m, d) float64
        Points to predict. One that was measured has its own measurement among the neighbours.

    Returns
    -------
    mean, variance : (m,) float64
        Of the quantity itself in that pixel, not of another measurement of it.
    """
    n, m = len(values), len(at)
    mean = np.full(m, variation.mean)
    variance = np.full(m, variation.total + variation.mean_sd**2)
    if n == 0 or variation.total <= 0.0:
        return mean, variance
    k = min(NEIGHBOURS, n) if variation.sill > 0 else 1
    here, there = variation.scaled(points), variation.scaled(at)
    tree = cKDTree(here)
    for start in range(0, m, CHUNK):
        part = slice(start, min(start + CHUNK, m))
        distance, index = tree.query(there[part], k=k)
        distance, index = distance.reshape(-1, k), index.reshape(-1, k)
        near = here[index]
        apart = np.sqrt(((near[:, :, None, :] - near[:, None, :, :]) ** 2).sum(axis=-1))
        covariance = variation.sill * variation.correlation(apart)
        diagonal = np.arange(k)
        covariance[:, diagonal, diagonal] += variation.nugget + noise[index]
        same = (points[index, :2] == at[part, None, :2]).all(axis=-1)
        target = variation.sill * variation.correlation(distance) + np.where(same, variation.nugget, 0.0)
        weights = np.linalg.solve(covariance, target[..., None])[..., 0]
        mean[part] += (weights * (values[index] - variation.mean)).sum(axis=1)
        left = variation.total - (weights * target).sum(axis=1)
        # what the neighbours do not say comes from the mean, which is known to mean_sd
        variance[part] = np.maximum(left, 0.0) + (1.0 - weights.sum(axis=1)) ** 2 * variation.mean_sd**2
    return mean, variance
