"""A simulated specimen whose phases are not given: the agent that finds them, and how well it did."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ..agent_settings import AgentSettings
from ..analysis.quantification.geometry import Conditions
from ..analysis.quantification.naming import PhaseNames
from ..discovering_agent import DiscoveringAgent, NoPhases, pixels_needed, search_settings
from ..grid import ScanGrid
from ..sampling.factory import image_network_of
from .models import Models
from .run import KnownSpecimen, MapResult

__all__ = [
    "COUNTS",
    "MOST_PHASES",
    "best_exchange",
    "in_words_of_the_truth",
    "unknown_agent",
    "unknown_models",
]

COUNTS = (400, 100)
"""Counts of the first exposures and of those after them, where the dwell is not fixed."""
MOST_PHASES = 12
"""Phases that are looked for at most."""


def unknown_models(phantom: KnownSpecimen) -> Models:
    """Return the models of a map without phases: the shipped sampler, and no classifier."""
    from ..sampling.learned.model import shipped_model

    return Models("learned", shipped_model(), NoPhases(int(phantom.axis.n_channels)))


def unknown_agent(
    phantom: KnownSpecimen,
    models: Models,
    *,
    fraction: float,
    seed: int = 0,
    most: int = MOST_PHASES,
    initial: float | None = None,
    part: float | None = None,
    confidence: float = 0.95,
    named: bool = False,
    counts: tuple[int, int] | None = None,
) -> DiscoveringAgent:
    """Make the agent that finds the phases; of the phantom only shape, pitch, axis and beam energy are looked at.

    Parameters
    ----------
    phantom : KnownSpecimen
    models : Models
        Of `unknown_models`.
    fraction : float
        Part of the pixels to measure.
    seed : int
        Seed of the initial mask.
    most : int
        Phases at most.
    initial : float, optional
        Part of the pixels in the initial mask.
    part, confidence : float, optional
        End the map once every phase of more than this part of the area is found with this probability; the initial
        mask has as many pixels as that needs then.
    named : bool
        Whether the phases are quantified and matched with the candidate table while they are found.
    counts : (int, int), optional
        Counts of the first exposures, and of those after them.
    """
    pitch = float(getattr(phantom, "pitch_um", 1.0))
    beam_kev = float(getattr(getattr(phantom, "recipe", None), "beam_kev", 15.0))
    if part is not None and initial is None:
        initial = min(1.0, (pixels_needed(part, confidence) + 1) / phantom.truth.size)
    search = search_settings(
        phantom.axis, most=most, beam_energy_kev=beam_kev, part=part, confidence=confidence, counts=counts
    )
    settings = AgentSettings(
        ScanGrid(phantom.shape, (pitch, pitch)),
        n_labels=most,
        fraction=fraction,
        seed=seed,
        sampler=models.sampler_name,
        image_network=image_network_of(models.sampler_name),
        initial=initial,
        model_hashes={"classifier": models.classifier.sha256, "sampler": models.sampler.sha256},
        more={"discovery": search},
    )
    agent = DiscoveringAgent.from_settings(settings, models.sampler)
    if named:
        agent.namer = PhaseNames(phantom.axis, Conditions(beam_energy_kev=beam_kev))
    return agent


def in_words_of_the_truth(result: MapResult) -> MapResult:
    """Return a result with the found labels exchanged for those of the truth that they agree with most.

    Found phases beyond those of the truth keep labels above its own, so that they count as wrong.
    """
    truth, found = result.phantom.truth, result.reconstruction
    translation = best_exchange(truth, found)
    measured = np.where(result.measured > 0, translation[np.maximum(result.measured, 0)], result.measured)
    return replace(
        result,
        reconstruction=translation[found],
        measured=measured.astype(np.int16),
        called=measured.ravel()[result.statistics.pixels].astype(np.int64),
    )


def best_exchange(truth: NDArray[Any], found: NDArray[Any]) -> NDArray[np.uint8]:
    """Return what exchanges found labels (rows, columns) for those of the truth, (256,) uint8 by found label."""
    n_true, n_found = int(truth.max()), int(found.max())
    shared = np.zeros((n_found + 1, n_true + 1))
    np.add.at(shared, (found.ravel(), truth.ravel()), 1.0)
    rows, columns = linear_sum_assignment(-shared[1:, 1:])
    out = np.arange(256, dtype=np.uint8)
    out[1 : n_found + 1] = n_true + np.arange(1, n_found + 1)
    out[rows + 1] = columns + 1
    return out
