"""Training of the network: a pool of images with sampling orders, refreshed by the network's own policy."""

from __future__ import annotations

import copy
import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ...errors import DataError
from ...images.generated import GENERATOR_VERSION, KINDS, training_image
from ..slads.model import SladsModel
from ..slads.training import default_radius, train_slads
from .guided_inputs import Beside
from .inputs import N_PLANES, planes
from .model import LearnedModel
from .network import LabelNet, load_network
from .pool import Pool, draw_guided_state, draw_state, two_phases
from .prediction import predict_pairs, stack_beside
from .producers import Batch, Producers
from .rollout import Order
from .settings import PolicySettings, TrainingSettings
from .weights import FIRST

__all__ = ["ADAPT", "CONTINUE", "Trainer", "TrainingSettings", "generator_sha256", "let_down"]


CONTINUE = TrainingSettings(plain=0, rate=1e-3)
"""Settings to continue the training of a network with more generated images."""

ADAPT = TrainingSettings(pool=300, batch=12, every=100, fresh=24, rate=1e-3, plain=0)
"""Settings to adapt a trained network to a user's own images, in a minute or two."""


def let_down(steps: int) -> Iterator[float]:
    """Yield learning rate factors that fall evenly from 1 to 0 over `steps` steps: the last quarter of a training."""
    for i in range(steps):
        yield 1 - i / steps


def generator_sha256() -> str:
    """Return the hash of the first eight images of seed 0: another hash, another generator."""
    rng = np.random.default_rng(0)
    return hashlib.sha256(b"".join(training_image(rng).tobytes() for _ in range(8))).hexdigest()


