"""Training of the evidence network: on generic states of generated images, then on those that its own policy meets.

The network starts from the learned sampler's, whose planes are the limit of certain labels. Each example is an image,
what was measured of it, and one of its phases against the others; the loss is the log of the cross entropy of each
example, so that sure states weigh as much as uncertain ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ...errors import ConfigError
from ...images.generated import log_uniform, training_image
from ...images.labels import number_labels
from ...progress import Progress, no_progress
from ..learned.model import LearnedModel, shipped_model
from ..learned.network import LabelNet, load_network
from ..learned.rollout import spread_mask
from ..picks import pick_batch
from .evidence import one_against_rest_ratio
from .mapper import EvidenceMapper
from .model import JointModel
from .planes import evidence_distances, evidence_planes, strength
from .training_states import random_spectra, random_state

__all__ = ["train_joint"]

BATCH = 3
RATES = (1e-3, 8e-4)
"""Highest learning rate of each stage; each falls along a half cosine."""
FLOORS = (0.003, 0.002)
"""Added to the cross entropy before its logarithm, in each stage."""
IMAGES = 60
POOL, REFILL, REFILL_EVERY = 500, 20, 200
"""States of the policy that are kept, images rolled out at a time, steps between."""
ON_POLICY = 0.65
"""Share of the second stage's examples that are states of the policy."""
CAP = 12.0
"""Largest log-likelihood ratio of a pixel that is added to the network's answer in the loss."""
STEPS_OF_A_ROLLOUT, STATES_OF_A_ROLLOUT = 45, 6

_State = tuple[NDArray[np.uint8], NDArray[np.float32]]


def train_joint(
    *,
    steps: tuple[int, int],
    seed: int = 0,
    start: LearnedModel | JointModel | None = None,
    rate: float = 1.0,
    progress: Progress = no_progress,
) -> JointModel:
    """Train an evidence network on the processor, in one thread; the same arguments give the same weights.

    Parameters
    ----------
    steps : (int, int)
        Of the stage on generic states and of the stage on the policy's.
    seed : int
    start : LearnedModel or JointModel, optional
        Weights to begin with; by default the learned sampler's general model. With an evidence network's own, its
        training is continued.
    rate : float
        Factor on the learning rates: less than 1 to continue a training.
    progress : callable
        Called as ``progress(stage, fraction)``.

    Returns
    -------
    JointModel
        Weights of the moving average.

    Raises
    ------
    ConfigError
        If there are no steps, or the rate is not positive.
    """
    if not (math.isfinite(rate) and rate > 0):
        raise ConfigError(f"rate must be positive, not {rate:g}")
    if min(steps) < 0 or sum(steps) < 1:
        raise ConfigError(f"steps of the two stages: at least one in all, not {steps}")
    origin = start if start is not None else shipped_model()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        training = _Training(origin, np.random.default_rng(seed), rate)
        for stage, n in enumerate(steps):
            training.run(stage, n, lambda done, stage=stage: progress(("states", "policy")[stage], done))
    finally:
        torch.set_num_threads(threads)
    about: dict[str, Any] = {"start": origin.sha256, "steps": list(steps), "seed": seed, "rate": rate}
    if isinstance(origin, JointModel):
        about["before"] = dict(origin.metadata)
    about["by"] = "slads-bluesky train joint"
    return training.model(about)


