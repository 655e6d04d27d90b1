"""Two samplers for element maps of a zoned crystal at equal dose: one by labels, one by the elements' own error.

The specimens are those of `graded`, between albite and anorthite in a glass: a crystal zoned from rim to core (the
issue's), one along its length, and two with bands. To the sampler by labels the
crystal is of two phases with an arbitrary contour between them, as to anybody who classifies spectra. Both measure as
many pixels at the same dose, and `map_elements` makes the maps of both from their spectra and labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...agent import SladsAgent
from ...agent_settings import AgentSettings
from ...agents import agent_from_settings
from ...analysis.elements.maps import ElementMaps, SparseSpectra, map_elements
from ...grid import ScanGrid
from ...spectra.physics.composition import symbol_of
from ...spectra.physics.windows import element_windows
from ..figures import Figure, at_most, measured
from .graded import AXIS, CONDITIONS, CRYSTAL, ELEMENTS, FRACTION, TOP, ZONINGS, GradedSpecimen

__all__ = ["TARGETS", "driven", "element_sampling_figures", "measure_element_sampling"]

TARGETS = ("labels", "elements")
CHOSEN = ("Na", "Al", "Si", "Ca")
PHASES = ("glass", "albite", "anorthite")
ENDS = (0.0, TOP)
"""Part of anorthite of the two templates of the crystal."""


def measure_element_sampling(
    size: int = 128,
    *,
    seeds: Sequence[int] = (0, 1),
    zonings: Sequence[str] = tuple(ZONINGS),
    fraction: float = FRACTION,
    progress: Callable[[str, float], None],
) -> list[dict[str, Any]]:
    """Map the specimens with both samplers.

    Returns
    -------
    list of dict
        A row for each zoning, seed and target: ``error``, the root of the mean squared error of the chosen elements'
        maps in units of one measurement's counting variance; ``error_crystal``, the same in the crystal;
        ``labels_wrong``, part of the pixels in the wrong one of glass and crystal; ``in_crystal``, part of the
        measured pixels there.
    """
    rows = []
    cases = [(zoning, seed) for zoning in zonings for seed in seeds]
    for i, (zoning, seed) in enumerate(cases):
        specimen = GradedSpecimen(size, zoning)
        templates = specimen.templates(ENDS)
        counts = np.random.default_rng([seed, 0x6A4D]).poisson(specimen.expected).astype(np.int32)
        for j, target in enumerate(TARGETS):
            progress(f"{zoning} zoning, target {target}", (2 * i + j) / (2 * len(cases)))
            maps = _mapped(specimen, counts, templates, target, fraction, seed)
            rows.append({"zoning": zoning, "seed": seed, "target": target, **_scored(specimen, maps)})
    return rows


def driven(
    settings: AgentSettings, counts: NDArray[np.integer], label_of: Callable[[int], int]
) -> tuple[SladsAgent, NDArray[np.int64]]:
    """Let the agent of some settings measure until it stops.

    Parameters
    ----------
    settings : AgentSettings
        With ``more["elements"]`` for an `ElementAgent`.
    counts : (rows × columns, n_channels) integer array
        What each pixel would show.
    label_of : callable
        Label of the spectrum of a pixel.

    Returns
    -------
    agent : SladsAgent
    pixels : (N,) int64
        In their order.
    """
    agent = agent_from_settings(settings)
    pixels: list[int] = []
    while not agent.should_stop():
        (at,) = agent.suggest()
        event = {
            "scan_pixel": at.pixel, "eds_label": label_of(at.pixel), "eds_verdict": "ok",
            "eds_spectrum": counts[at.pixel],
        }  # fmt: skip
        agent.ingest({"data": event})
        pixels.append(at.pixel)
    return agent, np.array(pixels, np.int64)


def _mapped(
    specimen: GradedSpecimen,
    counts: NDArray[np.int32],
    templates: NDArray[np.float64],
    target: str,
    fraction: float,
    seed: int,
) -> ElementMaps:
    log = np.log(templates + 1e-4)
    windows = {symbol: list(of) for symbol, of in element_windows(CHOSEN, AXIS).items()}
    settings = AgentSettings(
        ScanGrid(specimen.labels.shape), len(PHASES), PHASES, fraction, seed,
        more={"elements": windows} if target == "elements" else {},
    )  # fmt: skip
    votes = np.argmax(counts @ log.T - templates.sum(axis=1), axis=1).astype(np.int64) + 1
    agent, chosen = driven(settings, counts, lambda pixel: int(votes[pixel]))
    sparse = SparseSpectra(
        counts[chosen], AXIS, chosen, np.ones(len(chosen)), np.full(len(chosen), np.nan),
        votes[chosen], agent.sampler.reconstruct(), PHASES,
    )  # fmt: skip
    return map_elements(sparse, CONDITIONS, elements=ELEMENTS, ignored=())


def _scored(specimen: GradedSpecimen, maps: ElementMaps) -> dict[str, Any]:
    crystal = specimen.labels == CRYSTAL
    errors, in_crystal = [], []
    for symbol in CHOSEN:
        e = maps.index(symbol)
        truth, unit = _without_noise(specimen, maps, e)
        wrong = (maps.intensity[e] - truth) / unit
        known = np.isfinite(wrong)
        errors.append(float((wrong[known] ** 2).mean()))
        in_crystal.append(float((wrong[known & crystal] ** 2).mean()))
    return {
        "error": float(np.sqrt(np.mean(errors))),
        "error_crystal": float(np.sqrt(np.mean(in_crystal))),
        "labels_wrong": float(((maps.labels > 1) != crystal).mean()),
        "in_crystal": float(crystal[maps.measured].mean()),
    }


def _without_noise(specimen: GradedSpecimen, maps: ElementMaps, e: int) -> tuple[NDArray[np.float64], float]:
    """What the maps' own estimator finds in the spectra without noise, (rows, columns), and the noise of one pixel.

    What quantification makes of the intensities is the same for both samplers, and left out.
    """
    truth, variance = np.full(maps.labels.size, np.nan), np.full(maps.labels.size, np.nan)
    for label, extraction in maps.extractions.items():
        inside = np.flatnonzero(maps.labels.ravel() == label)
        for j, (number, shell) in enumerate(extraction.families):
            if maps.lines[e] == f"{symbol_of(number)} {shell}":
                truth[inside] = extraction.counts(specimen.expected[inside])[:, j]
                variance[inside] = extraction.variance(specimen.expected[inside].sum(axis=1))[:, j]
    return truth.reshape(maps.labels.shape), float(np.sqrt(np.nanmean(variance)))


def element_sampling_figures(rows: Sequence[dict[str, Any]]) -> list[Figure]:
    """Return the figures of the issue: the error with the target 'elements' over that with labels, at equal dose."""
    out: list[Figure] = []
    for zoning in dict.fromkeys(row["zoning"] for row in rows):
        for key, where in (("error", "whole map"), ("error_crystal", "crystal")):
            mean = {
                t: float(np.mean([r[key] for r in rows if (r["zoning"], r["target"]) == (zoning, t)]))
                for t in TARGETS
            }
            name = f"{zoning} zoning, {where}: error with the target 'elements' over that with labels"
            ratio = mean["elements"] / mean["labels"]
            out.append(at_most(name, ratio, 0.7) if key == "error" else measured(name, ratio))
    return out
