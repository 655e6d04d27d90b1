"""What a classifier expects of each phase, channel by channel, to be drawn beside what was measured."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["phase_templates"]


def phase_templates(classifier: Any) -> NDArray[np.float64] | None:
    """Return the expected shape of each phase's spectrum.

    Parameters
    ----------
    classifier : Classifier

    Returns
    -------
    (L, channels) float64 array or None
        Rows sum to 1, label l in row l - 1. None for a classifier that has none, such as the paper's networks.
    """
    from ...spectra import PhaseClassifier

    if not isinstance(classifier, PhaseClassifier):
        return None
    starts = classifier.bin_starts
    widths = np.diff(starts)
    shapes = np.asarray(classifier.templates.shape, np.float64)
    out = np.zeros(
        (len(shapes), classifier.n_channels)
    )  # channels that are not used (strobe peak, over the beam): 0
    out[:, starts[0] : starts[-1]] = np.repeat(shapes / widths, widths, axis=1)
    return out
