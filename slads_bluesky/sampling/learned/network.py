"""The network of the learned sampler: a small U-Net that gives every pixel its probability of one label.

One label against the rest at a time, so that one set of weights serves any number of phases. The first and last
layers fold 2 × 2 pixels into channels, which halves the work of every level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from .inputs import N_PLANES
from .weights import planes_of_weights

__all__ = ["MULTIPLE", "LabelNet", "load_network"]

MULTIPLE = 16
"""Rows and columns of the network's input are multiples of this (for four levels)."""


class _Pair(nn.Module):
    """Two 3 × 3 convolutions, each followed by a rectifier."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(n_in, n_out, 3, padding=1)
        self.second = nn.Conv2d(n_out, n_out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu_(self.second(F.relu_(self.first(x))))


class LabelNet(nn.Module):
    """U-Net with additive skips; Ronneberger et al. 2015, arXiv:1505.04597, made small.

    Parameters
    ----------
    widths : sequence of int
        Channels of each level, finest first; each level halves rows and columns.
    planes : int
        Of the input: `inputs.N_PLANES`, or `guided_inputs.N_GUIDED` with an image beside the labels.
    """

    def __init__(self, widths: Sequence[int], planes: int = N_PLANES) -> None:
        super().__init__()
        self.widths, self.planes = tuple(int(w) for w in widths), int(planes)
        n_in = (4 * self.planes, *self.widths[:-1])
        self.down = nn.ModuleList(_Pair(a, b) for a, b in zip(n_in, self.widths, strict=True))
        steps = list(zip(self.widths[:0:-1], self.widths[-2::-1], strict=True))
        self.narrow = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in steps)
        self.up = nn.ModuleList(_Pair(b, b) for _, b in steps)
        self.out = nn.Conv2d(self.widths[0], 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (n, 1, rows, columns) of planes (n, `planes`, rows, columns)."""
        return F.pixel_shuffle(self.folded(F.pixel_unshuffle(x, 2)), 2)

    def folded(self, x: Tensor) -> Tensor:
        """Return logits (n, 4, rows / 2, columns / 2) of planes (n, 4 · `planes`, rows / 2, columns / 2), folded."""
        skips = []
        for level, pair in enumerate(self.down):
            x = pair(x if level == 0 else F.avg_pool2d(x, 2))
            skips.append(x)
        for narrow, pair, skip in zip(self.narrow, self.up, skips[-2::-1], strict=True):
            x = pair(F.interpolate(narrow(x), scale_factor=2.0) + skip)
        return cast(Tensor, self.out(x))


class _Weights(Protocol):
    """A model of this network: `model.LearnedModel` and `joint.model.JointModel` are."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level."""

    @property
    def weights(self) -> Mapping[str, NDArray[np.float16]]:
        """By the names of ``LabelNet.state_dict()``."""


def load_network(model: _Weights) -> LabelNet:
    """Return the network of `model` in float32."""
    net = LabelNet(model.widths, planes_of_weights(model.weights))
    net.load_state_dict({k: torch.from_numpy(v.astype(np.float32)) for k, v in model.weights.items()})
    return net
