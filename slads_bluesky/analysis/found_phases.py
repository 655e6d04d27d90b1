"""The phases that a map found on the way, as a classifier for the next field of view."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, RecordError
from ..spectra.axis import EnergyAxis
from ..spectra.likelihood.classifier import PhaseClassifier
from .quantification.geometry import Conditions
from .run_data import RunData

__all__ = ["classifier_of_found"]

SETS = 12
"""Sums of spectra that a phase is learnt from, at most (the paper's M): single ones may have few counts."""
LEAST_COUNTS = 500
"""Counts that a phase has at least, else nothing is learnt of it."""


def classifier_of_found(data: RunData, conditions: Conditions) -> PhaseClassifier:
    """Learn the phases that a map found, with their names, from the map's own spectra.

    Parameters
    ----------
    data : RunData
        With its spectra; of a run whose phases were found.
    conditions : Conditions
        Beam energy, take-off angle and resolution.

    Returns
    -------
    PhaseClassifier
        Of the phases that have spectra enough, in the order of their labels.

    Raises
    ------
    RecordError
        If the run found no phases.
    """
    if data.found is None:
        raise RecordError(f"run {data.uid[:8]} was given its phases: it has a classifier already")
    spectra, votes = data.spectra_of(), data.votes
    axis = EnergyAxis(data.energy_offset_kev, data.energy_width_kev, spectra.shape[1])
    learnt: dict[str, NDArray[np.float64]] = {}
    for label, name in enumerate(data.phases, 1):
        own = spectra[votes == label]
        if len(own) and own.sum() >= LEAST_COUNTS:
            sets = np.array_split(np.arange(len(own)), min(SETS, len(own)))
            learnt[name] = np.array([own[rows].sum(axis=0) for rows in sets], np.float64)
    if not learnt:
        raise DataError(f"run {data.uid[:8]}: no phase has {LEAST_COUNTS} counts to learn from")
    return PhaseClassifier.from_spectra(
        learnt,
        axis,
        beam_energy_kev=conditions.beam_energy_kev,
        takeoff_deg=conditions.takeoff_deg,
        resolution_ev=conditions.detector.resolution_ev,
    )
