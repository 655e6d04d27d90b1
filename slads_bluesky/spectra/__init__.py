"""What was measured: the energy axis, a physics model, detection and classification of EDS spectra.

The public names are imported when first used, so that ``spectra.axis`` alone costs neither torch nor numba.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .axis import EnergyAxis
    from .classifier import PhaseClassifier
    from .detector import Detector
    from .loading import load_classifier
    from .paper import PaperClassifier
    from .physics import expected_counts
    from .sequential import SequentialTest, count_preset
    from .training import train_paper_classifier

__all__ = [
    "Detector",
    "EnergyAxis",
    "PaperClassifier",
    "PhaseClassifier",
    "SequentialTest",
    "count_preset",
    "expected_counts",
    "load_classifier",
    "train_paper_classifier",
]

_HOME = {
    "Detector": "detector",
    "EnergyAxis": "axis",
    "PaperClassifier": "paper",
    "PhaseClassifier": "classifier",
    "SequentialTest": "sequential",
    "count_preset": "sequential",
    "expected_counts": "physics",
    "load_classifier": "loading",
    "train_paper_classifier": "training",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
