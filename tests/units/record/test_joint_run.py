"""A map of the joint sampler through the plan: visits add up, are recorded, resumed and verified."""

import pytest
from bluesky import RunEngine

from slads_bluesky import PhaseClassifier, ScanGrid, SladsAgent, adaptive_map, load_map
from slads_bluesky.agent_settings import AgentSettings
from slads_bluesky.devices.flyer import SparseFlyer
from slads_bluesky.devices.sim.soft import soft_microscope
from slads_bluesky.devices.sim.softlist import SoftListEngine
from slads_bluesky.errors import ConfigError
from slads_bluesky.phantom import make_object
from slads_bluesky.record.resume import find_sampler_model, rebuild_agent
from slads_bluesky.record.verify import verify
from slads_bluesky.sampling.joint.model import shipped_joint_model
from slads_bluesky.spectra.dwell import SequentialTest

GRID = ScanGrid((32, 32))


@pytest.fixture(scope="module")
def classifier():
    return PhaseClassifier.from_compositions({"Pb-Sn": {"Pb": 0.38, "Sn": 0.62}, "Sn": "Sn"})


@pytest.fixture(scope="module")
def recorded(classifier):
    """Documents of a whole map of a tenth of the pixels, and the agent that drove it."""
    beam, eds, sem = soft_microscope(
        make_object("pbsn-32"), classifier, stop_rule=SequentialTest(classifier, cap_s=0.1)
    )
    model = shipped_joint_model()
    settings = AgentSettings.for_models(
        GRID, classifier, model, sampler="joint", fraction=0.1, minimise="dose", seed=2
    )
    agent = SladsAgent.from_settings(settings, model)
    documents = []
    engine = RunEngine({}, context_managers=[])
    engine.subscribe(lambda name, doc: documents.append((name, doc)))
    engine(adaptive_map(beam, eds, agent, baseline=[sem], dwell_s=0.1))
    return documents, agent


def test_visits_of_a_pixel_are_recorded_each_and_verified_bit_for_bit(recorded, classifier):
    documents, agent = recorded
    data = load_map(lambda: documents)
    assert agent.n_measured == 102
    assert data.n_measured == agent.sampler.n_visits > 102  # pixels were visited again
    assert data.visits.max() > 0
    assert data.log_likelihoods.shape == (data.n_measured, 3)
    model = find_sampler_model(data.start)
    result = verify(data, rebuild_agent(data.start, model), classifier)
    assert result.passed, result


def test_planned_doses_are_small_once_it_is_known_what_a_count_brings(recorded):
    data = load_map(lambda: recorded[0])
    assert data.counts[-20:].mean() < 20 < data.counts[:3].mean()


def test_a_map_cut_off_resumes_with_the_next_pixel(recorded):
    data = load_map(lambda: recorded[0])
    agent = rebuild_agent(data.start, shipped_joint_model())
    events = list(data.events())
    for event in events[:-1]:
        agent.ingest(event)
        agent.ingest(event)  # emitted twice
    assert agent.suggest()[0].pixel == events[-1]["data"]["scan_pixel"]


def test_lists_of_points_refuse_a_sampler_that_visits_pixels_again(recorded, classifier):
    beam, eds, _ = soft_microscope(make_object("pbsn-32"), classifier)
    flyer = SparseFlyer(SoftListEngine(beam.sem), eds, beam)
    agent = rebuild_agent(load_map(lambda: recorded[0]).start, shipped_joint_model())
    with pytest.raises(ConfigError, match="visits pixels again"):
        RunEngine({}, context_managers=[])(adaptive_map(beam, eds, agent, flyer=flyer))
