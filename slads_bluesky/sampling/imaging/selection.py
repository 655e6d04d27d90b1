"""Whether a frame helps, and which planes of it with which weights: hold-out validation on the measured pixels.

A part of the measured pixels is hidden. What the labels of the rest say of them is combined with the evidence of the
frame as a product of experts (Hinton, Neural Comput. 14 (2002) 1771): log P = log P_labels + Σ w_t log p_t, the
densities p_t learnt from the rest as well. Planes are taken one by one, each with the weight under which the hidden
labels are most probable, as long as the gain is more than chance. With none the frame is not used.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...protocols import UNMEASURED
from .evidence import BINS, AlignedPlanes, Term, grey_tables

__all__ = ["Predict", "choose_terms"]

Predict = Callable[[NDArray[np.int16], NDArray[np.int64]], tuple[NDArray[np.uint8], NDArray[np.float32]]]
"""From measured labels and flat pixels (n,): the labels that can be predicted, (L,), their probabilities (L, n)."""

WEIGHTS = (0.25, 0.5, 0.75, 1.0, 1.5)
MOST_TERMS = 3
LEAST = 24
"""With fewer labelled pixels the frame is not used."""
SHARE = 0.2
"""Of the labelled pixels that are hidden at once."""
ENOUGH = 300
"""Hidden pixels from which no more are hidden; before, other parts are hidden in their turn."""
BEYOND_CHANCE = 2.5, 1.5
"""Standard errors of the mean gain above which the first plane is taken, and each other one."""
_LEAST_P = 1e-4
"""A hidden label counts for no less than this probability, so that one wrong label does not decide."""
_NEVER = 1e-3
"""Probability of a label that was not among the rest."""


def choose_terms(
    predict: Predict, measured: NDArray[np.int16], aligned: AlignedPlanes, rng: np.random.Generator
) -> tuple[tuple[Term, ...], float]:
    """Choose planes and weights.

    Parameters
    ----------
    predict : callable
        What the labels alone say.
    measured : (rows, columns) int16
        Labels, 0 where unclassified, -1 where unmeasured.
    aligned : AlignedPlanes
        The frame's planes.
    rng : numpy.random.Generator
        Decides what is hidden.

    Returns
    -------
    terms : tuple of Term
        Empty where the frame does not help.
    gain : float
        Mean gain in the logarithm of the probability of a hidden label.
    """
    pixels = np.flatnonzero(measured.reshape(-1) > 0)
    if pixels.size < LEAST:
        return (), 0.0
    labels = measured.reshape(-1)[pixels].astype(np.int64)
    known, position = np.unique(labels, return_inverse=True)
    if known.size < 2:
        return (), 0.0
    own, greys = _hidden(predict, measured, aligned, pixels, labels, known, rng)
    truth = np.concatenate([position[part] for part in own.parts])
    current = own.log_probability
    start = score = _score(current, truth)
    chosen: list[Term] = []
    while len(chosen) < MOST_TERMS:
        best: tuple[float, NDArray[np.float64], Term, NDArray[np.float64]] | None = None
        for name, grey in greys.items():
            if any(term.plane == name for term in chosen):
                continue
            for weight in WEIGHTS:
                combined = current + weight * grey
                gained = _score(combined, truth)
                if best is None or float(gained.mean()) > best[0]:
                    best = float(gained.mean()), gained, Term(name, weight), combined
        assert best is not None
        gain = best[1] - score
        chance = float(gain.std()) / math.sqrt(gain.size)
        needed = BEYOND_CHANCE[1 if chosen else 0]
        if float(gain.mean()) <= max(needed * chance, 1e-6):
            break
        _, score, term, current = best
        chosen.append(term)
    return tuple(chosen), float((score - start).mean())


class _Own:
    """What the labels alone say of the hidden pixels."""

    def __init__(self) -> None:
        self.parts: list[NDArray[np.int64]] = []
        self.rows: list[NDArray[np.float64]] = []

    @property
    def log_probability(self) -> NDArray[np.float64]:
        return np.concatenate(self.rows, axis=1)


def _hidden(
    predict: Predict,
    measured: NDArray[np.int16],
    aligned: AlignedPlanes,
    pixels: NDArray[np.int64],
    labels: NDArray[np.int64],
    known: NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[_Own, dict[str, NDArray[np.float64]]]:
    """Predict each hidden part from the rest, by the labels and by each plane."""
    n = max(1, int(SHARE * pixels.size))
    order = rng.permutation(pixels.size)
    folds = min(int(1 / SHARE), math.ceil(ENOUGH / n))
    own = _Own()
    greys: dict[str, list[NDArray[np.float64]]] = {name: [] for name in aligned.bins}
    counts = {name: np.bincount(plane.reshape(-1), minlength=BINS) for name, plane in aligned.bins.items()}
    for fold in range(folds):
        part = order[fold * n : (fold + 1) * n]
        rest = np.setdiff1d(order, part)
        seen = measured.copy()
        seen.reshape(-1)[pixels[part]] = UNMEASURED
        values, probability = predict(seen, pixels[part])
        at = np.searchsorted(known, values)
        logs = np.full((known.size, part.size), math.log(_NEVER))
        logs[at] = np.log(np.maximum(probability, 1e-6))
        own.parts.append(part)
        own.rows.append(logs)
        for name, plane in aligned.bins.items():
            flat = plane.reshape(-1)
            table = grey_tables(
                flat[pixels[rest]], aligned.width[name], counts[name], labels[rest], values.astype(np.int64)
            )
            found = np.full((known.size, part.size), math.log(_NEVER))
            found[at] = table[:, flat[pixels[part]]]
            greys[name].append(found)
    return own, {name: np.concatenate(rows, axis=1) for name, rows in greys.items()}


def _score(logs: NDArray[np.float64], truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Logarithm of the probability of each hidden label."""
    normalised = logs - np.logaddexp.reduce(logs, axis=0)
    found = normalised[truth, np.arange(truth.size)]
    return np.asarray(np.maximum(found, math.log(_LEAST_P)))
