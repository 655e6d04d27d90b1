"""New phases among the spectra that a classifier called unknown: grouped, and offered by their strongest lines.

They are grouped as all spectra of a specimen nobody has described are (`search.discover`), with the elements as
prior; a spectrum that fits no group is in none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError
from ..counts import check_batch
from ..likelihood.classifier import PhaseClassifier
from ..likelihood.kernel import binned as sum_bins
from ..likelihood.library import name_lines
from .calling import call_spectra
from .elements import ElementPrior
from .search import discover

__all__ = ["NewPhase", "find_new_phases"]


@dataclass(frozen=True, eq=False)
class NewPhase:
    """A group of unknown spectra that look alike.

    Parameters
    ----------
    members : (n,) int64
        Which of the spectra that were given.
    mean : (n_channels,) float64
        Their mean counts.
    lines : list of (str, float)
        Names and energies (keV) of their strongest lines, the strongest first.
    """

    members: NDArray[np.int64]
    mean: NDArray[np.float64]
    lines: list[tuple[str, float]]

    @property
    def n_spectra(self) -> int:
        """How many spectra it holds."""
        return len(self.members)

    @property
    def suggested_name(self) -> str:
        """Elements of the strongest lines, such as ``"Fe-O"``."""
        elements = dict.fromkeys(name.split()[0] for name, _ in self.lines if name != "no line")
        return "-".join(elements) or "unnamed"


def find_new_phases(spectra: NDArray[Any], classifier: PhaseClassifier, *, least: int = 3) -> list[NewPhase]:
    """Group spectra that the classifier called unknown.

    Parameters
    ----------
    spectra : (n, n_channels) counts
    classifier : PhaseClassifier
        Whose energy axis and beam energy they have.
    least : int
        Groups of fewer spectra are not offered.

    Returns
    -------
    list of NewPhase
        The largest first; mixtures of two others are none.
    """
    if least < 1:
        raise ConfigError(f"new phases: a group must hold at least 1 spectrum, not {least}")
    counts = check_batch(spectra, classifier.n_channels).astype(np.float64)
    binned = sum_bins(counts, classifier.bin_starts)
    some = np.flatnonzero(binned.sum(axis=1) > 0)
    if not some.size:
        return []
    found = discover(binned[some], elements=ElementPrior(classifier.element_shapes))
    numbers = range(1, found.n_phases + 1)
    calls, _ = call_spectra(found, numbers, binned[some])
    labels = np.array([call.label if call.verdict == "ok" else 0 for call in calls])
    groups = [some[labels == number] for number in numbers if number]
    offered = [_describe(rows, binned, counts, classifier) for rows in groups if len(rows) >= least]
    return sorted(offered, key=lambda phase: -phase.n_spectra)


def _describe(
    members: NDArray[np.int64],
    binned: NDArray[np.float64],
    counts: NDArray[np.float64],
    classifier: PhaseClassifier,
) -> NewPhase:
    mean = counts[members].mean(axis=0)
    settings = classifier.settings
    starts = classifier.bin_starts
    energies = classifier.axis.offset_kev + classifier.axis.width_kev * (
        0.5 * (starts[:-1] + starts[1:] - 1)
    ).astype(np.float64)
    lines = name_lines(
        binned[members].sum(axis=0),
        energies,
        np.diff(starts).astype(np.float64),
        classifier.element_shapes,
        settings.beam_energy_kev,
        0.6e-3 * settings.resolution_ev,
    )
    return NewPhase(members, mean, lines)
