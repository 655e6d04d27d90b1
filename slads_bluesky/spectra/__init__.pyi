from .axis import EnergyAxis as EnergyAxis
from .dwell import SequentialTest as SequentialTest
from .dwell import count_preset as count_preset
from .likelihood.classifier import PhaseClassifier as PhaseClassifier
from .loading import load_classifier as load_classifier
from .paper.classifier import PaperClassifier as PaperClassifier
from .paper.training import train_paper_classifier as train_paper_classifier
from .physics.detector import Detector as Detector
from .physics.spectrum import expected_counts as expected_counts

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
