"""What is known of a quantity that varies smoothly inside a phase, and what another measurement would add to that.

The field is a Gaussian one on a coarse grid of nodes, between which it is interpolated (A. G. Wilson, H. Nickisch,
"Kernel interpolation for scalable structured Gaussian processes", ICML 2015). With S the covariance of the nodes
given the measurements and φ the weights of a pixel's four nodes, a measurement there of variance n lowers the summed
variance of all pixels by φᵀ S G S φ / (φᵀ S φ + n), G the sum of φ φᵀ over the pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...randomfield import Variation

__all__ = ["Corners", "Field", "NodeGrid"]


@dataclass(frozen=True, eq=False)
class Corners:
    """Between which nodes pixels lie: (n, 4) nodes and their weights, which sum to 1."""

    nodes: NDArray[np.intp]
    weights: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.nodes)

    def take(self, rows: NDArray[np.integer]) -> Corners:
        """Return those of some pixels."""
        return Corners(self.nodes[rows], self.weights[rows])

    def quadratic(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return φᵀ A φ of every pixel, (n,)."""
        out = np.zeros(len(self))
        for i in range(4):
            for j in range(4):
                out += self.weights[:, i] * self.weights[:, j] * matrix[self.nodes[:, i], self.nodes[:, j]]
        return out

    def times(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return φᵀ v of every pixel, (n,), for node values v (m,)."""
        return np.asarray((self.weights * values[self.nodes]).sum(axis=1))

    def gram(self, m: int, weight: NDArray[np.float64] | float = 1.0) -> NDArray[np.float64]:
        """Return Σ w φ φᵀ over the pixels, (m, m)."""
        flat = np.zeros(m * m)
        for i in range(4):
            for j in range(4):
                at = self.nodes[:, i] * m + self.nodes[:, j]
                flat += np.bincount(at, weight * self.weights[:, i] * self.weights[:, j], m * m)
        return flat.reshape(m, m)


class NodeGrid:
    """A coarse grid of nodes over a map.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the map.
    most : int
        About so many nodes, at most.
    """

    def __init__(self, shape: tuple[int, int], most: int) -> None:
        step = max(1.0, math.sqrt(shape[0] * shape[1] / most))
        self._across = tuple(max(2, math.ceil((n - 1) / step) + 1) for n in shape)
        self._step = tuple(max(n - 1, 1) / (k - 1) for n, k in zip(shape, self._across, strict=True))
        self._columns = shape[1]
        at = np.indices(self._across).reshape(2, -1).T * np.array(self._step)
        self.distance = np.sqrt(((at[:, None] - at[None, :]) ** 2).sum(axis=-1))
        """(m, m) distances between the nodes, pixels."""

    def __len__(self) -> int:
        return self._across[0] * self._across[1]

    def corners(self, pixels: NDArray[np.integer]) -> Corners:
        """Return between which nodes pixels lie, given by their flat indices (n,)."""
        places = np.divmod(pixels, self._columns)
        low, part = [], []
        for place, step, across in zip(places, self._step, self._across, strict=True):
            at = place / step
            first = np.minimum(at.astype(np.intp), across - 2)
            low.append(first)
            part.append(at - first)
        nodes, weights = [], []
        for down in (0, 1):
            for right in (0, 1):
                nodes.append((low[0] + down) * self._across[1] + low[1] + right)
                weights.append((part[0] if down else 1.0 - part[0]) * (part[1] if right else 1.0 - part[1]))
        return Corners(np.stack(nodes, axis=1), np.stack(weights, axis=1))


class Field:
    """A quantity in one phase, given measurements of it.

    Parameters
    ----------
    grid : NodeGrid
    variation : Variation
        Its field and its variation from pixel to pixel; the mean is unknown.
    measured : Corners
        Of the n measured pixels.
    values : (n,) float64
    noise : (n,) float64
        Variance of each.
    inside : Corners
        Of all pixels of the phase.
    next_noise : float
        Variance of the next measurement.
    """

    def __init__(
        self,
        grid: NodeGrid,
        variation: Variation,
        measured: Corners,
        values: NDArray[np.float64],
        noise: NDArray[np.float64],
        inside: Corners,
        next_noise: float,
    ) -> None:
        m = len(grid)
        covariance = variation.sill * variation.correlation(grid.distance / variation.length)
        # what varies between the nodes belongs to the pixel alone, like the nugget
        self._own = variation.nugget + max(variation.sill - float(measured.quadratic(covariance).mean()), 0.0)
        level = 100.0 * max(float(noise.mean()), variation.total, 1e-300)  # the mean: as good as unknown
        covariance += level
        weight = 1.0 / (noise + self._own)
        information = measured.gram(m, weight)
        found = np.linalg.solve(np.eye(m) + covariance @ information, covariance)
        self._covariance = 0.5 * (found + found.T)
        self._mean = variation.mean
        pull = np.bincount(
            measured.nodes.ravel(), (measured.weights * (weight * (values - self._mean))[:, None]).ravel(), m
        )
        self._nodes = self._covariance @ pull
        self._noise = next_noise
        self._gram = inside.gram(m)
        self._summed = self._covariance @ self._gram @ self._covariance

    def expected(self, at: Corners) -> NDArray[np.float64]:
        """Expected value at pixels, (n,)."""
        return np.asarray(self._mean + at.times(self._nodes))

    def fall(self, at: Corners) -> NDArray[np.float64]:
        """By how much a measurement at each pixel would lower the summed variance of the phase's pixels, (n,)."""
        spread = at.quadratic(self._covariance) + self._own + self._noise
        return np.asarray((at.quadratic(self._summed) + self._own**2) / spread)

    def measure(self, at: Corners) -> None:
        """Take it that the one pixel of `at` will be measured, whatever comes out."""
        phi = np.bincount(at.nodes[0], at.weights[0], len(self._nodes))
        u = self._covariance @ phi
        d = float(phi @ u) + self._own + self._noise
        g = self._gram @ u
        s = self._covariance @ g
        self._covariance -= np.outer(u, u) / d
        self._summed += np.outer(u, u) * (float(u @ g) / d**2) - (np.outer(u, s) + np.outer(s, u)) / d
