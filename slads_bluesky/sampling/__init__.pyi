from .learned.adaptation import adapt as adapt
from .learned.model import LearnedModel as LearnedModel
from .learned.model import shipped_model as shipped_model
from .learned.sampler import LearnedSampler as LearnedSampler
from .masks import initial_pixels as initial_pixels
from .slads.model import SladsModel as SladsModel
from .slads.reconstruct import knn_reconstruct as knn_reconstruct
from .slads.sampler import SladsSampler as SladsSampler
from .slads.simulate import distortion_curve as distortion_curve
from .slads.simulate import sampling_order as sampling_order
from .slads.training import train_slads as train_slads

__all__ = [
    "LearnedModel",
    "LearnedSampler",
    "SladsModel",
    "SladsSampler",
    "adapt",
    "distortion_curve",
    "initial_pixels",
    "knn_reconstruct",
    "sampling_order",
    "shipped_model",
    "train_slads",
]
