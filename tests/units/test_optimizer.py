"""SLADS under bluesky-adaptive's own plans, with our devices; its protocols, met by structure."""

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky_adaptive.plans import default_acquire, optimize
from bluesky_adaptive.protocols import (
    CanRegisterSuggestions,
    Checkpointable,
    OptimizationProblem,
    Optimizer,
    SupportsStoppingCriteria,
    TrialFaultAware,
)
from small_map import FirstLook, make_agent, phantom  # noqa: F401 (fixture)

from slads_bluesky.analysis.load import load_map
from slads_bluesky.devices.sim.soft import soft_microscope
from slads_bluesky.errors import ConfigError, DataError, RecordError
from slads_bluesky.grid import ScanGrid
from slads_bluesky.instrument.axes import beam_axes
from slads_bluesky.optimizer import RunLabels, SladsOptimizer, spot_acquisition
from slads_bluesky.optimizer_agent import OptimizerAgent
from slads_bluesky.plans.adaptive import adaptive_map
from slads_bluesky.protocols import Agent


@pytest.fixture
def optimizer(phantom, tmp_path):  # noqa: F811
    return SladsOptimizer(make_agent(phantom, 40), path=tmp_path / "state.json")


def _outcomes(optimizer, n, label=1):
    return [{"_id": point["_id"], "label": label} for point in optimizer.suggest(n)]


def test_optimizer_meets_the_protocols(optimizer):
    for protocol in (
        Optimizer, SupportsStoppingCriteria, TrialFaultAware, Checkpointable, CanRegisterSuggestions,
    ):  # fmt: skip
        assert isinstance(optimizer, protocol), protocol


def test_suggestions_are_distinct_until_they_are_ingested(optimizer):
    first = optimizer.suggest(5)
    second = optimizer.suggest()
    assert len({point["_id"] for point in first + second}) == 6
    assert set(first[0]) == {"_id", "beam_x", "beam_y"}
    assert optimizer.agent.grid.pixel(first[0]["beam_x"], first[0]["beam_y"]) == first[0]["_id"]
    optimizer.ingest([{"_id": point["_id"], "label": 1} for point in first])
    assert optimizer.agent.n_measured == 5


def test_points_of_a_users_own_are_taken_by_position(optimizer):
    (point,) = optimizer.register_suggestions([{"beam_x": 0.4, "beam_y": -0.4}])
    optimizer.ingest([{"beam_x": 0.4, "beam_y": -0.4, "label": 2, "verdict": "ok"}])
    assert optimizer.agent.sampler.measured.flat[point["_id"]] == 2
    for wrong in ({"beam_x": 1e6, "beam_y": 0.0, "label": 1}, {"_id": "baseline", "label": 1}, {"_id": 3}):
        with pytest.raises(DataError):
            optimizer.ingest([wrong])
    assert optimizer.agent.n_measured == 1


def test_failures_are_not_suggested_again_and_have_no_vote(optimizer):
    failed = optimizer.suggest(3)
    optimizer.register_failures(failed)
    assert optimizer.agent.n_measured == 3
    assert all(optimizer.agent.sampler.measured.flat[point["_id"]] == 0 for point in failed)
    assert not {p["_id"] for p in optimizer.suggest(10)} & {p["_id"] for p in failed}


def test_checkpoint_restores_the_same_next_suggestion(optimizer, tmp_path):
    optimizer.ingest(_outcomes(optimizer, 12))
    optimizer.register_failures(optimizer.suggest(1))
    optimizer.checkpoint()
    again = SladsOptimizer.restore(tmp_path / "state.json")
    assert again.suggest(4) == optimizer.suggest(4)
    (tmp_path / "bad.json").write_text("[]")
    with pytest.raises(RecordError, match=r"bad\.json"):
        SladsOptimizer.restore(tmp_path / "bad.json")
    with pytest.raises(ConfigError, match="path"):
        SladsOptimizer(optimizer.agent).checkpoint()


