"""Sampling orders for training images, many images at once, under any predictor: the states that a policy meets.

An order ranks the pixels of an image; the state after n measurements is a threshold on it. Orders of the network
itself make it learn from its own mistakes (DAgger: Ross, Gordon and Bagnell 2011, arXiv:1011.0686).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...images.labels import compact_labels
from ..picks import batch_size, pick_batch, scores
from .guided_inputs import Beside
from .inputs import CAP, label_distances
from .training_frames import TrainingFrame, beside_each

__all__ = ["NEVER", "Order", "as_order", "by_distance", "combine", "random_order", "roll_out", "spread_mask"]

NEVER = np.uint16(65535)
"""Rank of a pixel that the order does not reach."""

Predictor = Callable[[list[NDArray[np.uint16]], list[Beside] | None], list[NDArray[np.float32]]]
"""From squared distances (2, rows, columns), own and other, to the probability of the label, for each of many.

Where frames guide the network, with what lies beside the distances of each."""


@dataclass(frozen=True)
class Order:
    """Rank of each pixel, (rows, columns) uint16, `NEVER` past the first `reach` pixels."""

    rank: NDArray[np.uint16]
    reach: int


def spread_mask(rng: np.random.Generator, shape: tuple[int, int], n: int) -> NDArray[np.int64]:
    """Return about `n` different pixels of a randomly shifted low-discrepancy (Kronecker, plastic number) set."""
    plastic = 1.32471795724474602596
    i = np.arange(1, n + 1)[:, None]
    points = (rng.random(2) + i * np.array([1 / plastic, 1 / plastic**2])) % 1.0
    pixels = (points * shape).astype(np.int64)
    flat = pixels[:, 0] * shape[1] + pixels[:, 1]
    _, first = np.unique(flat, return_index=True)
    return np.asarray(flat[np.sort(first)], np.int64)


def as_order(picks: NDArray[np.integer], shape: tuple[int, int]) -> Order:
    """Return the order of different pixels, flat indices, as ranks."""
    rank = np.full(shape[0] * shape[1], NEVER)
    rank[picks] = np.arange(len(picks), dtype=np.uint16)
    return Order(rank.reshape(shape), len(picks))


def random_order(rng: np.random.Generator, shape: tuple[int, int], reach: int) -> Order:
    """Return an order without regard to the labels: half of them low-discrepancy, half random."""
    even = rng.random() < 0.5
    return as_order(
        spread_mask(rng, shape, reach) if even else rng.permutation(shape[0] * shape[1])[:reach], shape
    )


def by_distance(
    pairs: list[NDArray[np.uint16]], besides: list[Beside] | None = None
) -> list[NDArray[np.float32]]:
    """Predict by distances alone, P = d_other / (d_own + d_other): a policy that bisects between labels."""
    out = []
    for pair in pairs:
        own, other = np.sqrt(pair.astype(np.float32))
        out.append(other / (own + other + np.float32(1e-6)))
    return out


def combine(
    probabilities: Sequence[NDArray[np.float32]], labels: Sequence[int]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return the most probable label and its probability from one map for each label, or one map for two labels.

    With two labels the single map is the probability of the first; with more, they are normalised to sum 1.
    """
    first = probabilities[0]
    if len(labels) == 1:
        return np.full(first.shape, labels[0], np.uint8), first
    if len(labels) == 2:
        is_first = first >= 0.5
        return np.where(is_first, labels[0], labels[1]).astype(np.uint8), np.maximum(first, 1 - first)
    stack = np.stack(probabilities) + np.float32(1e-6)
    best = stack.argmax(axis=0)
    p_max = np.take_along_axis(stack, best[None], 0)[0] / stack.sum(axis=0)
    return np.asarray(labels, np.uint8)[best], p_max


@dataclass
class _Run:
    """One image on its way."""

    truth: NDArray[np.uint8]
    measured: NDArray[np.int16]
    rank: NDArray[np.uint16]
    n: int
    limit: int
    growth: float
    exponent: float
    explore: float
    frame: TrainingFrame | None = None
    right: int = 0

    def measure(self, picks: NDArray[np.int64]) -> None:
        flat, rank = self.measured.ravel(), self.rank.ravel()
        picks = picks[flat[picks] < 0]
        flat[picks] = self.truth.ravel()[picks]
        rank[picks] = np.arange(self.n, self.n + len(picks), dtype=np.uint16)
        self.n += len(picks)


