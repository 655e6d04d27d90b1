"""A session whose maps find their phases, and what an operator does with these while a map runs."""

import json

import numpy as np
import pytest
from bluesky.preprocessors import msg_mutator

from slads_bluesky.analysis.found_phases import classifier_of_found
from slads_bluesky.errors import ConfigError
from slads_bluesky.export.conditions import conditions_of_map
from slads_bluesky.instrument import open_session
from slads_bluesky.plans.queue import queue_plans
from slads_bluesky.record.catalog.store import close_catalog


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unknown")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SLADS_INSTRUMENT", raising=False)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        (folder / "instrument.yml").write_text(
            "mode: soft\nsimulation: {object: pbsn-32}\ngrid: {shape: [32, 32]}\nclassifier: {phases: discover}\n"
            f"dose: {{error: 1.0e-3, dwell_s: 0.05}}\ncatalog: {{directory: {folder / 'record'}}}\n"
            "display: {progress: false, live: false}\n"
        )
        opened = open_session(folder / "instrument.yml")
        yield opened
        opened.close()
        close_catalog(opened.db)


def after(plan, **deeds):
    """Run a plan; once so many points are read, do a deed from outside it."""
    seen = []

    def look(message):
        if message.command == "save":
            seen.append(message)
            deeds.get(f"n{len(seen)}", lambda: None)()
        return message

    return msg_mutator(plan, look)


def test_map_sample_without_phases_finds_them_and_does_what_operators_want(session):
    assert session.models.classifier is None
    assert "discover" in session.about()["classifier"]
    with pytest.raises(ConfigError, match="no map whose phases are found"):
        session.phases.name(1, "tin")
    answers = []

    def deed():
        answers.append(session.phases.name(2, "tin", who="Ada"))
        answers.append(session.phases.merge(1, 2, who="Ada"))
        answers.append(session.phases.split(2, who="Ada"))
        with pytest.raises(ConfigError, match="there is no phase 9"):
            session.phases.forbid(9)

    plans = queue_plans(session)
    (uid,) = session.RE(after(plans.map_sample("solder", fraction=0.12), n60=deed))
    assert answers[0] == "name phase 2 'tin': takes effect after the next point"
    data = session.records.load(uid)
    assert [step.action for step in data.phase_steps] == ["name", "merge", "split"]
    assert len({step.after for step in data.phase_steps}) == 1
    assert 40 < data.phase_steps[0].after < 123
    assert data.phases == ("phase 1", "tin")
    assert data.start.get("sequential") is None  # there is no phase to be sure of: the dwell is fixed
    composition = data.phase_candidates[2]["composition"]
    assert max(composition, key=lambda element: composition[element][0]) == "Sn"
    assert session.records.verify(uid).passed
    assert session.phases.found()["phases"][1]["name"] == "tin"
    noted = [doc["data"] for name, doc in session.records.run(uid).documents() if name == "event"]
    deeds = [data["operator_detail"] for data in noted if data.get("operator_action") == "phases"]
    assert deeds == ["name phase 2 'tin'", "merge phase 1 into phase 2", "split phase 2"]
    learnt = classifier_of_found(data, conditions_of_map(data))
    labels, _, _ = learnt.classify_batch(data.spectra)
    votes = data.votes > 0
    assert np.mean(labels[votes] == data.votes[votes]) > 0.97


def test_resumed_map_remembers_what_operators_did(session):
    plans = queue_plans(session)

    def cut_off():
        raise RuntimeError("cut off")

    deeds = {"n60": lambda: session.phases.forbid(1, who="Ada"), "n80": cut_off}
    with pytest.raises(RuntimeError, match="cut off"):
        session.RE(after(plans.map_sample("solder", fraction=0.12), **deeds))
    (uid,) = session.RE(plans.resume_map("-1"))
    data = session.records.load(uid)
    assert data.n_measured == 123
    assert [step.action for step in data.phase_steps] == ["forbid"]
    assert 2 in data.votes
    assert 1 not in data.votes
    assert session.records.verify(uid).passed


def test_check_map_forecasts_a_map_that_finds_its_phases(session):
    forecast = session.check_map(fraction=0.1, phases="discover", every_phase_over=0.1)
    assert forecast["n_points"] == 102
    assert (
        forecast["n_first"] == 30
    )  # none of 29 spread-out pixels fits no phase: every phase over 10 % is found
    assert json.loads(json.dumps(forecast)) == forecast
    with pytest.raises(ConfigError, match="no classifier yet"):
        session.check_map(phases="known")
    with pytest.raises(ConfigError, match="must be known, discover or auto"):
        session.check_map(phases="some")


def test_map_ends_once_every_phase_over_a_part_is_found(session):
    plans = queue_plans(session)
    (uid,) = session.RE(plans.map_sample("solder", fraction=0.5, every_phase_over=0.05))
    data = session.records.load(uid)
    assert data.stop["reason"] == "every phase over 0.05 of the area is found with 95%"
    assert data.n_measured < 100