@pytest.mark.parametrize("n_points", [1, 4])
def test_optimize_maps_as_our_own_agent_would(phantom, n_points):  # noqa: F811
    beam, eds, _ = soft_microscope(phantom, FirstLook(phantom))
    engine, labels, documents = RunEngine({}, context_managers=[]), RunLabels(), []
    engine.subscribe(labels)
    optimizer = SladsOptimizer(make_agent(phantom, 40))
    problem = OptimizationProblem(
        optimizer, list(beam_axes(beam)), [eds], labels.evaluate,
        acquisition_plan=spot_acquisition(beam, eds, dwell_s=1.0),
    )  # fmt: skip
    engine(optimize(problem, iterations=None, n_points=n_points), lambda n, d: documents.append((n, d)))
    assert optimizer.should_stop() == (True, optimizer.agent.stop_reason)
    assert optimizer.agent.n_measured == 40
    assert beam.blanker.get()
    measured = optimizer.agent.sampler.measured
    good = measured > 0
    assert good.sum() >= 38
    np.testing.assert_array_equal(measured[good], phantom.truth[good])
    assert (
        sum(name == "stop" and doc["exit_status"] == "success" for name, doc in documents)
        == 40 // n_points + 1
    )


def test_default_acquire_of_bluesky_adaptive_measures_our_spots(phantom):  # noqa: F811
    beam, eds, _ = soft_microscope(phantom, FirstLook(phantom))
    engine, labels = RunEngine({}, context_managers=[]), RunLabels()
    engine.subscribe(labels)
    optimizer = SladsOptimizer(make_agent(phantom, 40))
    suggestions = optimizer.suggest(3)
    outcomes = []

    def plan():
        uid = yield from default_acquire(suggestions, list(beam_axes(beam)), [eds])
        outcomes.extend(labels.evaluate(uid, suggestions))

    engine(plan())
    optimizer.ingest(outcomes)
    assert {one["_id"] for one in outcomes} == {one["_id"] for one in suggestions}
    assert all(one["label"] in (0, phantom.truth.flat[one["_id"]]) for one in outcomes)
    assert optimizer.agent.n_measured == 3


class Diagonal:
    """An optimizer of the kind that bluesky-adaptive drives: walks the diagonal, and keeps what it is given."""

    def __init__(self, n):
        self.left, self.given = list(range(n)), []

    def suggest(self, num_points=None):
        found, self.left = self.left[: num_points or 1], self.left[num_points or 1 :]
        return [{"_id": f"trial {i}", "beam_x": i - 31.5, "beam_y": i - 31.5} for i in found]

    def ingest(self, points):
        self.given.extend(points)

    def get_best_points(self):
        return []


def test_adaptive_map_runs_by_an_optimizer_of_bluesky_adaptive(phantom):  # noqa: F811
    optimizer = Diagonal(30)
    assert isinstance(optimizer, Optimizer)
    beam, eds, _ = soft_microscope(phantom, FirstLook(phantom))
    agent = OptimizerAgent(ScanGrid(phantom.shape), optimizer, n_labels=2, fraction=0.5)
    assert isinstance(agent, Agent)
    engine, documents = RunEngine({}, context_managers=[]), []
    engine(adaptive_map(beam, eds, agent, dwell_s=1.0), lambda n, d: documents.append((n, d)))
    assert documents[-1][1]["reason"] == "the optimizer suggests no new pixel"
    assert [one["_id"] for one in optimizer.given] == [f"trial {i}" for i in range(30)]
    assert all(one["label"] == phantom.truth[i, i] for i, one in enumerate(optimizer.given) if one["label"])
    assert load_map([lambda: iter(documents)]).n_measured == 30


def test_optimizer_agent_ingests_a_pixel_once_and_suggests_it_no_more(phantom):  # noqa: F811
    optimizer = Diagonal(3)
    agent = OptimizerAgent(ScanGrid(phantom.shape), optimizer, n_labels=2, fraction=0.5)
    assert agent.suggest(2) == agent.suggest(2)
    event = {"data": {"scan_pixel": 65, "eds_label": 1, "eds_verdict": "ok"}}
    agent.ingest(event)
    agent.ingest(event)
    assert [one["_id"] for one in optimizer.given] == ["trial 1"]
    assert [suggestion.pixel for suggestion in agent.suggest(9)] == [0, 130]
