"""Simulated objects with a known truth."""

from .acquisition import Acquisition
from .imperfections import Imperfections
from .microstructures import make_labels
from .objects import OBJECT_NAMES, make_object, object_from_labels, training_spectra
from .specimen import Phantom

__all__ = [
    "OBJECT_NAMES",
    "Acquisition",
    "Imperfections",
    "Phantom",
    "make_labels",
    "make_object",
    "object_from_labels",
    "training_spectra",
]
