"""An agent for element maps: recorded, rebuilt and verified as any other."""

import numpy as np
import pytest
from bluesky import RunEngine

from slads_bluesky.agents import agent_of, element_target
from slads_bluesky.analysis.load import load_map
from slads_bluesky.devices.sim.soft import soft_microscope
from slads_bluesky.element_agent import ElementAgent
from slads_bluesky.errors import ConfigError
from slads_bluesky.phantom import make_object
from slads_bluesky.plans.adaptive import adaptive_map
from slads_bluesky.record.verify import verify
from slads_bluesky.sampling.learned.model import shipped_model
from slads_bluesky.simulation.models import Models
from slads_bluesky.simulation.run import make_agent, make_flyer
from slads_bluesky.spectra import PhaseClassifier


@pytest.fixture(scope="module")
def solder():
    phantom = make_object("pbsn-32")
    compositions = {"Pb-Sn": {"Pb": 0.38, "Sn": 0.62}, "Sn": "Sn"}
    return phantom, Models(
        "learned", shipped_model(), PhaseClassifier.from_compositions(compositions, phantom.axis)
    )


def agent(solder):
    return make_agent(*solder, fraction=0.12, elements=["Pb", "Sn"])


@pytest.mark.parametrize("by_lists", [False, True])
def test_map_for_elements_is_recorded_and_verified(solder, by_lists):
    phantom, models = solder
    beam, eds, _ = soft_microscope(phantom, models.classifier)
    documents = []
    flyer = make_flyer(beam, eds, 0.0) if by_lists else None
    plan = adaptive_map(beam, eds, agent(solder), dwell_s=0.05, stop_rule=None, flyer=flyer, batch=12)
    RunEngine({}, context_managers=[])(plan, lambda name, doc: documents.append((name, doc)))
    data = load_map(lambda: iter(documents))
    assert data.n_measured >= 123
    target = element_target(["Pb", "Sn"], models.classifier)
    assert data.start["agent"]["elements"] == target["elements"]
    again = agent_of(data.start["agent"], models.sampler)
    assert isinstance(again, ElementAgent)
    assert verify(data, again, models.classifier).passed


def test_elements_need_the_learned_sampler_and_a_classifier_with_an_energy_scale(solder):
    phantom, models = solder
    with pytest.raises(ConfigError, match="learned sampler"):
        make_agent(phantom, Models("random", None, models.classifier), fraction=0.1, elements=["Sn"])
    with pytest.raises(ConfigError, match="energy scale"):
        element_target(["Sn"], object())


def test_event_again_changes_nothing(solder):
    driver = agent(solder)
    spectrum = np.arange(2040)
    event = {"data": {
        "scan_pixel": 5, "eds_label": 1, "eds_verdict": "ok", "eds_spectrum": spectrum, "eds_live_time": 2.0,
    }}  # fmt: skip
    driver.ingest(event)
    totals = driver._totals.copy()
    driver.ingest(event)
    assert driver.n_measured == 1
    assert (driver._totals == totals).all()
