from .agent import SladsAgent as SladsAgent
from .analysis.load import load_map as load_map
from .grid import ScanGrid as ScanGrid
from .instrument.startup import open_session as open_session
from .plans.adaptive import adaptive_map as adaptive_map
from .record.catalog.store import open_catalog as open_catalog
from .record.runs import find_run as find_run
from .sampling.learned.sampler import LearnedSampler as LearnedSampler
from .sampling.slads.sampler import SladsSampler as SladsSampler
from .spectra.likelihood.classifier import PhaseClassifier as PhaseClassifier

__version__: str
__all__ = [
    "LearnedSampler",
    "PhaseClassifier",
    "ScanGrid",
    "SladsAgent",
    "SladsSampler",
    "adaptive_map",
    "find_run",
    "load_map",
    "open_catalog",
    "open_session",
]
