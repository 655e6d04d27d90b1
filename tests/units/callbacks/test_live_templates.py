"""The expected spectra that the live view draws have every channel, whichever of them the classifier uses."""

import numpy as np
import pytest

from slads_bluesky.callbacks.live.templates import phase_templates
from slads_bluesky.spectra import PhaseClassifier


def test_phase_templates_of_a_classifier_have_every_channel():
    classifier = PhaseClassifier.from_compositions({"Pb-Sn": {"Pb": 0.38, "Sn": 0.62}, "Sn": "Sn"})
    found = phase_templates(classifier)
    assert found.shape == (2, classifier.n_channels)
    assert found.sum(axis=1) == pytest.approx(1)
    unused = np.ones(classifier.n_channels, bool)
    unused[classifier.bin_starts[0] : classifier.bin_starts[-1]] = False
    assert unused.any()  # the strobe peak's, at least
    assert not found[:, unused].any()


def test_phase_templates_of_another_classifier_are_none():
    assert phase_templates(object()) is None
