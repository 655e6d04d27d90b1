"""The network's probabilities for many pairs of distances at once, as rollouts need them."""

from __future__ import annotations

from concurrent.futures import Executor

import numpy as np
import torch
from numpy.typing import NDArray

from .inputs import N_PLANES, planes
from .network import LabelNet

__all__ = ["predict_pairs"]


def predict_pairs(
    net: LabelNet,
    pairs: list[NDArray[np.uint16]],
    threads: Executor,
    device: torch.device | None = None,
) -> list[NDArray[np.float32]]:
    """Probability of the label for each of many (own, other) squared distances (2, rows, columns)."""
    device = device or torch.device("cpu")
    out: list[NDArray[np.float32]] = []
    for i in range(0, len(pairs), 32):
        chunk = pairs[i : i + 32]
        x = np.empty((len(chunk), N_PLANES, *chunk[0].shape[1:]), np.float32)
        list(threads.map(lambda pair, out: planes(pair[0], pair[1], out), chunk, x))
        with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16):
            inputs = torch.from_numpy(x).to(device)
            logits = net(inputs.contiguous(memory_format=torch.channels_last))
        out.extend(torch.sigmoid(logits.float())[:, 0].cpu().numpy())
    return out
