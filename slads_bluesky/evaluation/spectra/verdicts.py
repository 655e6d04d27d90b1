"""Which spectra the classifiers flag: good ones, and each sort of bad one, at a number of counts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ...spectra.likelihood.classifier import PhaseClassifier
from ...spectra.paper.classifier import PaperClassifier
from ...spectra.physics.spectrum import expected_counts
from .simulated import thinned

__all__ = ["verdict_table"]


def verdict_table(
    classifier: PhaseClassifier,
    shapes: Mapping[str, NDArray[np.float64]],
    counts: int,
    n: int,
    rng: np.random.Generator,
    *,
    paper: PaperClassifier | None = None,
    beam_energy_kev: float = 15.0,
) -> dict[str, dict[str, float]]:
    """Part of spectra of each sort whose verdict is not ``ok``.

    Parameters
    ----------
    classifier : PhaseClassifier
        Trained on spectra of the full count at a live time of 10 s, in which it expects `counts` counts here.
    shapes : phase name to (n_channels,) float64
        Measured or computed, of the phases in order, and after them perhaps more good spectra of them.
    counts : int
    n : int
        Spectra of each sort and phase.
    paper : PaperClassifier, optional
        The same for the paper's networks.
    """
    axis = classifier.axis
    good = [shape / shape.sum() for shape in shapes.values()]
    table = good[: len(classifier.phases)]
    energies = axis.energies()
    first = table[0]
    foreign = [
        expected_counts(element, axis, beam_energy_kev=beam_energy_kev, total_counts=1.0)
        for element in ("Al", "Ti", "Cu", "Zr", "Au")
        if element not in shapes
    ]
    pairs = [(a, b) for i, a in enumerate(table) for b in table[:i]]
    sorts: dict[str, list[NDArray[np.float64]]] = {
        "good": good,
        "Poisson(20)": [np.full(axis.n_channels, 1.0 / axis.n_channels)],
        "unknown element": foreign,
        "50/50 mixture": [0.5 * a + 0.5 * b for a, b in pairs],
        "80/20 mixture": [0.8 * a + 0.2 * b for pair in pairs for a, b in (pair, pair[::-1])],
        "gain +2 %": [np.interp(energies / 1.02, energies, shape) for shape in table],
        "offset +3 channels": [np.roll(shape, 3) for shape in table],
    }
    out: dict[str, dict[str, float]] = {}
    for name, spectra in sorts.items():
        found, seen = [], []
        for shape in spectra:
            drawn = thinned(shape, counts, n, rng)
            found.append(_flagged(classifier.classify_batch(drawn)[2], name))
            if paper is not None:
                seen.append(float((paper.classify_batch(drawn)[2] != "ok").mean()))
        out[name] = {"worst": max(found) if name == "good" else min(found), "mean": float(np.mean(found))}
        if paper is not None:
            out[name]["paper"] = float(np.mean(seen))
    blank = np.zeros((1, axis.n_channels), np.int64)
    seen_blank = float(classifier.classify_batch(blank)[2][0] != "ok")
    out["blank"] = {"worst": seen_blank, "mean": seen_blank}
    if paper is not None:
        out["blank"]["paper"] = float(paper.classify_batch(blank)[2][0] != "ok")
    if np.isfinite(classifier.templates.rate).all():
        live = counts / float(classifier.templates.rate[0, 0])
        half = rng.poisson(0.5 * counts * first, (n, axis.n_channels))
        whole = rng.poisson(counts * first, (n, axis.n_channels))
        verdicts = [classifier.classify(row, live).verdict != "ok" for row in half]
        alarms = [classifier.classify(row, live).verdict != "ok" for row in whole]
        out["half dose"] = {"worst": float(np.mean(verdicts)), "mean": float(np.mean(verdicts))}
        out["good, rate checked"] = {"worst": float(np.mean(alarms)), "mean": float(np.mean(alarms))}
        if paper is not None:
            out["half dose"]["paper"] = float((paper.classify_batch(half)[2] != "ok").mean())
            out["good, rate checked"]["paper"] = float((paper.classify_batch(whole)[2] != "ok").mean())
    return out


def _flagged(verdicts: NDArray[np.str_], sort: str) -> float:
    """Fraction that is flagged; low counts are no fault of a good spectrum."""
    if sort == "good":
        return float(np.isin(verdicts, ["mixed", "unknown", "ill"]).mean())
    return float((verdicts != "ok").mean())
