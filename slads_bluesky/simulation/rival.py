"""The rival of an adaptive map of a simulated specimen: a fast raster of every pixel with the same inference.

What a user has today: each pixel gets a few counts, and the map is inferred from all of them with a spatial prior.
The raster pays no settle times, which favours it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..phantom import Phantom
from ..sampling.joint.infer import infer_map
from ..sampling.joint.mapper import EvidenceMapper
from ..sampling.joint.model import shipped_joint_model
from ..sampling.joint.reference import denoise
from ..spectra import PhaseClassifier
from .evidence import EvidenceSource

__all__ = ["RasterMap", "fast_raster"]


@dataclass(frozen=True)
class RasterMap:
    """Total distortion of a raster's map, by what it is inferred with."""

    counts: float
    """Counts a pixel."""
    alone: float
    """Each pixel by its own counts."""
    reference: float
    """The Potts field, its strength chosen by the counts."""
    network: float
    """Our best inference: network, field or both, by what predicts hidden counts best."""


def fast_raster(phantom: Phantom, classifier: PhaseClassifier, counts: float, seed: int = 0) -> RasterMap:
    """Map every pixel with so many counts, and infer the map in each way.

    Parameters
    ----------
    phantom : Phantom
    classifier : PhaseClassifier
        Of its phases.
    counts : float
        Expected counts a pixel.
    seed : int
        Of the counts.

    Returns
    -------
    RasterMap

    Examples
    --------
    >>> from slads_bluesky.phantom import make_object
    >>> from slads_bluesky.simulation.models import prepare_models
    >>> models = prepare_models("powder-32", sampler="joint", classifier="likelihood")
    >>> found = fast_raster(make_object("powder-32", 0), models.classifier, counts=2.0)
    >>> found.network < found.alone
    True
    """
    evidence = EvidenceSource(phantom, classifier, seed + 1000).raster(counts)

    def wrong(labels: np.ndarray[tuple[int, ...], np.dtype[np.integer]]) -> float:
        return float((labels != phantom.truth).mean())

    best = infer_map(evidence, EvidenceMapper(shipped_joint_model()))
    return RasterMap(
        counts, wrong(evidence.argmax(axis=2) + 1), wrong(denoise(evidence).labels), wrong(best.labels)
    )
