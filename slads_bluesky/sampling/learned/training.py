"""Training of the network: a pool of images with sampling orders, refreshed by the network's own policy."""

from __future__ import annotations

import copy
import hashlib
import importlib.metadata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ...errors import DataError
from ...images.generated import GENERATOR_VERSION, KINDS, training_image
from ..slads.model import SladsModel
from ..slads.simulate import sampling_order
from ..slads.training import default_radius, train_slads
from .inputs import N_PLANES, one_against_rest, planes
from .model import LearnedModel
from .network import LabelNet, load_network
from .rollout import Order, as_order, by_distance, random_order, roll_out
from .settings import PolicySettings

__all__ = ["ADAPT", "CONTINUE", "Trainer", "TrainingSettings", "generator_sha256", "let_down"]


@dataclass(frozen=True)
class TrainingSettings:
    """Everything that training depends on besides the program and the number of steps.

    Parameters
    ----------
    widths : tuple of int
        Channels of the network's levels.
    side : int
        Rows and columns of the training images, pixels.
    pool : int
        Images held; the oldest make room for new ones.
    batch : int
        Images a step.
    every, fresh : int
        After each `every` steps `fresh` new images enter the pool, ordered mostly by the network.
    rate : float
        Learning rate of AdamW before it is let down over the last quarter of the steps.
    margin : float
        Added to an image's cross-entropy before the logarithm is taken.
    plain : int
        Steps at the start with the cross-entropy itself as the loss.
    own : float
        Share of the new images that are cut from a user's own, where there are any; the others are generated, so
        that what is common to all specimens is not forgotten.
    seed : int
        Seed of images, orders, batches and weights.
    """

    widths: tuple[int, ...] = (32, 48, 64, 96)
    side: int = 128
    pool: int = 1500
    batch: int = 24
    every: int = 500
    fresh: int = 96
    rate: float = 2e-3
    margin: float = 0.003
    plain: int = 1000
    own: float = 0.8
    seed: int = 0


CONTINUE = TrainingSettings(plain=0, rate=1e-3)
"""Settings to continue the training of a network with more generated images."""

ADAPT = TrainingSettings(pool=300, batch=12, every=100, fresh=24, rate=1e-3, plain=0)
"""Settings to adapt a trained network to a user's own images, in a minute or two."""


def let_down(steps: int) -> Iterator[float]:
    """Yield learning rate factors that fall evenly from 1 to 0 over `steps` steps: the last quarter of a training."""
    for i in range(steps):
        yield 1 - i / steps


