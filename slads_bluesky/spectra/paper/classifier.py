"""The paper's two-step classifier (section 2.3): a network detects ill spectra, another names the phase."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...protocols import UNCLASSIFIED, Classification
from ..axis import EnergyAxis
from ..base import StoredClassifier
from ..counts import check_batch, check_counts, check_phases
from .detection import DetectionNetwork
from .network import ClassificationNetwork

__all__ = ["PaperClassifier"]


class PaperClassifier(StoredClassifier):
    """Detection by network regression, then classification by a convolutional network.

    Its verdicts are ``ok`` and ``ill`` only. The detection step yields no posterior; an ill spectrum's probability
    is one minus the false-alarm rate for which the threshold was chosen.

    Parameters
    ----------
    phases : tuple of str
    axis : EnergyAxis
    detection : DetectionNetwork
    classification : ClassificationNetwork
    settings : mapping
        How it was trained: ``false_alarm_rate``, ``noise_lambda``, ``seed``.
    """

    kind = "paper"
    version = 1

    def __init__(
        self,
        phases: tuple[str, ...],
        axis: EnergyAxis,
        detection: DetectionNetwork,
        classification: ClassificationNetwork,
        settings: Mapping[str, Any],
    ) -> None:
        self.phases = check_phases(phases)
        self.axis = axis
        self.detection = detection
        self.classification = classification
        self.settings = dict(settings)
        self._ill_probability = 1.0 - float(self.settings["false_alarm_rate"])

    @property
    def n_channels(self) -> int:
        """Length of the spectra that it takes."""
        return self.axis.n_channels

    def classify(self, counts: NDArray[Any]) -> Classification:
        """Label, probability and verdict of one spectrum, (n_channels,) counts; DataError if it is not one."""
        x = check_counts(counts, self.n_channels)
        if self.detection.is_ill(x):
            return Classification(UNCLASSIFIED, self._ill_probability, "ill")
        probability = self.classification.probabilities(x[None])[0]
        best = int(probability.argmax())
        return Classification(best + 1, float(probability[best]), "ok")

    def classify_batch(
        self, counts: NDArray[Any]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.str_]]:
        """Labels, probabilities and verdicts of spectra (n, n_channels), in their order."""
        x = check_batch(counts, self.n_channels)
        labels = np.empty(len(x), np.uint8)
        probability = np.empty(len(x))
        verdicts = np.full(len(x), "ok", dtype="<U10")
        for start in range(0, len(x), 256):
            part = slice(start, start + 256)
            posterior = self.classification.probabilities(x[part])
            labels[part] = posterior.argmax(axis=1) + 1
            probability[part] = posterior.max(axis=1)
            ill = self.detection.is_ill(x[part])
            labels[part][ill] = UNCLASSIFIED
            probability[part][ill] = self._ill_probability
            verdicts[part][ill] = "ill"
        return labels, probability, verdicts

    def _arrays(self) -> dict[str, NDArray[Any]]:
        groups = {
            "detection.weight": self.detection.weights,
            "classification.convolution": self.classification.convolutions,
            "classification.convolution_bias": self.classification.convolution_biases,
            "classification.weight": self.classification.weights,
            "classification.bias": self.classification.biases,
        }
        return {f"{name}.{i}": array for name, group in groups.items() for i, array in enumerate(group)}

    def _description(self) -> dict[str, Any]:
        return {
            "phases": list(self.phases),
            "axis": self.axis.to_json(),
            "scale": self.detection.scale,
            "threshold": self.detection.threshold,
            "settings": self.settings,
        }

    @classmethod
    def _restore(cls, arrays: Mapping[str, NDArray[Any]], description: Mapping[str, Any]) -> PaperClassifier:
        def group(name: str, n: int) -> tuple[NDArray[Any], ...]:
            return tuple(arrays[f"{name}.{i}"] for i in range(n))

        return cls(
            tuple(description["phases"]),
            EnergyAxis.from_json(description["axis"]),
            DetectionNetwork(
                group("detection.weight", 6),
                float(description["scale"]),
                float(description["threshold"]),
            ),
            ClassificationNetwork(
                group("classification.convolution", 2),
                group("classification.convolution_bias", 2),
                group("classification.weight", 4),
                group("classification.bias", 4),
            ),
            description["settings"],
        )