def _begun(start: LearnedModel, planes_wanted: int) -> LabelNet:
    """Return the network of a model; with more planes than it has, the new ones are of no weight yet."""
    found = load_network(start)
    if found.planes == planes_wanted:
        return found
    if found.planes > planes_wanted:
        raise DataError("network to start from sees images, the settings (framed = 0) want one that does not")
    net = LabelNet(start.widths, planes_wanted)
    state = found.state_dict()
    before = state[FIRST]
    more = before.new_zeros((before.shape[0], 4 * (planes_wanted - found.planes), *before.shape[2:]))
    state[FIRST] = torch.cat([before, more], 1)
    net.load_state_dict(state)
    return net


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
        rng = np.random.default_rng(settings.seed)
        # The sampler falls back on its coefficients with this radius, so with this one they are learnt.
        radius = default_radius(settings.side**2)
        if start is None:
            images_of_two = two_phases(lambda: training_image(rng, settings.side), 2)
            self._slads = train_slads(images_of_two, seed=settings.seed, radius=radius, calibrated=False)
        else:
            self._slads = SladsModel(start.fallback, (1, 2), radius=radius)
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            net = LabelNet(settings.widths, settings.planes)
        if start is not None:
            net = _begun(start, settings.planes)
        self._device = torch.device(device)
        self._net: LabelNet = net.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._mean = copy.deepcopy(self._net)
        self._optimizer = torch.optim.AdamW(self._net.parameters(), settings.rate, weight_decay=1e-3)
        self._threads = ThreadPoolExecutor(max(1, torch.get_num_threads()))
        self._own = start is not None
        self.pool = Pool(settings, self.images, rng, self._slads, self._threads)

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

    def predict(
        self, pairs: list[NDArray[np.uint16]], besides: list[Beside] | None = None
    ) -> list[NDArray[np.float32]]:
        """Probability of the label for each of many (own, other) squared distances, by the mean weights."""
        return predict_pairs(self._mean, pairs, besides, self._threads, self._device)

    def refresh(self, n: int) -> None:
        """Let `n` new images into the pool, most of them ordered by the network once it has learnt something."""
        self.pool.refresh(n, self.predict if self._own else None)

    def _batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        rng = np.random.default_rng([self.settings.seed, 1, step])
        if self.settings.framed:
            return self._guided_batch(rng)
        n, side = self.settings.batch, self.settings.side
        x = np.empty((n, N_PLANES, side, side), np.float32)
        y, w = np.empty((n, 1, side, side), np.float32), np.empty((n, 1, side, side), np.float32)
        for i, pick in enumerate(rng.integers(0, len(self.pool), n)):
            pair, target, counted = draw_state(
                self.pool.truth[pick], self.pool.orders[pick], rng, self.settings.label_noise
            )
            planes(pair[0], pair[1], x[i])
            y[i, 0] = target
            w[i, 0] = counted.astype(np.float32) / np.float32(counted.sum())
        inputs = torch.from_numpy(x).contiguous(memory_format=torch.channels_last)
        return inputs, torch.from_numpy(y), torch.from_numpy(w)

    def _guided_batch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        pool, states = self.pool, []
        for pick in rng.integers(0, len(pool), self.settings.batch):
            states.append(
                draw_guided_state(pool.truth[pick], pool.orders[pick], pool.frames[pick], rng, self.settings)
            )
        pairs, target, counted, besides = zip(*states, strict=True)
        marks = np.stack(target).astype(np.uint8) + 2 * np.stack(counted).astype(np.uint8)
        ratios, noise = stack_beside(list(besides))
        batch = Batch(
            torch.from_numpy(np.stack(pairs).astype(np.int16)), torch.from_numpy(marks), ratios, noise
        )
        return batch.examples()

    def _step(self, batch: tuple[Tensor, Tensor, Tensor] | Batch, rate: float) -> Tensor:
        if isinstance(batch, Batch):
            x, y, w = batch.to(self._device).examples()
        else:
            x, y, w = (part.to(self._device, non_blocking=True) for part in batch)
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
        return each.detach().mean()

    def run(self, rates: Iterable[float], processes: int = 1) -> Iterator[float]:
        """Take one step for each learning rate factor (0 … 1) and yield the step's mean cross-entropy.

        With more `processes` than one, all but one of them make the batches (`producers`).
        """
        if processes > 1:
            yield from self._run_beside(rates, processes - 1)
            return
        s = self.settings
        if not len(self.pool):
            # A trained network would only forget on a few images.
            self.refresh(min(s.pool, (4 if self._own else 2) * s.fresh))
        ahead = self._threads.submit(self._batch, self.steps)
        for factor in rates:
            loss = float(self._step(ahead.result(), self._rate(factor)))
            if self.steps % s.every == 0:
                self._own = True
                self.refresh(s.fresh)
            ahead = self._threads.submit(self._batch, self.steps)
            yield loss

    def _rate(self, factor: float) -> float:
        return self.settings.rate * factor * min(1.0, (self.steps + 1) / 200)

    def _run_beside(self, rates: Iterable[float], producers: int) -> Iterator[float]:
        with Producers(self.settings, self.images, self._slads, producers, self.steps, self._device) as made:
            if self._own:
                made.renew(self._weights())
            last: Tensor | None = None
            with ThreadPoolExecutor(1) as fetching:
                ahead = fetching.submit(made.batch)
                for factor in rates:
                    batch = ahead.result()
                    ahead = fetching.submit(made.batch)
                    now = self._step(batch, self._rate(factor))
                    # that of the step before, so that nobody waits for the device while it computes this one
                    yield float(now if last is None else last)
                    last = now
                    if self.steps % self.settings.every == 0:
                        self._own = True
                        made.renew(self._weights())

    def _weights(self) -> dict[str, NDArray[np.float32]]:
        return {name: value.cpu().numpy().copy() for name, value in self._mean.state_dict().items()}

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return arrays and JSON facts from which `restore` continues as if there had been no interruption."""
        arrays: dict[str, NDArray[Any]] = {"slads": np.array(self._slads.theta)}
        for part, net in (("net", self._net), ("mean", self._mean)):
            for name, value in net.state_dict().items():
                arrays[f"{part}.{name}"] = value.cpu().numpy()
        for i, moments in self._optimizer.state_dict()["state"].items():
            for name, value in moments.items():
                arrays[f"adam.{i}.{name}"] = np.asarray(value.cpu().numpy())
        if len(self.pool) and not self.settings.framed:  # frames are not kept: new images are drawn
            arrays["pool.truth"] = np.stack(self.pool.truth)
            arrays["pool.rank"] = np.stack([order.rank for order in self.pool.orders])
            arrays["pool.reach"] = np.array([order.reach for order in self.pool.orders])
        facts = {
            "settings": json.loads(json.dumps(asdict(self.settings))),
            "steps": self.steps,
            "own": self._own,
            "next": self.pool.next,
            "rng": self.pool.rng.bit_generator.state,
        }
        return arrays, facts

    def restore(self, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> None:
        """Continue from what `state` gave.

        Raises
        ------
        DataError
            Naming the setting, if the state is of a training with other ones.
        """
        for name, value in json.loads(json.dumps(asdict(self.settings))).items():
            if facts["settings"].get(name) != value:
                raise DataError(
                    f"the interrupted training has {name} {facts['settings'].get(name)}, not {value}"
                )
        for part, net in (("net", self._net), ("mean", self._mean)):
            net.load_state_dict(
                {name: torch.from_numpy(arrays[f"{part}.{name}"]) for name in net.state_dict()}
            )
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in arrays.items():
            if name.startswith("adam."):
                _, i, which = name.split(".")
                moments.setdefault(int(i), {})[which] = torch.from_numpy(np.array(value))
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": moments})
        self._slads = SladsModel(arrays["slads"], (1, 2), radius=self._slads.radius)
        self.pool = Pool(self.settings, self.images, self.pool.rng, self._slads, self._threads)
        if "pool.truth" in arrays:
            self.pool.truth = list(arrays["pool.truth"])
            ranks = zip(arrays["pool.rank"], arrays["pool.reach"], strict=True)
            self.pool.orders = [Order(rank, int(reach)) for rank, reach in ranks]
        self.pool.rng.bit_generator.state = facts["rng"]
        self.pool.next, self.steps, self._own = int(facts["next"]), int(facts["steps"]), bool(facts["own"])
