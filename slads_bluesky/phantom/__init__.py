"""Simulated objects with a known truth."""

from .acquisition import Acquisition
from .microstructures import make_labels
from .objects import OBJECT_NAMES, Phantom, make_object, object_from_labels, training_spectra

__all__ = [
    "OBJECT_NAMES",
    "Acquisition",
    "Phantom",
    "make_labels",
    "make_object",
    "object_from_labels",
    "training_spectra",
]
