"""Neighbouring pixels of a map that an image helped to make are coupled, so that its noise leaves no speckle.

Labels and greys are combined pixel by pixel, as if what is left of the image's noise were independent of the pixels
around. A Potts field over the eight neighbours, by mean field (Besag, J. R. Stat. Soc. B 48 (1986) 259; Zhang, IEEE
Trans. Signal Process. 40 (1992) 2570), takes out single pixels that only their own grey speaks for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["STRENGTH", "coupled"]

STRENGTH = 0.5
"""Log-odds that a neighbour's label is worth; neither cost nor gain on the simulated objects of `bench image`."""
ROUNDS = 6
_AROUND = np.array([[np.sqrt(0.5), 1.0, np.sqrt(0.5)], [1.0, 0.0, 1.0], [np.sqrt(0.5), 1.0, np.sqrt(0.5)]])


def coupled(
    log_probability: NDArray[np.floating], known: NDArray[np.integer], strength: float = STRENGTH
) -> NDArray[np.float64]:
    """Return the probability of each label under the coupling.

    Parameters
    ----------
    log_probability : (L, rows, columns) array
        Of each label by labels and image, up to a constant for each pixel.
    known : (rows, columns) integer array
        Row of the label that was measured, -1 where none was.
    strength : float
        Log-odds that one neighbour along a row or column is worth; 0: pixels are independent.

    Returns
    -------
    (L, rows, columns) float64 array

    Examples
    --------
    A single pixel with a slight preference for the second label, in the middle of the first:

    >>> import numpy as np
    >>> log_probability = np.zeros((2, 5, 5))
    >>> log_probability[1] = -2.0
    >>> log_probability[1, 2, 2] = 1.0
    >>> found = coupled(log_probability, np.full((5, 5), -1)).argmax(axis=0)
    >>> int(found.sum())
    0
    """
    measured = known >= 0
    certain = np.zeros((log_probability.shape[0], int(measured.sum())))
    certain[known[measured], np.arange(certain.shape[1])] = 1.0
    around: NDArray[np.float64] | float = 0.0
    for left in range(ROUNDS, -1, -1):
        field = log_probability + strength * around
        found = np.exp(field - field.max(axis=0))
        found /= found.sum(axis=0)
        found[:, measured] = certain
        if left and strength:
            around = np.stack([ndimage.convolve(plane, _AROUND, mode="nearest") for plane in found])
    return np.asarray(found)
