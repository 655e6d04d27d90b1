"""Dose that follows the sample: acquisitions that stop when their spectrum says enough."""

from __future__ import annotations

import numpy as np
import pytest

from slads_bluesky.phantom import training_spectra
from slads_bluesky.plans.adaptive import adaptive_map
from slads_bluesky.spectra import PhaseClassifier
from slads_bluesky.spectra.dwell import SequentialTest


@pytest.fixture(scope="module")
def likelihood(phantom):
    return PhaseClassifier.from_spectra(training_spectra(phantom.name), axis=phantom.axis)


@pytest.fixture
def rule(likelihood):
    return SequentialTest(likelihood, error=1e-3, cap_s=10.0)


@pytest.fixture
def stopping(instrument, likelihood, rule):
    """The instrument, its detector stopped by the rule."""
    eds = instrument.eds
    before = eds.classifier
    eds.configure({"classifier": likelihood, "stop_rule": rule})
    yield instrument
    eds.configure({"classifier": before, "stop_rule": None})


def test_adaptive_dwell_few_counts_suffice_and_are_right(stopping, phantom, make_agent, RE, documents):
    RE(adaptive_map(stopping.beam, stopping.eds, make_agent(60)), documents)
    events = [event["data"] for event in documents.events()]
    assert documents.start["sequential"] == {"name": "SequentialTest", "error": 1e-3, "cap_s": 10.0}
    total = sum(data["beam_pixel_dose"] for data in events)
    assert total < 60 * 14.4 / 100  # a hundredth of the charge that fixed dwells of 10 s would take
    for data in events:
        if data["eds_verdict"] == "ok":
            assert data["eds_label"] == phantom.truth.flat[data["scan_pixel"]]
            assert data["eds_probability"] >= 1 - 1e-3
        grown = phantom.acquisition(data["scan_pixel"]).counts_at(data["eds_live_time"])
        assert np.array_equal(data["eds_spectrum"], grown)
        assert data["beam_pixel_dose"] == pytest.approx(data["eds_real_time"])


def test_adaptive_dwell_soft_and_channel_access_stop_alike(
    soft, over_ca, likelihood, make_agent, RE, new_documents
):
    runs = []
    for instrument in (soft, over_ca):
        documents = new_documents()
        before = instrument.eds.classifier
        instrument.eds.configure({"classifier": likelihood, "stop_rule": SequentialTest(likelihood)})
        RE(adaptive_map(instrument.beam, instrument.eds, make_agent(40)), documents)
        instrument.eds.configure({"classifier": before, "stop_rule": None})
        runs.append([event["data"] for event in documents.events()])
    for ours, theirs in zip(*runs, strict=True):
        assert np.array_equal(ours["eds_spectrum"], theirs["eds_spectrum"])
        for key in ("scan_pixel", "eds_label", "eds_verdict", "eds_live_time", "eds_counts"):
            assert ours[key] == theirs[key]


def test_adaptive_dwell_ends_at_the_cap(stopping, likelihood, phantom, make_agent, RE, documents):
    """With a cap far too short, pixels are low in counts and not guessed."""
    rule = SequentialTest(likelihood, error=1e-6, cap_s=2e-4)
    agent = make_agent(5)
    RE(adaptive_map(stopping.beam, stopping.eds, agent, dwell_s=2e-4, stop_rule=rule), documents)
    assert documents.start["sequential"]["cap_s"] == 2e-4
    assert stopping.eds.stop_rule is not rule  # the plan's own is put back
    for event in documents.events():
        assert event["data"]["eds_live_time"] == pytest.approx(2e-4)
        assert event["data"]["eds_verdict"] != "ok"
        assert event["data"]["eds_label"] == 0
