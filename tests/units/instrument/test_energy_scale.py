"""A session whose detector was calibrated again moves its classifier to the detector's energy scale."""

import pytest

from slads_bluesky.instrument.diagnostics import check_detector
from slads_bluesky.instrument.energy_scale import match_energy_scale
from slads_bluesky.instrument.parts import MapModels
from slads_bluesky.spectra import EnergyAxis, PhaseClassifier


class Value:
    def __init__(self, value):
        self.value = value

    def get(self):
        return self.value


class States:
    """A detector that states an energy scale, and no more."""

    name = "eds"

    def __init__(self, offset_kev, width_kev, n_channels):
        self.energy_offset, self.energy_width = Value(offset_kev), Value(width_kev)
        self.channels, self.energy_quadratic = Value(n_channels), Value(0.0)

    def read_configuration(self):
        return {
            f"eds_energy_{key}": {"value": getattr(self, f"energy_{key}").get()}
            for key in ("offset", "width")
        }

    def describe(self):
        return {"eds_spectrum": {"shape": [self.channels.get()]}}


@pytest.fixture(scope="module")
def models():
    return MapModels(None, PhaseClassifier.from_compositions({"Pb": "Pb", "Sn": "Sn"}))


def test_match_energy_scale_of_a_recalibrated_detector_moves_the_classifier_and_warns(models):
    warnings = []
    eds = States(-0.048, 0.01005, 2040)
    moved = match_energy_scale(eds, models, warnings.append)
    assert moved.classifier.axis == EnergyAxis(-0.048, 0.01005, 2040)
    assert len(warnings) == 1
    assert "eds: its energy scale differs from the classifier's by +0.5 % in width" in warnings[0]
    assert match_energy_scale(eds, moved, warnings.append) is moved
    assert len(warnings) == 1
    assert check_detector(eds, models.classifier).passed


def test_match_energy_scale_of_the_same_and_of_another_detector_changes_nothing(models):
    warnings = []
    for eds in (States(-0.05, 0.01, 2040), States(-0.48, 0.005, 4096), object()):
        assert match_energy_scale(eds, models, warnings.append) is models
    assert warnings == []
    assert not check_detector(States(-0.48, 0.005, 4096), models.classifier).passed
