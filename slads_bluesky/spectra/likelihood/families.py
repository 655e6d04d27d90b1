"""Which elements a measured template holds: its line families, found over a smooth continuum.

One element after the other is added, all its line families together (the strengths that they have in the pure
element): the one that takes most of what is left, as in orthogonal matching pursuit (Pati, Rezaiifar &
Krishnaprasad, Proc. 27th Asilomar Conf. 1993). An element that has only overlaps (W M under Si K) is not found, since
its other lines are missing. What the energy scale and the line widths are off by is fitted beside them, or it would
be taken for the lines of neighbouring elements.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from .nuisance import Family

__all__ = ["families_in"]

LEAST_FAMILY = 3e-3
"""Part of the counts from which on a line family of a measured template is a direction of its own."""
LEAST_GAIN = 30.0
"""Chi-square by which an element must improve the fit."""
MODEL_ERROR = 2e-3
"""Chi-square a count that the physics is taken to miss; an element that gains less is none."""
MOST_ELEMENTS = 14


def families_in(
    shape: NDArray[np.float64], total: float, library: tuple[Family, ...], scale: NDArray[np.float64]
) -> list[Family]:
    """Line families that a measured shape holds.

    Parameters
    ----------
    shape : (n_bins,) float64
        Of sum 1.
    total : float
        Counts that it was learnt from.
    library : tuple of Family
        Of all elements, from `nuisance.library_families`.
    scale : (K, n_bins) float64
        Changes of the shape under errors of the energy scale and the widths, of either sign.

    Returns
    -------
    list of Family
        Only families of `LEAST_FAMILY` and more.
    """
    weight = 1.0 / np.sqrt(shape + 1.0 / max(total, 1.0))
    grid = np.linspace(0.0, 1.0, len(shape))
    smooth = [np.exp(-0.5 * ((grid - c) / 0.06) ** 2) for c in np.linspace(0.0, 1.0, 17)]
    base = [*smooth, *scale, *(-scale)]
    of_element: dict[int, list[Family]] = {}
    for family in library:
        of_element.setdefault(family.z, []).append(family)
    numbers = list(of_element)
    whole = np.array([sum(f.share * f.counts for f in of_element[z]) for z in numbers]) * weight
    norm = np.sqrt((whole**2).sum(axis=1))
    target = shape * weight
    chosen: list[int] = []
    table = np.array(base) * weight
    amplitude, left = nnls(table.T, target)
    least = max(LEAST_GAIN / max(total, 1.0), MODEL_ERROR)
    while len(chosen) < MOST_ELEMENTS:
        rest = target - amplitude @ table
        order = np.argsort(-(whole @ rest) / norm)
        best = next(int(i) for i in order if numbers[i] not in chosen)
        columns = [f.counts * weight for f in of_element[numbers[best]]]
        wider = np.vstack([table, *columns])
        found, now = nnls(wider.T, target)
        if left**2 - now**2 < least:
            break
        chosen.append(numbers[best])
        table, amplitude, left = wider, found, now
    present = [f for z in chosen for f in of_element[z]]
    strengths = amplitude[len(base) :]
    return [
        Family(f.z, f.shell, a * f.counts, f.share)
        for f, a in zip(present, strengths, strict=True)
        if a > LEAST_FAMILY
    ]
