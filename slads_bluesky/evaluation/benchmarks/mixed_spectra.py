"""Whether the posterior of the largest part is reliable, and how often good spectra are flagged, by their counts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import ndtr

from ...phantom import make_object, training_spectra
from ...phantom.imperfect import ImperfectPhantom
from ...phantom.recipes import RECIPES
from ...spectra.dwell_mixed import classify_mixed
from ...spectra.likelihood.classifier import PhaseClassifier
from ..figures import Figure, at_most, measured
from .mixed import Row

__all__ = ["alarm_rates", "reliability", "specimen_classifier", "spectrum_figures"]

RELIABLE_AT = (20, 50, 200, 1000, 5000, 20_000, 50_000)
ALARMS_AT = (50, 200, 1000, 5000, 50_000)
"""Counts at which the issue asks for either."""
HELD_OUT = 7
"""Seed of spectra that no classifier was trained on."""
REACH = 2.5
"""A boundary that mixes a spectrum lies within so many standard deviations of the interaction volume."""
PURE = 0.99
"""Abundance from which on a spectrum is pure: to call it mixed is a false alarm."""
LONGEST_H = 1.0
"""Time of acquiring within which a spectrum is recorded, hours: the energy scale drifts."""
SPOTS = 24
"""Training spectra of each phase."""
SPOT_SHARE = 0.1
"""Their dwell over the full one: 1 s, in which little carbon grows."""
BINS = np.array([0.0, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0 + 1e-9])
"""Of stated probabilities, for their reliability."""


def reliability(
    classifier: PhaseClassifier, kind: str, counts: int, n: int, rng: np.random.Generator
) -> dict[str, float]:
    """How far the stated probability of the largest part is from how often it is right.

    Parameters
    ----------
    classifier : PhaseClassifier
        Of the phases of `kind`.
    kind : str
        Of simulated specimens.
    counts : int
        Counts of each spectrum.
    n : int
        Spectra: half of them pure, half at a straight boundary that lies anywhere within reach.
    rng : numpy.random.Generator

    Returns
    -------
    dict
        ``both``, ``pure``, ``mixed``: stated minus right, of all spectra and of either sort; ``calibration``: the
        distance of stated and right within bins of the stated probability, as far as it exceeds its standard
        deviation, as a mean over the spectra;
        ``position``: root mean square of (abundance − true one) over its stated standard deviation, of mixed ones.
    """
    spectra = [table + RECIPES[kind].noise_rate for table in training_spectra(kind, HELD_OUT, 24).values()]
    stated, right, part = np.empty(n), np.empty(n), np.empty(n)
    misses = np.empty(n)
    for i in range(n):
        first, second = rng.permutation(len(spectra))[:2]
        part[i] = 1.0 if i % 2 else float(ndtr(rng.uniform(-REACH, REACH)))
        one, other = (spectra[k][rng.integers(len(spectra[k]))] for k in (first, second))
        expected = part[i] * one + (1.0 - part[i]) * other
        found = classifier.mixture(rng.multinomial(counts, expected / expected.sum()))
        stated[i] = found.probability
        right[i] = found.majority - 1 == (first if part[i] > 0.5 else second)
        misses[i] = (found.abundances[first] - part[i]) / found.abundance_sd[first]
    pure = part == 1.0
    bin_of = np.digitize(stated, BINS) - 1
    beyond = 0.0
    for b in range(len(BINS) - 1):
        here = bin_of == b
        noise = math.sqrt(float((stated[here] * (1.0 - stated[here])).sum()))
        beyond += max(abs(float(stated[here].sum() - right[here].sum())) - noise, 0.0)
    return {
        "both": float(stated.mean() - right.mean()),
        "pure": float(stated[pure].mean() - right[pure].mean()),
        "mixed": float(stated[~pure].mean() - right[~pure].mean()),
        "calibration": beyond / n,
        "position": float(np.sqrt((misses[~pure] ** 2).mean())),
    }


def alarm_rates(
    classifier: PhaseClassifier, specimen: ImperfectPhantom, counts: int, n: int, rng: np.random.Generator
) -> dict[str, float]:
    """Part of good spectra of a specimen that get each verdict that is wrong for them.

    Parameters
    ----------
    classifier : PhaseClassifier
    specimen : ImperfectPhantom
        Its pixels are drawn evenly; ill ones are left out.
    counts : int
        Expected counts of each spectrum, carbon left out.
    n : int
    rng : numpy.random.Generator

    Returns
    -------
    dict
        ``unknown`` and ``ill``: of all spectra; ``mixed``: of pure ones.
    """
    good = np.flatnonzero(specimen.labels.ravel() > 0)
    top = specimen.abundances.max(axis=0).ravel()
    verdicts, pure = [], np.empty(n, bool)
    for i, pixel in enumerate(rng.choice(good, n)):
        expected = specimen.expected_at(int(pixel), 3600.0 * LONGEST_H * rng.random())
        share = counts / float(expected.sum())
        carbon = share**2 * float(specimen.rate.flat[pixel]) * specimen.carbon
        verdicts.append(classify_mixed(classifier, rng.poisson(share * expected + carbon)).verdict)
        pure[i] = top[pixel] >= PURE
    said = np.array(verdicts)
    return {
        "mixed": float((said[pure] == "mixed").mean()) if pure.any() else 0.0,
        "unknown": float((said == "unknown").mean()),
        "ill": float((said == "ill").mean()),
    }


def specimen_classifier(name: str, which: str, seed: int = 1000) -> PhaseClassifier:
    """Train a classifier on spots of a specimen with imperfections, as an operator does, not on ideal ones.

    Parameters
    ----------
    name : str
        Of the object.
    which : str
        Of `mixed.IMPERFECT`.
    seed : int
        Of that specimen: none that is judged.
    """
    specimen = make_object(name, seed, Row(name, 1.0, "label", which).imperfections)
    assert isinstance(specimen, ImperfectPhantom)
    rng = np.random.default_rng(seed)
    pure = (specimen.abundances.max(axis=0) >= PURE) & (specimen.labels > 0)
    spectra = {}
    for label, phase in enumerate(specimen.phases, start=1):
        spots = rng.choice(np.flatnonzero((pure & (specimen.truth == label)).ravel()), SPOTS)
        carbon = specimen.rate.ravel()[spots, None] * specimen.carbon
        expected = np.array([specimen.expected_at(int(spot), 3600.0 * rng.random()) for spot in spots])
        spectra[phase] = rng.poisson(SPOT_SHARE * expected + SPOT_SHARE**2 * carbon)
    yields = tuple(float(table.sum(axis=1).mean()) for table in spectra.values())
    return PhaseClassifier.from_spectra(spectra, specimen.axis, seed=seed, yields=yields)


def spectrum_figures(
    classifiers: Mapping[str, PhaseClassifier], n: int, imperfections: Sequence[str], seed: int = 0
) -> tuple[list[Figure], dict[str, Any]]:
    """Figures of `reliability` and `alarm_rates` for each object's classifier, and all that they are made of.

    Parameters
    ----------
    classifiers : object name to PhaseClassifier
    n : int
        Spectra at each number of counts.
    imperfections : sequence of str
        Of `mixed.IMPERFECT`: specimens whose good spectra are judged.
    seed : int
        Of the spectra.
    """
    figures: list[Figure] = []
    results: dict[str, Any] = {}
    for name, classifier in classifiers.items():
        kind = name.split("-")[0]
        kept = results[name] = {"reliability": {}, "alarms": {}}
        for counts in RELIABLE_AT:
            found = reliability(classifier, kind, counts, n, np.random.default_rng([seed, counts]))
            kept["reliability"][counts] = found
            start = f"{kind}, {counts} counts"
            figures.append(at_most(f"{start}: |stated − right|, pure and mixed", abs(found["both"]), 0.02))
            figures.append(at_most(f"{start}: calibration error over bins", found["calibration"], 0.02))
            figures.append(measured(f"{start}: error of an abundance over its stated sd", found["position"]))
        for which in imperfections:
            specimen = make_object(name, seed, Row(name, 1.0, "label", which).imperfections)
            assert isinstance(specimen, ImperfectPhantom)
            trained = {
                "ideal spots": classifier,
                "spots of such a specimen": specimen_classifier(name, which),
            }
            for how, one in trained.items():
                rates = {
                    c: alarm_rates(one, specimen, c, n, np.random.default_rng([seed, c])) for c in ALARMS_AT
                }
                kept["alarms"][f"{which}, {how}"] = rates
                for verdict in ("mixed", "unknown", "ill"):
                    worst, at = max((rate[verdict], counts) for counts, rate in rates.items())
                    text = f"{kind}, {which}, trained on {how}: '{verdict}' of good spectra, worst (at {at} counts)"
                    figures.append(at_most(text, worst, 0.02))
    return figures, results
