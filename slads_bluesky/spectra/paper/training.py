"""Training of the paper's two networks: 24 spectra a phase, half to train, half to validate (section 3.1.3).

Poisson noise is drawn afresh for every pass, as the paper adds it to each spectrum. Everything is seeded; torch's
global random state and number of threads are as they were afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ...errors import ConfigError
from ...threads import one_thread
from ..axis import EnergyAxis
from ..counts import check_training
from .classifier import PaperClassifier
from .detection import HIDDEN_LAYERS, DetectionNetwork, Q, choose_threshold, preset_line
from .network import (
    CONV_PADDING,
    FEATURES,
    KERNEL,
    NEURONS,
    POOL_PADDING,
    STRIDE,
    ClassificationNetwork,
    flat_size,
)

__all__ = ["make_torch_network", "to_numpy", "train_classification", "train_paper_classifier"]

Progress = Callable[[str, float], None]

_COPIES = 200
_DETECTION_PASSES = 300
_CLASSIFICATION_PASSES = 120
_STARTS = 5


def train_paper_classifier(
    spectra: Mapping[str, NDArray[Any]],
    axis: EnergyAxis,
    *,
    false_alarm_rate: float = 1e-3,
    noise_lambda: float = 2.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> PaperClassifier:
    """Train detection (Eq. 7) and classification (Eq. 13), and choose the threshold T (Eq. 11).

    Parameters
    ----------
    spectra : phase name to (M, n_channels) counts
        M ≥ 4 spectra of each phase, as recorded, without the noise; the even ones train, the odd ones validate.
    axis : EnergyAxis
        Of the spectra.
    false_alarm_rate : float
        Wanted part of good spectra that the detection step calls ill.
    noise_lambda : float
        Mean of the Poisson noise that is added in every channel (the paper's 2); 0 for none.
    seed : int
    progress : callable of (str, float), optional
        Called with the stage and the fraction of it that is done, 0 to 1.

    Returns
    -------
    PaperClassifier

    Raises
    ------
    ConfigError, DataError
        Naming the phase or the parameter that cannot be used.
    """
    if not (np.isfinite(noise_lambda) and noise_lambda >= 0):
        raise ConfigError(f"noise must have a mean of 0 or more counts a channel, not {noise_lambda}")
    checked = check_training(spectra, axis.n_channels, least=4)
    report = progress if progress is not None else _silent
    rng = np.random.default_rng([seed, 0x5AD5])
    train = np.concatenate([table[0::2] for table in checked.values()])
    labels = np.concatenate([np.full(len(t[0::2]), i) for i, t in enumerate(checked.values())])

    def noisy(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        return counts + rng.poisson(noise_lambda, counts.shape)

    with _torch_as_it_was(seed):
        detection = _train_detection(noisy, train, report)
        variances = [
            np.stack([detection.variance(noisy(table[1::2])) for _ in range(_COPIES)], axis=1)
            for table in checked.values()
        ]
        threshold = choose_threshold(variances, false_alarm_rate)
        detection = DetectionNetwork(detection.weights, detection.scale, threshold)
        classification = _best_of(noisy, train, labels, checked, report)
    return PaperClassifier(
        tuple(checked),
        axis,
        detection,
        classification,
        {"false_alarm_rate": false_alarm_rate, "noise_lambda": noise_lambda, "seed": seed},
    )


def _silent(what: str, part: float) -> None:
    """Drop the progress."""


@contextmanager
def _torch_as_it_was(seed: int) -> Iterator[None]:
    """One thread and a seed of our own inside; afterwards what was before."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(seed)
        # layers of this size lose by more, and sums come out the same on every machine
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


Noisy = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def _train_detection(noisy: Noisy, train: NDArray[np.float64], report: Progress) -> DetectionNetwork:
    scale = float(np.sqrt((train**2).sum(axis=1).mean()))
    sizes = [train.shape[1], *[Q] * HIDDEN_LAYERS]
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out, bias=False), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Linear(Q, Q, bias=False))
    line = torch.from_numpy(preset_line())
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _DETECTION_PASSES)
    for step in range(_DETECTION_PASSES):
        x = torch.from_numpy(DetectionNetwork.prepare(noisy(train), scale))
        loss = 0.5 * ((network(x) - line) ** 2).sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        report("detection network", (step + 1) / _DETECTION_PASSES)
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    return DetectionNetwork(
        tuple(np.ascontiguousarray(_array(layer.weight).T) for layer in linear),
        scale,
    )


