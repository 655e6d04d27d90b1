"""The whole SLADS sampler on a known label image, in one compiled loop: for training, benchmarks, `simulate`.

`sampling_order` is what others call: it returns the order in which SLADS would measure the pixels of an image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...images.distortion import total_distortion
from ...images.labels import check_label_image, compact_labels
from ..masks import initial_pixels
from .engine import rebuild, run_order
from .model import SladsModel, theta_matrix
from .reconstruct import label_map
from .state import Field, empty_field

__all__ = ["distortion_curve", "initial_order", "sampling_order", "start_field"]


def start_field(
    labels: NDArray[np.uint8], model: SladsModel, initial: NDArray[np.int32]
) -> tuple[Field, NDArray[np.int16], NDArray[np.uint8], int]:
    """Return the field after the initial pixels, the compact truth, the labels, and how many pixels were used.

    Where every initial pixel is unclassified, the scan continues in C order until one is not.
    """
    values, truth = compact_labels(labels)
    flat = truth.ravel()
    allowed = np.ones(labels.shape, bool)
    allowed.ravel()[initial] = False
    inside = np.ones(labels.shape, bool)
    field = empty_field(allowed, inside, k=model.k, theta=theta_matrix(model.theta), radius=model.radius)
    voting = initial[flat[initial] >= 0]
    rebuild(field, voting, flat[voting].astype(np.int32), values.size)
    return field, truth, values, values.size


def initial_order(labels: NDArray[np.uint8], seed: int, initial: float, n: int) -> NDArray[np.int32]:
    """Return the initial mask, drawn out by low-discrepancy pixels until one of them has a phase."""
    pixels = initial_pixels(labels.shape, initial, seed=seed)[:n]
    if not labels.ravel()[pixels].any():
        everything = initial_pixels(labels.shape, 1.0, seed=seed)
        rest = everything[~np.isin(everything, pixels)]
        first = int(np.argmax(labels.ravel()[rest] > 0))
        pixels = np.concatenate([pixels, rest[: first + 1]])
    return pixels


def sampling_order(
    labels: NDArray[np.uint8], model: SladsModel, n: int, seed: int = 0, *, initial: float = 0.01
) -> NDArray[np.int32]:
    """Return the pixels that SLADS measures on a known image, in their order.

    The same pixels as a `SladsSampler` of the same model, seed and initial fraction that is asked for one pixel
    at a time, at a fraction of the cost of a call per pixel.

    Parameters
    ----------
    labels : (rows, columns) uint8 array
        The truth; 0 where a pixel comes back unclassified.
    model : SladsModel
        A trained model.
    n : int
        Pixels to measure, at most all of them; the initial mask counts.
    seed : int
        Seed of the initial mask.
    initial : float
        Fraction of the initial mask.

    Returns
    -------
    (n,) int32 array
        Flat indices, C order.
    """
    labels = check_label_image(labels)
    n = min(int(n), labels.size)
    pixels = initial_order(labels, seed, initial, n)
    if pixels.size >= n:
        return pixels[:n]
    field, truth, _, n_labels = start_field(labels, model, pixels)
    order = np.empty(n, np.int32)
    order[: pixels.size] = pixels
    done = run_order(field, truth, order, pixels.size, n, n_labels)
    return order[:done]


def distortion_curve(
    labels: NDArray[np.uint8],
    model: SladsModel,
    numbers: Sequence[int],
    seed: int = 0,
    *,
    initial: float = 0.01,
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Run the sampler on a known image and return its total distortion after `numbers` of pixels, and the order.

    Parameters
    ----------
    labels, model, seed, initial
        As of `sampling_order`.
    numbers : sequence of int
        Ascending; those below the size of the initial mask are taken as that size.

    Returns
    -------
    ((len(numbers),) float64 array, (n,) int32 array)
        Total distortion (Eq. 14) of the k-NN vote at each number, and the pixels in their order.
    """
    labels = check_label_image(labels)
    n = min(max(numbers), labels.size)
    pixels = initial_order(labels, seed, initial, n)
    field, truth, values, n_labels = start_field(labels, model, pixels)
    order = np.empty(max(n, pixels.size), np.int32)
    order[: pixels.size] = pixels
    done = pixels.size
    curve = []
    for number in numbers:
        if number > done:
            done = run_order(field, truth, order, done, min(number, n), n_labels)
        curve.append(total_distortion(labels, label_map(field, values)))
    return np.array(curve), order[:done]
