"""The classifier on the energy scale that the detector states: a recalibrated detector needs no new classifier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, DataError
from ..spectra.axis import EnergyAxis
from ..spectra.rebin import same_detector

if TYPE_CHECKING:
    from .parts import MapModels

__all__ = ["can_move", "detector_axis", "match_energy_scale"]


def can_move(classifier: Any, offset_kev: float, width_kev: float, n_channels: int) -> bool:
    """Whether a classifier can be moved to a detector's scale: it has templates, and the detector is the same."""
    try:
        axis = EnergyAxis(offset_kev, width_kev, n_channels)
    except ConfigError:
        return False
    return hasattr(classifier, "on_axis") and same_detector(classifier.axis, axis)


def detector_axis(eds: Any) -> EnergyAxis | None:
    """Return the energy scale that a detector states, None while it does not answer."""
    try:
        values = eds.read_configuration()
        offset, width = (float(values[f"{eds.name}_energy_{key}"]["value"]) for key in ("offset", "width"))
        return EnergyAxis(offset, width, int(eds.describe()[f"{eds.name}_spectrum"]["shape"][0]))
    except Exception:  # away, or without a calibration: what it refuses when it is staged says why
        return None


def match_energy_scale(eds: Any, models: MapModels, warn: Callable[[str], None]) -> MapModels:
    """Return models whose classifier has the detector's energy scale, and warn where it was moved to it.

    Only scales that one detector may have from day to day are brought together (`spectra.rebin.same_detector`); any
    other is refused when the detector is staged. The moved classifier has a hash of its own and is recorded as the
    run's, so a replay classifies with the very same one.

    Parameters
    ----------
    eds : device
        With ``energy_offset`` and ``energy_width`` in its configuration, in keV.
    models : MapModels
    warn : callable
        Called with a sentence.
    """
    classifier: Any = models.classifier
    if not hasattr(classifier, "on_axis"):
        return models
    axis = detector_axis(eds)
    if axis is None or axis == classifier.axis:
        return models
    try:
        moved = classifier.on_axis(axis)
    except DataError:
        return models
    gain = axis.width_kev / classifier.axis.width_kev - 1.0
    offset = axis.offset_kev - classifier.axis.offset_kev
    warn(
        f"{eds.name}: its energy scale differs from the classifier's by {100.0 * gain:+.3g} % in width and "
        f"{1e3 * offset:+.3g} eV in offset: the classifier was moved to it"
    )
    return replace(models, classifier=moved)
