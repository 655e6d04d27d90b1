"""States that the evidence network is trained on: an image, a way of visiting it, and counts at what was visited.

Nothing of a microscope is in it: the phases have random spectra of `CHANNELS` channels, a few counts or a hundred
apart, so that the network meets every Chernoff distance and learns from evidence alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ...images.generated import log_uniform

__all__ = ["random_spectra", "random_state", "visits"]

CHANNELS = 12
WAYS = (0.35, 0.2, 0.45)
"""Shares of full rasters, rasters with revisits, and sparse visits."""


def random_spectra(rng: np.random.Generator, n_labels: int) -> NDArray[np.float64]:
    """Return spectra (n_labels, CHANNELS) that sum to 1 and are anything from hardly to wholly different."""
    common = rng.dirichlet(np.ones(CHANNELS))
    spread = log_uniform(rng, 0.25, 3.0)
    shape = (common + 0.01) * np.exp(spread * rng.standard_normal((n_labels, CHANNELS)))
    return np.asarray(shape / shape.sum(axis=1, keepdims=True))


def visits(
    truth: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the expected counts of each pixel, (rows, columns), and where they are raised until certain.

    Sparse visits lie on an even mask and, closer the nearer a boundary is, around the boundaries: where a policy that
    looks for what is uncertain has been.
    """
    way = rng.choice(3, p=WAYS)
    if way < 2:
        counts = np.full(truth.shape, log_uniform(rng, 0.3, 40.0), np.float32)
        again = np.zeros(truth.shape, bool)
        if way == 1:
            again = _near_boundary(truth, rng) > rng.random(truth.shape)
        return counts, again
    near = _near_boundary(truth, rng)
    share = log_uniform(rng, 0.003, 0.2)
    even = rng.uniform(0.1, 1.0)
    chance = even + (1.0 - even) * near / max(near.mean(), 1e-6)
    visited = rng.random(truth.shape) < share * chance
    counts = np.where(visited, log_uniform(rng, 0.7, 60.0), 0.0).astype(np.float32)
    return counts, visited & (rng.random() < 0.6)


def _near_boundary(truth: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float64]:
    edge = np.zeros(truth.shape, bool)
    edge[1:] |= truth[1:] != truth[:-1]
    edge[:, 1:] |= truth[:, 1:] != truth[:, :-1]
    if not edge.any():
        return np.zeros(truth.shape)
    return np.asarray(np.exp(-ndimage.distance_transform_edt(~edge) / log_uniform(rng, 0.7, 3.0)))


def random_state(truth: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return log-likelihoods (rows, columns, L) of the labels 1 … L of an image, 0 where nothing was measured.

    Where visits are raised until certain, counts come in doses until the ratio of the best label to the next passes
    a limit, or eight doses are spent, as under a sequential test.
    """
    n_labels = int(truth.max())
    spectra = random_spectra(rng, n_labels)
    log_spectra = np.log(spectra).T
    mean, again = visits(truth, rng)
    out = np.zeros((*truth.shape, n_labels), np.float32)
    at = np.flatnonzero(mean > 0)
    flat, means = out.reshape(-1, n_labels), mean.reshape(-1)
    phase = truth.reshape(-1)[at] - 1
    counts = rng.poisson(means[at][:, None] * spectra[phase])
    flat[at] = counts @ log_spectra
    at = np.flatnonzero(again)
    if at.size:
        limit = rng.uniform(1.0, 8.0)
        dose = log_uniform(rng, 1.0, 30.0)
        for _ in range(8):
            top = np.sort(flat[at], axis=1)
            at = at[top[:, -1] - top[:, -2] < limit]
            if not at.size:
                break
            phase = truth.reshape(-1)[at] - 1
            flat[at] += rng.poisson(dose * spectra[phase]) @ log_spectra
    return np.asarray(out - out.max(axis=2, keepdims=True), np.float32)
