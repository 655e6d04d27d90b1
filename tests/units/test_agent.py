"""The agent: laws of suggest and ingest, the ways to stop, and being made again from plain data."""

import json

import numpy as np
import pytest

from slads_bluesky import ScanGrid
from slads_bluesky.agent import SladsAgent
from slads_bluesky.agent_settings import AgentSettings
from slads_bluesky.errors import ConfigError, DataError
from slads_bluesky.phantom import make_labels
from slads_bluesky.protocols import Agent, EventKeys
from slads_bluesky.sampling import train_slads
from slads_bluesky.sampling.factory import make_sampler

TRUTH = make_labels("pbsn", 48, 1)


@pytest.fixture(scope="module")
def model():
    return train_slads([make_labels("pbsn", 48, 5, "train")], seed=0, cs=[8.0])


@pytest.fixture(params=["slads", "low-discrepancy"])
def agent(request, model):
    return _agent(request.param, model)


def _agent(name, model, **changes):
    configuration = {
        "grid": ScanGrid(TRUTH.shape, (0.5, 0.5)).to_json(),
        "n_labels": 2,
        "fraction": 0.1,
        "seed": 3,
        "sampler": {"name": name, "initial": None, "stop_at": None},
        **changes,
    }
    return SladsAgent.from_configuration(configuration, model if name == "slads" else None)


def _event(pixel, verdict="ok", label=None, seq_num=1):
    label = int(TRUTH.flat[pixel]) if label is None else label
    return {"seq_num": seq_num, "data": {"scan_pixel": pixel, "eds_label": label, "eds_verdict": verdict}}


def _step(agent):
    pixel = agent.suggest(1)[0].pixel
    agent.ingest(_event(pixel))
    return pixel


def _pixels(agent, n=1):
    return [suggestion.pixel for suggestion in agent.suggest(n)]


def test_it_is_an_agent(agent):
    assert isinstance(agent, Agent)


def test_suggest_changes_nothing(agent):
    for _ in range(40):
        _step(agent)
    first = _pixels(agent)
    assert _pixels(agent, 3)[:1] == first
    assert _pixels(agent) == first
    assert agent.n_measured == 40


def test_the_same_event_twice_changes_nothing(agent):
    for _ in range(30):
        pixel = _step(agent)
    following = _pixels(agent)
    agent.ingest(_event(pixel))
    assert agent.n_measured == 30
    assert _pixels(agent) == following


def test_it_stops_at_the_wanted_fraction(agent):
    pixels = []
    while not agent.should_stop():
        pixels.append(_step(agent))
    assert len(pixels) == len(set(pixels)) == round(0.1 * TRUTH.size)
    assert "0.1" in agent.stop_reason


def test_events_alone_make_the_same_agent(agent, model):
    pixels = [_step(agent) for _ in range(60)]
    again = SladsAgent.from_configuration(json.loads(json.dumps(agent.configuration())), model)
    for pixel in pixels:
        again.ingest(_event(pixel))
    assert _pixels(again) == _pixels(agent)
    np.testing.assert_array_equal(again.map_data()["labels"], agent.map_data()["labels"])
    assert again.configuration() == agent.configuration()


@pytest.mark.parametrize("verdict", ["ill", "unknown", "mixed", "low_counts"])
def test_only_a_spectrum_that_is_ok_votes(agent, verdict):
    for _ in range(30):
        _step(agent)
    pixel = agent.suggest(1)[0].pixel
    agent.ingest(_event(pixel, verdict))
    assert agent.map_data()["measured"].flat[pixel] == 0
    assert agent.verdicts == {"ok": 30, verdict: 1}
    assert pixel not in _pixels(agent, 5)


def test_a_pixel_measured_again_takes_its_new_label(agent):
    for _ in range(30):
        pixel = _step(agent)
    agent.ingest(_event(pixel, "ill"))
    assert agent.map_data()["measured"].flat[pixel] == 0
    agent.ingest(_event(pixel))
    assert agent.map_data()["measured"].flat[pixel] == TRUTH.flat[pixel]
    assert agent.n_measured == 30


def test_a_clean_end_at_every_pixel(model):
    agent = _agent("slads", model, fraction=1.0)
    while not agent.should_stop():
        _step(agent)
    assert agent.stop_reason == "every pixel is measured"
    np.testing.assert_array_equal(agent.map_data()["labels"], TRUTH)


