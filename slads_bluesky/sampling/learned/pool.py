"""The pool of training images with their sampling orders, and the states of maps that are drawn from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from ...images.generated import training_image
from ..slads.model import SladsModel
from ..slads.simulate import sampling_order
from .guided_inputs import Beside
from .inputs import one_against_rest
from .rollout import Order, Predictor, as_order, by_distance, random_order, roll_out
from .settings import TrainingSettings
from .training_frames import TrainingFrame, beside_each, training_frame

__all__ = ["Pool", "draw_guided_state", "draw_state", "two_phases", "with_wrong_labels"]


def with_wrong_labels(
    measured: NDArray[np.int16],
    labels: int,
    most: float,
    rng: np.random.Generator,
    share: float | None = None,
) -> NDArray[np.int16]:
    """Return measured labels of which a share, `share` or drawn from 0 to `most`, is wrong.

    Parameters
    ----------
    measured : (rows, columns) int16
        Labels 1 … `labels`, -1 where unmeasured.
    labels : int
        At least 2.
    most : float
        Largest share of wrong labels.
    rng : numpy.random.Generator
        In half of the calls all wrong labels are confusions of one pair, as of two phases that are alike; in the
        others every label may stand for every other.
    """
    chance = rng.random(measured.shape)
    wrong = (chance < (rng.uniform(0.0, most) if share is None else share)) & (measured > 0)
    out = measured.copy()
    if rng.random() < 0.5:
        pair = rng.choice(np.arange(1, labels + 1), 2, replace=False)
        for one, other in (pair, pair[::-1]):
            out[wrong & (measured == one)] = other
    else:
        steps = rng.integers(1, labels, int(wrong.sum()))
        out[wrong] = (measured[wrong] - 1 + steps) % labels + 1
    return out


def draw_state(
    truth: NDArray[np.uint8], order: Order, rng: np.random.Generator, label_noise: float = 0.0
) -> tuple[NDArray[np.uint16], NDArray[np.bool_], NDArray[np.bool_]]:
    """Draw one state of one image.

    Returns
    -------
    distances : (2, rows, columns) uint16
        Squared distances to the nearest sample of a label that was seen, and of any other.
    target : (rows, columns) bool
        Whether each pixel is of that label.
    counted : (rows, columns) bool
        Whether each pixel counts for the loss: the unmeasured ones, and with `label_noise` all.
    """
    n = _state_size(truth.size, order, rng)
    turn, flip = int(rng.integers(4)), bool(rng.integers(2))
    truth, rank = np.rot90(truth, turn), np.rot90(order.rank, turn)
    if flip:
        truth, rank = truth[::-1], rank[::-1]
    measured = np.where(rank < n, truth.astype(np.int16), np.int16(-1))
    counted = measured < 0
    if label_noise:
        measured = with_wrong_labels(measured, int(truth.max()), label_noise, rng)
        counted = np.ones_like(counted)
    seen = np.unique(measured)
    label = int(rng.choice(seen[seen > 0]))
    return one_against_rest(measured, label), truth == label, counted


def _state_size(pixels: int, order: Order, rng: np.random.Generator) -> int:
    """Draw how many samples a state has."""
    least, most = min(order.reach, max(16, pixels // 250)), order.reach + 1
    # Half of the states evenly over the whole order: on a logarithmic scale alone few would be nearly finished.
    return int(
        rng.uniform(least, most) if rng.random() < 0.5 else np.exp(rng.uniform(np.log(least), np.log(most)))
    )


def draw_guided_state(
    truth: NDArray[np.uint8],
    order: Order,
    frame: TrainingFrame,
    rng: np.random.Generator,
    settings: TrainingSettings,
) -> tuple[NDArray[np.uint16], NDArray[np.bool_], NDArray[np.bool_], Beside]:
    """Draw one state of one image with its frame, or without in the share that the settings say.

    Every other state has no wrong labels; in the others the network is given their share as a validation would
    estimate it.

    Returns
    -------
    distances, target, counted
        As `draw_state`; all pixels are counted where labels may be wrong.
    beside : Beside
    """
    n = _state_size(truth.size, order, rng)
    measured = np.where(order.rank < n, truth.astype(np.int16), np.int16(-1))
    counted = measured < 0
    share = float(rng.uniform(0.0, settings.label_noise)) if rng.random() < 0.5 else 0.0
    if share > 0.0:
        measured = with_wrong_labels(measured, int(truth.max()), 0.0, rng, share)
        counted = np.ones_like(counted)
        share *= float(np.exp(rng.normal(0.0, 0.3)))
    seen = np.unique(measured[measured > 0])
    i = int(rng.integers(seen.size))
    beside = beside_each(frame if rng.random() < settings.framed else None, measured, seen, share)[i]
    parts = [one_against_rest(measured, int(seen[i])), (truth == seen[i])[None], counted[None], beside.ratios]
    turn, flip = int(rng.integers(4)), bool(rng.integers(2))
    turned = [np.rot90(part, turn, (1, 2)) for part in parts]
    if flip:
        turned = [part[:, ::-1] for part in turned]
    return turned[0], turned[1][0], turned[2][0], Beside(turned[3], share)


class Pool:
    """Images with sampling orders; the oldest make room for new ones.

    Parameters
    ----------
    settings : TrainingSettings
    images : sequence of (rows, columns) uint8
        Label images to adapt to; see `TrainingSettings.own`.
    rng : numpy.random.Generator
        Draws images, orders and their settings.
    slads : SladsModel
        Orders a part of the new images.
    threads : Executor
        For the distance transforms.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        images: Sequence[NDArray[np.uint8]],
        rng: np.random.Generator,
        slads: SladsModel,
        threads: Executor,
    ) -> None:
        self._settings, self._images, self.rng = settings, images, rng
        self._slads, self._threads = slads, threads
        self.truth: list[NDArray[np.uint8]] = []
        self.orders: list[Order] = []
        self.frames: list[TrainingFrame] = []
        """One of each image where the settings want frames."""
        self.next = 0
        """Place of the oldest image once the pool is full."""

    def __len__(self) -> int:
        """Images held."""
        return len(self.truth)

    def _image(self) -> NDArray[np.uint8]:
        side = self._settings.side
        if self._images and self.rng.random() < self._settings.own:
            image = self._images[int(self.rng.integers(len(self._images)))]
            r = int(self.rng.integers(image.shape[0] - side + 1))
            c = int(self.rng.integers(image.shape[1] - side + 1))
            cut = image[r : r + side, c : c + side]
            if len(np.unique(cut)) > 1:
                return np.ascontiguousarray(np.rot90(cut, int(self.rng.integers(4))))
        return training_image(self.rng, side)

    def refresh(self, n: int, predict: Predictor | None) -> None:
        """Let `n` new images into the pool.

        Four fifths are ordered by `predict`, the network once it has learnt something; the others in equal parts by
        SLADS, by distances alone and at random.
        """
        truths = [self._image() for _ in range(n)]
        learnt = 0 if predict is None else 4 * n // 5
        part = (n - learnt) // 3
        frames = [training_frame(truth, self.rng) for truth in truths] if self._settings.framed else None
        shown = frames[:learnt] if frames else None
        orders = (
            roll_out(truths[:learnt], predict, self.rng, self._threads, shown) if predict and learnt else []
        )
        orders += roll_out(truths[learnt : learnt + part], by_distance, self.rng, self._threads)
        for i, truth in enumerate(truths[learnt + part :]):
            reach = int(self.rng.uniform(0.1, 0.5) * truth.size)
            if i < part:
                start = float(np.exp(self.rng.uniform(np.log(0.002), np.log(0.02))))
                seed = int(self.rng.integers(2**31))
                picks = sampling_order(truth, self._slads, reach // 2, seed, initial=start)
                orders.append(as_order(picks, truth.shape))
            else:
                orders.append(random_order(self.rng, truth.shape, reach))
        for truth, order in zip(truths, orders, strict=True):
            if len(self.truth) < self._settings.pool:
                self.truth.append(truth)
                self.orders.append(order)
            else:
                self.truth[self.next] = truth
                self.orders[self.next] = order
                self.next = (self.next + 1) % self._settings.pool
        self._keep(frames or [])

    def _keep(self, frames: Sequence[TrainingFrame]) -> None:
        """Hold the frames of the images that came last, each at the place of its image."""
        for back, frame in enumerate(frames):
            if len(self.frames) < self._settings.pool:
                self.frames.append(frame)
            else:
                self.frames[(self.next - len(frames) + back) % self._settings.pool] = frame


def two_phases(draw: Callable[[], NDArray[np.uint8]], n: int) -> list[NDArray[np.uint8]]:
    """Draw images until `n` have two phases, and return those."""
    found: list[NDArray[np.uint8]] = []
    while len(found) < n:
        image = draw()
        if image.max() == 2:
            found.append(image)
    return found
