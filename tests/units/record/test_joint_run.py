"""A map of the joint sampler through the plan: visits add up, are recorded, resumed and verified."""

from dataclasses import replace

import numpy as np
import pytest
from bluesky import RunEngine

from slads_bluesky import PhaseClassifier, ScanGrid, SladsAgent, adaptive_map, load_map
from slads_bluesky.agent_settings import AgentSettings
from slads_bluesky.analysis.cost import past_run
from slads_bluesky.devices.flyer import SparseFlyer
from slads_bluesky.devices.sim.soft import soft_microscope
from slads_bluesky.devices.sim.softlist import SoftListEngine
from slads_bluesky.phantom import make_object
from slads_bluesky.plans.batches import until_new
from slads_bluesky.protocols import Suggestion
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


def test_an_estimate_learns_what_a_count_says(recorded, by_lists):
    points, lists = past_run(recorded[0]), past_run(by_lists[0])
    for past in (points, lists):
        assert 0.02 < past.nats_per_count < 1.0
        assert past.rate_cps > 1000
    assert (points.by_lists, lists.by_lists) == (False, True)


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


@pytest.fixture(scope="module")
def by_lists(classifier):
    """Documents of a map of a tenth of the pixels by point lists, and the agent that drove it."""
    beam, eds, sem = soft_microscope(
        make_object("pbsn-32"), classifier, stop_rule=SequentialTest(classifier, cap_s=0.1)
    )
    flyer = SparseFlyer(SoftListEngine(beam.sem), eds, beam)
    model = shipped_joint_model()
    settings = AgentSettings.for_models(GRID, classifier, model, sampler="joint", fraction=0.1, seed=2)
    agent = SladsAgent.from_settings(settings, model)
    documents = []
    engine = RunEngine({}, context_managers=[])
    engine.subscribe(lambda name, doc: documents.append((name, doc)))
    engine(adaptive_map(beam, eds, agent, baseline=[sem], dwell_s=0.1, flyer=flyer))
    return documents, agent


def test_visits_of_a_pixel_by_lists_add_up_and_are_verified_bit_for_bit(by_lists, classifier):
    documents, agent = by_lists
    data = load_map(lambda: documents)
    assert agent.n_measured == 102
    assert data.n_measured == agent.n_visits > 102
    assert data.visits.max() > 0
    result = verify(data, rebuild_agent(data.start, shipped_joint_model()), classifier)
    assert result.passed, result
    assert data.counts[-20:].mean() < 20 < data.counts[:3].mean()  # planned doses, in one pass each


def test_another_pixel_in_a_decision_for_a_list_is_found_by_verification(by_lists):
    data = load_map(lambda: by_lists[0])
    last = data.lists[-1]
    other = replace(last, pixels=np.append(last.pixels[:-1], 0))
    changed = replace(data, lists=(*data.lists[:-1], other))
    result = verify(changed, rebuild_agent(data.start, shipped_joint_model()), None)
    assert set(result.counts) == {"decision"}


def test_a_list_ends_before_more_pixels_are_new_than_are_wanted():
    found = [Suggestion(p, 0.0, visit=v) for p, v in ((1, 0), (2, 1), (3, 0), (4, 2), (5, 0))]
    assert [s.pixel for s in until_new(found, 2)] == [1, 2, 3, 4]
    assert until_new(found, 0) == []
    assert until_new(found, 9) == found
