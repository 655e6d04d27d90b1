"""Which phase? The paper's convolutional network, sections 2.3.2 and 3.1.3, and its fast forward pass.

Two convolutions (kernel 10, stride 2; 8 and 16 features), each followed by a rectifier and a max-pooling of the same
kernel and stride; a flat layer; fully connected layers of 100, 32 and 8 neurons; one output a phase and a softmax
(Eq. 12). With 2040 channels, padding 4 (convolution) and 5 (pooling), the flat layer has the paper's 2048 values.
Trained in torch (`training`), run in numba and numpy: one spectrum does not pay for a framework's dispatch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..jit import compiled

__all__ = ["ClassificationNetwork", "flat_size"]

KERNEL, STRIDE, CONV_PADDING, POOL_PADDING = 10, 2, 4, 5
FEATURES = (8, 16)
NEURONS = (100, 32, 8)


def _after_convolution(n: int) -> int:
    return (n + 2 * CONV_PADDING - KERNEL) // STRIDE + 1


def _after_pooling(n: int) -> int:
    return (n + 2 * POOL_PADDING - KERNEL) // STRIDE + 1


def flat_size(n_channels: int) -> int:
    """Values in the flat layer; 2048 for 2040 channels."""
    for _ in FEATURES:
        n_channels = _after_pooling(_after_convolution(n_channels))
    return FEATURES[-1] * n_channels


@dataclass(frozen=True, eq=False)
class ClassificationNetwork:
    """The trained network, for numpy.

    Parameters
    ----------
    convolutions : two (n_in, KERNEL, n_out) float32
    convolution_biases : two (n_out,) float32
    weights : four (n_in, n_out) float32
        Of the fully connected layers; the first takes the flat layer as (features, positions), like torch.
    biases : four (n_out,) float32
    """

    convolutions: tuple[NDArray[np.float32], ...]
    convolution_biases: tuple[NDArray[np.float32], ...]
    weights: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]

    @staticmethod
    def prepare(counts: NDArray[Any]) -> NDArray[np.float32]:
        """Input for counts (n, n_channels): square roots, each spectrum scaled to a root mean square of 1."""
        total = counts.sum(axis=1, keepdims=True, dtype=np.float64)
        factor = counts.shape[1] / np.maximum(total, 1e-30)
        return np.asarray(np.sqrt(counts * factor), dtype=np.float32)

    def logits(self, counts: NDArray[Any]) -> NDArray[np.float32]:
        """Outputs before the softmax for counts (n, n_channels): (n, L)."""
        x = _flat_layer(
            self.prepare(counts),
            self.convolutions[0],
            self.convolutions[1],
            self.convolution_biases[0],
            self.convolution_biases[1],
            len(self.weights[0]),
        )
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = np.maximum(x @ weight + bias, 0.0)
        return np.asarray(x @ self.weights[-1] + self.biases[-1])

    def probabilities(self, counts: NDArray[Any]) -> NDArray[np.float64]:
        """Softmax of the outputs (Eq. 12) for counts (n, n_channels): (n, L)."""
        logits = self.logits(counts).astype(np.float64)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))


@compiled
def _halves(x: NDArray[np.float32], padding: int, count: int) -> NDArray[np.float32]:
    """Even and odd positions of padded x (features, n): (2, features, count); what a stride of 2 sees in a row."""
    features, n = x.shape
    out = np.zeros((2, features, count), np.float32)
    for f in range(features):
        for position in range(min(n, 2 * count - padding)):
            place = position + padding
            out[place % 2, f, place // 2] = x[f, position]
    return out


@compiled
def _convolve(
    x: NDArray[np.float32], kernel: NDArray[np.float32], bias: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Convolution with padding and stride, and the rectifier: (n_in, n) to (n_out, positions)."""
    n_in, n = x.shape
    n_out = kernel.shape[2]
    count = (n + 2 * CONV_PADDING - KERNEL) // STRIDE + 1
    halves = _halves(x, CONV_PADDING, count + KERNEL // 2)
    out = np.empty((n_out, count), np.float32)
    for o in range(n_out):
        row = out[o]
        row[:] = bias[o]
        for i in range(n_in):
            for k in range(KERNEL):
                weight = kernel[i, k, o]
                source = halves[k % 2, i, k // 2 : k // 2 + count]
                for position in range(count):
                    row[position] += weight * source[position]
        for position in range(count):
            row[position] = max(row[position], np.float32(0.0))
    return out


@compiled
def _pool(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Max-pooling of x ≥ 0, (features, n); padding with 0 is as good as with -∞ after a rectifier."""
    features, n = x.shape
    count = (n + 2 * POOL_PADDING - KERNEL) // STRIDE + 1
    halves = _halves(x, POOL_PADDING, count + KERNEL // 2)
    out = np.zeros((features, count), np.float32)
    for f in range(features):
        row = out[f]
        for k in range(KERNEL):
            source = halves[k % 2, f, k // 2 : k // 2 + count]
            for position in range(count):
                row[position] = max(row[position], source[position])
    return out


@compiled
def _flat_layer(
    x: NDArray[np.float32],
    kernel1: NDArray[np.float32],
    kernel2: NDArray[np.float32],
    bias1: NDArray[np.float32],
    bias2: NDArray[np.float32],
    size: int,
) -> NDArray[np.float32]:
    """Both convolutions and poolings of inputs (n, n_channels): the flat layer, (n, size)."""
    out = np.empty((len(x), size), np.float32)
    for i in range(len(x)):
        first = _pool(_convolve(x[i].reshape(1, -1), kernel1, bias1))
        out[i] = _pool(_convolve(first, kernel2, bias2)).ravel()
    return out