def _start(rng: np.random.Generator, truth: NDArray[np.uint8], frame: TrainingFrame | None) -> _Run:
    n = truth.size
    run = _Run(
        truth,
        np.full(truth.shape, -1, np.int16),
        np.full(truth.shape, NEVER),
        0,
        int(n * (rng.uniform(0.10, 0.25) if rng.random() < 0.8 else rng.uniform(0.25, 0.45))),
        float(np.exp(rng.uniform(np.log(0.05), np.log(0.2)))),
        float(rng.choice([1.0, 1.0, 1.0, 0.5, 1.5])),
        float(rng.choice([0.0, 0.0, 0.05, 0.2])),
    )
    if frame is not None and rng.random() < 0.75:
        run.frame, run.exponent = frame, float(rng.choice([0.5, 0.5, 0.5, 0.3, 1.0]))
    share = np.exp(rng.uniform(np.log(0.002), np.log(0.02)))
    run.measure(spread_mask(rng, truth.shape, max(8, int(share * n))))
    return run


def _pairs(run: _Run) -> tuple[list[int], list[NDArray[np.uint16]], list[Beside], NDArray[np.float32]]:
    """Labels seen, the (own, other) distances and what lies beside them, and the distance to the nearest sample."""
    values, compact = compact_labels(run.measured)
    seen = values.tolist()
    distances = label_distances(compact + 1, len(seen))
    nearest = np.sqrt(distances.min(axis=0).astype(np.float32))
    asked = range(1) if len(seen) == 2 else range(len(seen))
    pairs = []
    for i in asked:
        rest = np.delete(distances, i, axis=0)
        other = rest.min(axis=0) if len(rest) else np.full_like(distances[0], CAP * CAP)
        pairs.append(np.stack([distances[i], other]))
    return seen, pairs, beside_each(run.frame, run.measured, values)[: len(pairs)], nearest


def roll_out(
    images: Sequence[NDArray[np.uint8]],
    predict: Predictor,
    rng: np.random.Generator,
    pool: Executor,
    frames: Sequence[TrainingFrame] | None = None,
) -> list[Order]:
    """Return a sampling order of every image under the policy that `predict` gives, settings drawn at random.

    Parameters
    ----------
    images : sequence of (rows, columns) uint8
        True labels, 1 … L.
    predict : callable
        See `Predictor`; called once a round with the pairs of all images still running.
    rng : numpy.random.Generator
        Draws start mask, growth, exponent of the distance and share of random picks of each image.
    pool : Executor
        Threads for the distance transforms.
    frames : sequence of TrainingFrame, optional
        One of each image; three quarters of the runs see theirs.
    """
    shown: Sequence[TrainingFrame | None] = frames if frames is not None else [None] * len(images)
    runs = [_start(rng, image, frame) for image, frame in zip(images, shown, strict=True)]
    active = list(runs)
    while active:
        prepared = list(pool.map(_pairs, active))
        besides = [beside for _, _, each, _ in prepared for beside in each]
        every = [pair for _, pairs, _, _ in prepared for pair in pairs]
        answers = iter(predict(every, besides if frames is not None else None))
        still = []
        for run, (seen, pairs, _, nearest) in zip(active, prepared, strict=True):
            labels, p_max = combine([next(answers) for _ in pairs], seen)
            known = run.measured > 0
            run.right = run.right + 1 if np.all((labels == run.truth) | known) else 0
            if run.right >= 2 or run.n >= run.limit:
                continue
            n = batch_size(run.n, run.truth.size, run.growth, 0.0, 0.006)
            score = scores(1 - p_max, nearest, run.exponent)
            if run.explore and rng.random() < 0.5:
                score = score * rng.random(score.shape, dtype=np.float32)
            score[known] = -np.inf
            picks = pick_batch(score, nearest, n)
            chance = rng.random(len(picks)) < run.explore
            picks[chance] = rng.integers(0, run.truth.size, int(chance.sum()))
            run.measure(np.unique(picks) if chance.any() else picks)
            still.append(run)
        active = still
    return [Order(run.rank, run.n) for run in runs]
