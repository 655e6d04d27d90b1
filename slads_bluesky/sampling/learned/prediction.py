"""The network's probabilities for many pairs of distances at once, as rollouts need them."""

from __future__ import annotations

from concurrent.futures import Executor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .guided_inputs import GREYS, NOISE_UNIT, RATIO_UNIT, Beside
from .inputs import N_PLANES, planes
from .network import LabelNet

__all__ = ["beside_planes", "predict_pairs", "stack_beside"]


def stack_beside(besides: list[Beside]) -> tuple[Tensor, Tensor]:
    """Return the ratios (n, len(GREYS), rows, columns) int8 and the noise (n,) float32 of some states."""
    ratios = np.stack([beside.ratios for beside in besides])
    return torch.from_numpy(ratios), torch.tensor([beside.noise for beside in besides], dtype=torch.float32)


def beside_planes(ratios: Tensor, noise: Tensor) -> Tensor:
    """Return the network's planes (n, len(GREYS) + 1, rows, columns) float32 of `stack_beside`, on their device."""
    shape = (ratios.shape[0], 1, *ratios.shape[2:])
    share = (noise / NOISE_UNIT)[:, None, None, None].expand(shape)
    return torch.cat([ratios.float() * RATIO_UNIT, share], 1)


def predict_pairs(
    net: LabelNet,
    pairs: list[NDArray[np.uint16]],
    besides: list[Beside] | None,
    threads: Executor,
    device: torch.device | None = None,
) -> list[NDArray[np.float32]]:
    """Probability of the label for each of many (own, other) squared distances (2, rows, columns).

    A network that an image guides sees `besides`; without them it sees no frame and no wrong labels.
    """
    device = device or torch.device("cpu")
    out: list[NDArray[np.float32]] = []
    for i in range(0, len(pairs), 32):
        chunk = pairs[i : i + 32]
        x = np.empty((len(chunk), N_PLANES, *chunk[0].shape[1:]), np.float32)
        list(threads.map(lambda pair, out: planes(pair[0], pair[1], out), chunk, x))
        with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16):
            inputs = torch.from_numpy(x).to(device)
            if net.planes > N_PLANES:
                nothing = Beside(np.zeros((len(GREYS), *chunk[0].shape[1:]), np.int8), 0.0)
                there = besides[i : i + 32] if besides is not None else [nothing] * len(chunk)
                ratios, noise = (part.to(device) for part in stack_beside(there))
                inputs = torch.cat([inputs, beside_planes(ratios, noise)], 1)
            logits = net(inputs.contiguous(memory_format=torch.channels_last))
        out.extend(torch.sigmoid(logits.float())[:, 0].cpu().numpy())
    return out