class _Training:
    def __init__(self, origin: LearnedModel | JointModel, rng: np.random.Generator, rate: float) -> None:
        self.rng, self.widths, self.rate = rng, tuple(origin.widths), rate
        self.net: LabelNet = load_network(origin).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average: dict[str, Tensor] = {k: v.clone() for k, v in self.net.state_dict().items()}
        self.images = [self._image() for _ in range(IMAGES)]
        self.pool: list[_State] = []

    def model(self, about: Mapping[str, Any]) -> JointModel:
        weights = {name: value.numpy().astype(np.float16) for name, value in self.average.items()}
        return JointModel(self.widths, weights, dict(about))

    def run(self, stage: int, steps: int, progress: Any) -> None:
        if not steps:
            return
        self.net.load_state_dict(self.average)
        optimizer = torch.optim.AdamW(self.net.parameters(), lr=self.rate * RATES[stage], weight_decay=1e-4)
        for step in range(steps):
            if stage == 1 and step % REFILL_EVERY == 0:
                self._refill(REFILL if self.pool else 3 * REFILL)
            self._step(stage, step, steps, optimizer)
            progress((step + 1) / steps)

    def _step(self, stage: int, step: int, steps: int, optimizer: torch.optim.Optimizer) -> None:
        planes, own, truth = self._batch(stage)
        rate = (
            self.rate
            * RATES[stage]
            * min(1.0, (step + 1) / 50)
            * max(0.02, 0.5 * (1 + math.cos(math.pi * step / steps)))
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16):
            found = self.net(planes)
        entropy = F.binary_cross_entropy_with_logits(found.float() + own, truth, reduction="none")
        loss = torch.log(entropy.mean(dim=(1, 2, 3)) + FLOORS[stage]).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        optimizer.step()
        weight = min(0.995, (step + 1) / (step + 10))
        with torch.no_grad():
            for name, value in self.net.state_dict().items():
                self.average[name].mul_(weight).add_(value, alpha=1.0 - weight)

    def _batch(self, stage: int) -> tuple[Tensor, Tensor, Tensor]:
        examples = [self._example(stage) for _ in range(BATCH)]
        planes, own, truth = (np.stack(part) for part in zip(*examples, strict=True))
        return (
            torch.from_numpy(planes).to(memory_format=torch.channels_last),
            torch.from_numpy(own[:, None]),
            torch.from_numpy(truth[:, None]),
        )

    def _example(self, stage: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Planes (5, side, side), the pixels' own evidence and the truth of one phase, (side, side) each."""
        rng = self.rng
        image, evidence = self._state(stage)
        turns, mirror = int(rng.integers(4)), bool(rng.random() < 0.5)
        image, evidence = np.rot90(image, turns), np.rot90(evidence, turns)
        if mirror:
            image, evidence = image[::-1], evidence[::-1]
        phase = int(rng.integers(image.max()))
        ratio = one_against_rest_ratio(np.ascontiguousarray(evidence), phase)
        return (
            evidence_planes(np.ascontiguousarray(strength(ratio))),
            np.clip(ratio, -CAP, CAP).astype(np.float32),
            (image == phase + 1).astype(np.float32),
        )

    def _state(self, stage: int) -> _State:
        rng = self.rng
        if stage == 1 and rng.random() < ON_POLICY:
            return self.pool[int(rng.integers(len(self.pool)))]
        if rng.random() < 0.2:
            self.images[int(rng.integers(len(self.images)))] = self._image()
        image = self.images[int(rng.integers(len(self.images)))]
        evidence = random_state(image, rng)
        if stage == 1 and rng.random() < 0.25:  # an even sparse mask
            seen = np.zeros(image.size, bool)
            seen[spread_mask(rng, image.shape, int(image.size * log_uniform(rng, 0.003, 0.3)))] = True
            evidence = np.where(seen.reshape(*image.shape, 1), evidence, np.float32(0.0))
        return image, evidence

    def _image(self) -> NDArray[np.uint8]:
        return number_labels(training_image(self.rng))

    # ---- states that the policy meets

    def _refill(self, images: int) -> None:
        mapper = EvidenceMapper(self.model({}))
        for _ in range(images):
            self.pool += self._roll_out(mapper)
        del self.pool[: max(0, len(self.pool) - POOL)]

    def _roll_out(self, mapper: EvidenceMapper) -> list[_State]:
        """Some states of a map that the network's own policy takes, from an even mask or a first raster."""
        rng, image = self.rng, self._image()
        shape, n = image.shape, image.size
        spectra = random_spectra(rng, int(image.max()))
        log_spectra, truth = np.log(spectra).T, image.ravel() - 1
        dose, floor = log_uniform(rng, 0.7, 40.0), log_uniform(rng, 1e-3, 2e-2)
        exponent, growth = rng.uniform(0.5, 1.5), rng.uniform(0.08, 0.25)
        noise = float(rng.choice([0.0, 0.3]))
        raster = bool(rng.random() < 0.15)
        if raster:
            picks, now = np.arange(n), log_uniform(rng, 0.2, 5.0)
        else:
            picks = spread_mask(rng, shape, int(n * log_uniform(rng, 0.004, 0.04)))
            now = dose * float(rng.choice([1.0, 1.0, 2.0, 4.0]))
        evidence, visits = np.zeros((n, len(spectra))), 0
        states: list[NDArray[np.float32]] = []
        for _ in range(STEPS_OF_A_ROLLOUT):
            evidence[picks] += rng.poisson(now * spectra[truth[picks]]) @ log_spectra
            evidence[picks] -= evidence[picks].max(axis=1, keepdims=True)
            visits, now = visits + len(picks), dose
            grid = evidence.reshape(*shape, -1)
            states.append(np.maximum(grid, -60.0).astype(np.float32))
            unsure = (1.0 - mapper(grid).probability.max(axis=-1)).astype(np.float32)
            if unsure.mean() < 3e-4 or visits > 0.6 * n + (n if raster else 0):
                break
            score = self._score(grid, unsure, floor, exponent)
            if noise:
                score = score * np.exp(noise * rng.standard_normal(shape)).astype(np.float32)
            if not np.isfinite(score).any():
                break
            known = strength(_gap(grid))
            distance = np.sqrt(evidence_distances(known)[0]).astype(np.float32)
            picks = pick_batch(score, np.maximum(distance, 1.0), max(16, int(growth * min(visits, n // 4))))
        kept = np.unique(np.linspace(0, len(states) - 1, min(STATES_OF_A_ROLLOUT, len(states))).round())
        return [(image, states[int(i)]) for i in kept]

    @staticmethod
    def _score(
        grid: NDArray[np.float64], unsure: NDArray[np.float32], floor: float, exponent: float
    ) -> NDArray[np.float32]:
        known = strength(_gap(grid))
        distance = np.sqrt(evidence_distances(known)[0])
        score = (unsure + floor) * np.maximum(distance, 0.7) ** exponent
        return np.where(known >= 0.999, -np.inf, score).astype(np.float32)


def _gap(grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-likelihood ratio of the best label to the next, (rows, columns)."""
    top = np.sort(grid, axis=-1)
    return np.asarray(top[..., -1] - top[..., -2]) if grid.shape[-1] > 1 else np.zeros(grid.shape[:2])