def train_classification(
    spectra: Mapping[str, NDArray[np.float64]],
    noisy: Noisy,
    seed: int,
    passes: int = _CLASSIFICATION_PASSES,
) -> ClassificationNetwork:
    """Train the second network alone.

    Parameters
    ----------
    spectra : phase name to (M, n_channels) float64
    noisy : callable
        Makes what the network sees of counts (n, n_channels); drawn afresh for every pass.
    seed : int
    passes : int
    """
    train = np.concatenate([table[0::2] for table in spectra.values()])
    labels = np.concatenate([np.full(len(t[0::2]), i) for i, t in enumerate(spectra.values())])
    with _torch_as_it_was(seed):
        return _best_of(noisy, train, labels, spectra, _silent, passes)


def _best_of(
    noisy: Noisy,
    train: NDArray[np.float64],
    labels: NDArray[np.int_],
    spectra: Mapping[str, NDArray[np.float64]],
    report: Progress,
    passes: int = _CLASSIFICATION_PASSES,
) -> ClassificationNetwork:
    """Train until the validation half is separated, with other starting weights where it is not.

    The last hidden layer has 8 rectifiers; from some starts too many of them die to hold every phase.
    """
    validation = np.concatenate([table[1::2] for table in spectra.values()])
    truth = np.concatenate([np.full(len(t[1::2]), i) for i, t in enumerate(spectra.values())])
    best, least = None, np.inf
    for _ in range(_STARTS):
        network = _train_classification(noisy, train, labels, len(spectra), report, passes)
        probability = network.probabilities(noisy(validation))[np.arange(len(truth)), truth]
        loss = float(-np.log(np.maximum(probability, 1e-12)).mean())
        if loss < least:
            best, least = network, loss
        if probability.min() > 0.9:
            break
    assert best is not None
    return best


def make_torch_network(n_channels: int, n_phases: int) -> nn.Sequential:
    """Make the untrained network in torch: input (n, 1, n_channels), output (n, n_phases) logits."""
    return nn.Sequential(
        nn.Conv1d(1, FEATURES[0], KERNEL, STRIDE, CONV_PADDING),
        nn.ReLU(),
        nn.MaxPool1d(KERNEL, STRIDE, POOL_PADDING),
        nn.Conv1d(FEATURES[0], FEATURES[1], KERNEL, STRIDE, CONV_PADDING),
        nn.ReLU(),
        nn.MaxPool1d(KERNEL, STRIDE, POOL_PADDING),
        nn.Flatten(),
        nn.Linear(flat_size(n_channels), NEURONS[0]),
        nn.ReLU(),
        nn.Linear(NEURONS[0], NEURONS[1]),
        nn.ReLU(),
        nn.Linear(NEURONS[1], NEURONS[2]),
        nn.ReLU(),
        nn.Linear(NEURONS[2], n_phases),
    )


def to_numpy(network: nn.Sequential) -> ClassificationNetwork:
    """Take the weights out of a trained torch network."""
    convolutions = [layer for layer in network if isinstance(layer, nn.Conv1d)]
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    return ClassificationNetwork(
        tuple(np.ascontiguousarray(c.weight.detach().numpy().transpose(1, 2, 0)) for c in convolutions),
        tuple(_array(c.bias) for c in convolutions),
        tuple(np.ascontiguousarray(_array(fc.weight).T) for fc in linear),
        tuple(_array(fc.bias) for fc in linear),
    )


def _array(tensor: torch.Tensor | None) -> NDArray[np.float32]:
    assert tensor is not None
    return np.array(tensor.detach().numpy(), dtype=np.float32)


def _train_classification(
    noisy: Noisy,
    train: NDArray[np.float64],
    labels: NDArray[np.int_],
    n_phases: int,
    report: Progress,
    passes: int,
) -> ClassificationNetwork:
    network = make_torch_network(train.shape[1], n_phases)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, passes)
    target = torch.from_numpy(labels.astype(np.int64))
    entropy = nn.CrossEntropyLoss()
    for step in range(passes):
        x = torch.from_numpy(ClassificationNetwork.prepare(noisy(train))[:, None, :])
        loss = entropy(network(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        report("classification network", (step + 1) / passes)
    return to_numpy(network)