def _example(
    truth: NDArray[np.uint8], order: Order, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """One state of one image: planes of a label that was seen, whether each pixel is of it, weight of each."""
    least, most = min(order.reach, max(16, truth.size // 250)), order.reach + 1
    # Half of the states evenly over the whole order: on a logarithmic scale alone few would be nearly finished.
    n = int(
        rng.uniform(least, most) if rng.random() < 0.5 else np.exp(rng.uniform(np.log(least), np.log(most)))
    )
    turn, flip = int(rng.integers(4)), bool(rng.integers(2))
    truth, rank = np.rot90(truth, turn), np.rot90(order.rank, turn)
    if flip:
        truth, rank = truth[::-1], rank[::-1]
    measured = np.where(rank < n, truth.astype(np.int16), np.int16(-1))
    seen = np.unique(measured)
    label = int(rng.choice(seen[seen > 0]))
    pair = one_against_rest(measured, label)
    x = np.empty((N_PLANES, *truth.shape), np.float32)
    planes(pair[0], pair[1], x)
    weight = (measured < 0).astype(np.float32)
    return x, (truth == label).astype(np.float32)[None], (weight / weight.sum())[None]


def generator_sha256() -> str:
    """Return the hash of the first eight images of seed 0: another hash, another generator."""
    rng = np.random.default_rng(0)
    return hashlib.sha256(b"".join(training_image(rng).tobytes() for _ in range(8))).hexdigest()


class Trainer:
    """Trains a `LabelNet`; every step is determined by the settings and the steps before it.

    Parameters
    ----------
    settings : TrainingSettings
        See there.
    images : sequence of (rows, columns) uint8, optional
        Label images to adapt to; see `TrainingSettings.own`.
    start : LearnedModel, optional
        Model to start from.
    device : str
        Where torch computes. Only on the "cpu" do the same settings give the same weights.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        images: Sequence[NDArray[np.uint8]] = (),
        start: LearnedModel | None = None,
        device: str = "cpu",
    ) -> None:
        if start is not None and start.widths != settings.widths:
            raise DataError(
                f"network to start from has widths {start.widths}, the settings {settings.widths}"
            )
        self.settings = settings
        self._policy = PolicySettings() if start is None else start.policy
        self.images = tuple(images)
        self.steps = 0
        self._rng = np.random.default_rng(settings.seed)
        # The sampler falls back on its coefficients with this radius, so with this one they are learnt.
        radius = default_radius(settings.side**2)
        if start is None:
            images_of_two = self._two_phases(2)
            self._slads = train_slads(images_of_two, seed=settings.seed, radius=radius, calibrated=False)
        else:
            self._slads = SladsModel(start.fallback, (1, 2), radius=radius)
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            net = LabelNet(settings.widths)
        if start is not None:
            net = load_network(start)
        self._device = torch.device(device)
        self._net: LabelNet = net.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._mean = copy.deepcopy(self._net)
        self._optimizer = torch.optim.AdamW(self._net.parameters(), settings.rate, weight_decay=1e-3)
        self._threads = ThreadPoolExecutor(max(1, torch.get_num_threads()))
        self._truth: list[NDArray[np.uint8]] = []
        self._orders: list[Order] = []
        self._own = start is not None
        self._next = 0

    @property
    def network(self) -> LabelNet:
        """The moving average of the weights, in float32."""
        mean: LabelNet = self._mean
        return mean

    def model(self, more: Mapping[str, Any] | None = None) -> LearnedModel:
        """Return the mean weights in half precision, and their origin, with `more` facts of the caller's."""
        weights = {k: v.cpu().numpy().astype(np.float16) for k, v in self._mean.state_dict().items()}
        images = [hashlib.sha256(repr(i.shape).encode() + i.tobytes()).hexdigest() for i in self.images]
        facts: dict[str, Any] = {
            "settings": asdict(self.settings),
            "steps": self.steps,
            "images": images,
            "generator": {
                "version": GENERATOR_VERSION,
                "shares": {name: share for name, (share, _) in KINDS.items()},
                "sample_sha256": generator_sha256(),
            },
            "versions": {
                name: importlib.metadata.version(name) for name in ("numpy", "torch", "slads-bluesky")
            },
        }
        return LearnedModel(
            self.settings.widths, weights, self._slads.theta, {**facts, **(more or {})}, policy=self._policy
        )

    def _image(self) -> NDArray[np.uint8]:
        side = self.settings.side
        if self.images and self._rng.random() < self.settings.own:
            image = self.images[int(self._rng.integers(len(self.images)))]
            r = int(self._rng.integers(image.shape[0] - side + 1))
            c = int(self._rng.integers(image.shape[1] - side + 1))
            cut = image[r : r + side, c : c + side]
            if len(np.unique(cut)) > 1:
                return np.ascontiguousarray(np.rot90(cut, int(self._rng.integers(4))))
        return training_image(self._rng, side)

    def predict(self, pairs: list[NDArray[np.uint16]]) -> list[NDArray[np.float32]]:
        """Probability of the label for each of many (own, other) squared distances, by the mean weights."""
        out: list[NDArray[np.float32]] = []
        for i in range(0, len(pairs), 32):
            chunk = pairs[i : i + 32]
            x = np.empty((len(chunk), N_PLANES, *chunk[0].shape[1:]), np.float32)
            list(self._threads.map(lambda pair, out: planes(pair[0], pair[1], out), chunk, x))
            with torch.inference_mode(), torch.autocast(self._device.type, dtype=torch.bfloat16):
                inputs = torch.from_numpy(x).to(self._device)
                logits = self._mean(inputs.contiguous(memory_format=torch.channels_last))
            out.extend(torch.sigmoid(logits.float())[:, 0].cpu().numpy())
        return out

    def _two_phases(self, n: int) -> list[NDArray[np.uint8]]:
        """Draw `n` generated images of two phases."""
        found: list[NDArray[np.uint8]] = []
        while len(found) < n:
            image = training_image(self._rng, self.settings.side)
            if image.max() == 2:
                found.append(image)
        return found

    def refresh(self, n: int) -> None:
        """Let `n` new images into the pool.

        Four fifths are ordered by the network once it has learnt something; the others in equal parts by SLADS,
        by distances alone and at random.
        """
        truths = [self._image() for _ in range(n)]
        learnt = 4 * n // 5 if self._own else 0
        part = (n - learnt) // 3
        orders = roll_out(truths[:learnt], self.predict, self._rng, self._threads) if learnt else []
        orders += roll_out(truths[learnt : learnt + part], by_distance, self._rng, self._threads)
        for i, truth in enumerate(truths[learnt + part :]):
            reach = int(self._rng.uniform(0.1, 0.5) * truth.size)
            if i < part:
                start = float(np.exp(self._rng.uniform(np.log(0.002), np.log(0.02))))
                seed = int(self._rng.integers(2**31))
                picks = sampling_order(truth, self._slads, reach // 2, seed, initial=start)
                orders.append(as_order(picks, truth.shape))
            else:
                orders.append(random_order(self._rng, truth.shape, reach))
        for truth, order in zip(truths, orders, strict=True):
            if len(self._truth) < self.settings.pool:
                self._truth.append(truth)
                self._orders.append(order)
            else:
                self._truth[self._next] = truth
                self._orders[self._next] = order
                self._next = (self._next + 1) % self.settings.pool

    def _batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        rng = np.random.default_rng([self.settings.seed, 1, step])
        picks = rng.integers(0, len(self._truth), self.settings.batch)
        examples = [_example(self._truth[i], self._orders[i], rng) for i in picks]
        x, y, w = (torch.from_numpy(np.stack(part)) for part in zip(*examples, strict=True))
        return x.contiguous(memory_format=torch.channels_last), y, w

    def _step(self, batch: tuple[Tensor, Tensor, Tensor], rate: float) -> float:
        x, y, w = (part.to(self._device) for part in batch)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast(self._device.type, dtype=torch.bfloat16):
            logits = self._net(x)
        entropy = F.binary_cross_entropy_with_logits(logits.float(), y, reduction="none")
        each = (entropy * w).sum(dim=(1, 2, 3))
        loss = each.mean() if self.steps < self.settings.plain else (each + self.settings.margin).log().mean()
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._net.parameters(), 1.0)
        self._optimizer.step()
        self.steps += 1
        keep = min(0.999, (1 + self.steps) / (20 + self.steps))
        with torch.no_grad():
            for mean, now in zip(self._mean.parameters(), self._net.parameters(), strict=True):
                mean.lerp_(now, 1 - keep)
        return float(each.detach().mean())

    def run(self, rates: Iterable[float]) -> Iterator[float]:
        """Take one step for each learning rate factor (0 … 1) and yield the step's mean cross-entropy."""
        s = self.settings
        if not self._truth:
            # A trained network would only forget on a few images.
            self.refresh(min(s.pool, (4 if self._own else 2) * s.fresh))
        ahead = self._threads.submit(self._batch, self.steps)
        for factor in rates:
            loss = self._step(ahead.result(), s.rate * factor * min(1.0, (self.steps + 1) / 200))
            if self.steps % s.every == 0:
                self._own = True
                self.refresh(s.fresh)
            ahead = self._threads.submit(self._batch, self.steps)
            yield loss
