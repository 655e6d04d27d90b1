"""Area fractions of the phases, with intervals that know of the sampling and of the map."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analysis.run_data import RunData

__all__ = ["PhaseArea", "area_fractions", "phase_sums"]

Z95 = 1.959964


@dataclass(frozen=True)
class PhaseArea:
    """How much of the map a phase takes."""

    label: int
    phase: str
    fraction: float
    """Of the mapped pixels, as reconstructed."""
    low: float
    high: float
    """Ends of a 95 % interval."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def area_fractions(data: RunData) -> list[PhaseArea]:
    """Area of each phase in the last recorded map, with a 95 % interval.

    Measured pixels are known. Of the U others, w = qN + 1.96 sqrt(qN) at most are taken to be wrong, with q the
    map's own estimate of its total distortion (Eq. 14 of the paper) and their number Poisson. With m measured and
    r reconstructed pixels of a phase, all of the wrong ones may be taken from it or be missing from it::

        low = (m + r - min(w, r)) / N        high = (m + r + min(w, U - r)) / N

    Bounds, not a symmetric error: adaptive samples lie on boundaries and are no random sample of the area, and
    the interval is as honest as the estimate q. Without one it is all that is left open by the measured pixels.

    Parameters
    ----------
    data : RunData
        With a recorded map.
    """
    reconstruction = data.reconstruction
    if reconstruction is None:
        return []
    inside = np.ones(data.grid.shape, bool) if data.grid.roi is None else data.grid.roi
    n = int(inside.sum())
    estimate = float(data.maps[-1].get("distortion_estimate", math.nan))
    unmeasured = inside & (data.measured < 0)
    limit = _wrong_limit(estimate, n, int(unmeasured.sum()))
    n_labels = max(len(data.phases), int(reconstruction.max(initial=0)))
    out = []
    for label in range(1, n_labels + 1):
        total = int(((reconstruction == label) & inside).sum())
        guessed = int(((reconstruction == label) & unmeasured).sum())
        low, high = total - min(limit, guessed), total + min(limit, int(unmeasured.sum()) - guessed)
        phase = data.phases[label - 1] if label <= len(data.phases) else f"phase {label}"
        out.append(PhaseArea(label, phase, total / n, low / n, high / n))
    return out


def _wrong_limit(estimate: float, n: int, n_unmeasured: int) -> float:
    if math.isnan(estimate):
        return float(n_unmeasured)
    expected = estimate * n
    return min(expected + Z95 * math.sqrt(expected), float(n_unmeasured))


def phase_sums(data: RunData) -> dict[int, NDArray[np.float64]]:
    """Sum of the spectra with verdict ``ok`` of each label, {label: (channels,) counts}; empty without spectra."""
    if data.spectra is None:
        return {}
    votes = data.votes
    return {
        int(label): data.spectra[votes == label].sum(axis=0, dtype=np.float64)
        for label in np.unique(votes[votes > 0])
    }
