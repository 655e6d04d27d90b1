"""A classifier with one phase more: one that was found among the spectra that it called unknown."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ...errors import ConfigError
from ..counts import check_training
from .classifier import PhaseClassifier
from .kernel import binned as sum_bins
from .learning import add_nuisance
from .templates import add_template

__all__ = ["accept_phase"]


def accept_phase(classifier: PhaseClassifier, name: str, spectra: NDArray[Any]) -> PhaseClassifier:
    """Make a classifier with one phase more, whose label is the highest; the others keep theirs.

    Parameters
    ----------
    classifier : PhaseClassifier
    name : str
    spectra : (M, n_channels) counts
        Of the new phase, such as those of `discovery.new_phases.NewPhase.members`.

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
