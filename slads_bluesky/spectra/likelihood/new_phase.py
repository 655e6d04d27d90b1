"""New phases: unknown spectra that look alike, grouped and offered to the operator by their strongest lines.

Spectra join the group whose summed shape they differ from least, if the difference could be chance: with the
shapes a and b of two sets of N_a and N_b counts and their common shape p, X² = Σ (a - b)² / (p (1/N_a + 1/N_b) + δ)
is compared with its expectation, of which a real difference of `ALIKE` per count is forgiven. Largest counts first,
so that groups begin with what is best known; deterministic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError
from ..counts import check_batch, check_training
from .classifier import PhaseClassifier
from .kernel import binned as sum_bins
from .learning import add_nuisance
from .library import name_lines
from .templates import add_template

__all__ = ["NewPhase", "accept_phase", "find_new_phases"]

ALIKE = 0.05
"""Chi-square per count under which two groups count as one phase: some per cent in its lines."""
SIGMAS = 4.0


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


class _Group:
    def __init__(self, bins: NDArray[np.float64], member: int) -> None:
        self.bins = bins.copy()
        self.members = [member]

    def absorb(self, bins: NDArray[np.float64], members: Sequence[int]) -> None:
        self.bins += bins
        self.members.extend(members)


def _difference(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """How many standard deviations two sets of binned counts differ more than chance and `ALIKE` explain."""
    total_a, total_b = a.sum(), b.sum()
    spread = 1.0 / total_a + 1.0 / total_b
    variance = (a + b) / (total_a + total_b) * spread
    delta = spread**2  # one count more or less in the smaller set
    weight = 1.0 / (variance + delta)
    value = float(((a / total_a - b / total_b) ** 2 * weight).sum())
    share = variance * weight
    return float(value - share.sum() - ALIKE / spread) / math.sqrt(2.0 * float((share**2).sum()) + 1.0)


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
        The largest first.
    """
    if least < 1:
        raise ConfigError(f"new phases: a group must hold at least 1 spectrum, not {least}")
    counts = check_batch(spectra, classifier.n_channels).astype(np.float64)
    starts = classifier.bin_starts
    binned = sum_bins(counts, starts)
    totals = binned.sum(axis=1)
    groups: list[_Group] = []
    for index in np.argsort(-totals, kind="stable"):
        if totals[index] > 0:
            _place(groups, binned[index], [int(index)])
    merged: list[_Group] = []
    for group in sorted(groups, key=lambda g: -g.bins.sum()):
        _place(merged, group.bins, group.members)
    offered = [_describe(group, counts, classifier) for group in merged if len(group.members) >= least]
    return sorted(offered, key=lambda phase: -phase.n_spectra)


def _place(groups: list[_Group], bins: NDArray[np.float64], members: list[int]) -> None:
    """Put counts into the group most like them, or into one of their own."""
    differences = [_difference(group.bins, bins) for group in groups]
    if differences and min(differences) < SIGMAS:
        groups[int(np.argmin(differences))].absorb(bins, members)
    else:
        group = _Group(bins, members[0])
        group.members = list(members)
        groups.append(group)


def _describe(group: _Group, counts: NDArray[np.float64], classifier: PhaseClassifier) -> NewPhase:
    members = np.array(sorted(group.members), dtype=np.int64)
    mean = counts[members].mean(axis=0)
    settings = classifier.settings
    starts = classifier.bin_starts
    energies = classifier.axis.offset_kev + classifier.axis.width_kev * (
        0.5 * (starts[:-1] + starts[1:] - 1)
    ).astype(np.float64)
    lines = name_lines(
        group.bins,
        energies,
        np.diff(starts).astype(np.float64),
        classifier.element_shapes,
        settings.beam_energy_kev,
        0.6e-3 * settings.resolution_ev,
    )
    return NewPhase(members, mean, lines)


def accept_phase(classifier: PhaseClassifier, name: str, spectra: NDArray[Any]) -> PhaseClassifier:
    """Make a classifier with one phase more, whose label is the highest; the others keep theirs.

    Parameters
    ----------
    classifier : PhaseClassifier
    name : str
    spectra : (M, n_channels) counts
        Of the new phase, such as those of `NewPhase.members`.

    Raises
    ------
    ConfigError
        If a phase of that name exists.
    DataError
        If the spectra are not such spectra.
    """
    if name in classifier.phases:
        raise ConfigError(f"phase {name!r} is named twice")
    counts = check_training({name: spectra}, classifier.n_channels, least=1)[name]
    rows = sum_bins(counts, classifier.bin_starts)
    templates = add_template(
        classifier.templates,
        rows,
        classifier.bin_starts,
        classifier.axis,
        classifier.settings,
    )
    nuisance = classifier.nuisance
    if nuisance is not None:
        nuisance = add_nuisance(
            nuisance, rows, templates.shape[-1], classifier.bin_starts, classifier.axis, classifier.settings
        )
    return PhaseClassifier(
        (*classifier.phases, name), classifier.axis, templates, classifier.settings, nuisance
    )
