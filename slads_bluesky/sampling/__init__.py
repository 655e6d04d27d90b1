"""Where to measure next: dynamic sampling of label images.

Public names are loaded when they are first asked for, so that importing the package compiles nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "LearnedModel": "learned_model",
    "LearnedSampler": "learned",
    "NetworkReconstructor": "learned_reconstruct",
    "SladsModel": "model",
    "SladsSampler": "sampler",
    "adapt": "learned_training",
    "boundary_fraction": "distortion",
    "check_label_image": "distortion",
    "distortion_curve": "order",
    "initial_pixels": "initial",
    "knn_reconstruct": "reconstruct",
    "sampling_order": "order",
    "shipped_model": "learned_model",
    "total_distortion": "distortion",
    "train_slads": "training",
}

__all__ = sorted(_HOME)  # pyright: ignore


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    """Public names and what is loaded already."""
    return sorted({*globals(), *_HOME})
