"""From a model file to a network with its weights."""

from __future__ import annotations

import numpy as np
import torch

from .model import LearnedModel
from .network import LabelNet

__all__ = ["load_network"]


def load_network(model: LearnedModel) -> LabelNet:
    """Return the network of `model` in float32."""
    net = LabelNet(model.widths)
    net.load_state_dict({k: torch.from_numpy(v.astype(np.float32)) for k, v in model.weights.items()})
    return net