def test_only_the_region_of_interest_is_measured(model):
    roi = np.zeros(TRUTH.shape, bool)
    roi[10:30, 5:40] = True
    agent = _agent("slads", model, grid=ScanGrid(TRUTH.shape, roi=roi).to_json(), fraction=0.2)
    while not agent.should_stop():
        assert roi.flat[_step(agent)]
    assert agent.n_measured == round(0.2 * roi.sum())


@pytest.mark.parametrize(
    ("data", "culprit"),
    [
        ({"scan_pixel": 5, "eds_verdict": "ok"}, "eds_label"),
        ({"scan_pixel": 48 * 48, "eds_label": 1, "eds_verdict": "ok"}, "scan_pixel 2304"),
        ({"scan_pixel": 5, "eds_label": 3, "eds_verdict": "ok"}, "eds_label 3"),
        ({"scan_pixel": 5, "eds_label": -1, "eds_verdict": "ok"}, "eds_label -1"),
    ],
)
def test_an_event_that_cannot_be_is_refused_and_nothing_taken(agent, data, culprit):
    with pytest.raises(DataError, match=rf"event 7.*{culprit}"):
        agent.ingest({"seq_num": 7, "data": data})
    assert agent.n_measured == 0


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.5, float("nan")])
def test_a_fraction_that_cannot_be(model, fraction):
    with pytest.raises(ConfigError, match="fraction"):
        _agent("slads", model, fraction=fraction)


def test_a_grid_of_another_shape_than_the_sampler():
    sampler = make_sampler("random", (8, 9), labels=2)
    with pytest.raises(ConfigError, match=r"\(9, 8\).*\(8, 9\)"):
        SladsAgent(ScanGrid((9, 8)), sampler, n_labels=2, fraction=0.1)


def test_a_configuration_that_wants_another_model(model):
    with pytest.raises(ConfigError, match="sampler model deadbeef"):
        _agent("slads", model, model_hashes={"sampler": "deadbeef"})


@pytest.mark.parametrize("missing", ["grid", "sampler", "n_labels", "seed"])
def test_a_configuration_that_lacks_something(agent, missing):
    configuration = agent.configuration()
    del configuration[missing]
    with pytest.raises(ConfigError, match=missing):
        SladsAgent.from_configuration(configuration)


def test_settings_of_a_recorded_configuration_write_it_again():
    recorded = {
        "agent": "SladsAgent", "grid": ScanGrid((8, 9), (0.5, 1.0)).to_json(), "n_labels": 2, "fraction": 0.15,
        "stop_rule": True, "keys": {"pixel": "scan_pixel"}, "phases": ["Pb-Sn", "Sn"], "seed": 7,
        "sampler": {"name": "learned", "initial": None, "stop_at": 0.01, "confidence": 0.9},
        "model_hashes": {"sampler": "aa", "classifier": "bb"}, "note": "kept",
    }  # fmt: skip
    settings = AgentSettings.from_json(recorded)
    again = settings.to_json()
    assert settings.keys == EventKeys()
    assert again["note"] == "kept"
    for key in ("grid", "n_labels", "fraction", "stop_rule", "phases", "seed", "sampler", "model_hashes"):
        assert again[key] == recorded[key], key
    assert AgentSettings.from_json(json.loads(json.dumps(again))) == settings


def test_settings_for_models_name_the_phases_and_hashes(model):
    class Two:
        phases, sha256 = ("a", "b"), "cc"

    settings = AgentSettings.for_models(ScanGrid(TRUTH.shape), Two(), model, sampler="slads", fraction=0.1)
    agent = SladsAgent.from_settings(settings, model)
    assert agent.configuration() == {"agent": "SladsAgent", **settings.to_json()}
    assert agent.configuration()["model_hashes"] == {"classifier": "cc", "sampler": model.sha256}


@pytest.mark.parametrize(
    ("change", "culprit"),
    [
        ({"seed": "x"}, "'x'"),
        ({"sampler": None}, "NoneType"),
        ({"fraction": "much"}, "much"),
        ({"keys": {"colour": "red"}}, "colour"),
        ({"grid": {"shape": [0, 1]}}, "step_um"),
        ({"model_hashes": [1]}, "items"),
    ],
)
def test_a_configuration_of_other_types_is_refused(change, culprit):
    with pytest.raises(ConfigError, match=culprit):
        _agent("low-discrepancy", None, **change)
