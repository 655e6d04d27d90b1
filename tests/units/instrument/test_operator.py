"""What operators do becomes events of the run that is open, once, and never in the middle of another event."""

from collections import Counter
from pathlib import Path

import pytest
from bluesky import RunEngine
from bluesky import plans as bp
from bluesky.utils import Msg
from ophyd.sim import det

from slads_bluesky.instrument.operator import OperatorStream
from slads_bluesky.record.operator_log import OperatorLog, append_action


@pytest.fixture
def engine(tmp_path):
    RE = RunEngine({}, context_managers=[])
    RE.preprocessors.append(OperatorStream(tmp_path))
    RE.documents = []
    RE.subscribe(lambda name, doc: RE.documents.append((name, doc)))
    RE.record = tmp_path
    return RE


def _actions(RE):
    streams = {doc["uid"]: doc["name"] for name, doc in RE.documents if name == "descriptor"}
    return [
        doc["data"]["operator_action"]
        for name, doc in RE.documents
        if name == "event" and streams[doc["descriptor"]] == "operator"
    ]


def test_actions_before_a_run_are_events_of_the_next_one_and_of_no_other(engine):
    append_action(engine.record, "Ada", "queue", "map_sample")
    append_action(engine.record, "Ada", "start")
    engine(bp.count([det], 2))
    engine(bp.count([det], 2))
    assert _actions(engine) == ["queue", "start"]
    assert Counter(name for name, _ in engine.documents)["stop"] == 2


def test_actions_during_a_run_come_between_its_events(engine):
    def act(name, doc):
        if name == "event" and doc["seq_num"] == 2 and "det" in doc["data"]:
            append_action(engine.record, "Ada", "pause")

    engine.subscribe(act)
    engine(bp.count([det], 4))
    names = [name for name, _ in engine.documents]
    assert _actions(engine) == ["pause"]
    assert names.index("stop") == len(names) - 1
    assert engine.documents[-1][1]["num_events"] == {"primary": 4, "operator": 1}


def test_action_after_an_abort_in_mid_event_is_recorded_in_the_aborted_run(engine):
    class Device:
        name, parent = "stage", None

        def stage(self):
            return [self]

        def unstage(self):
            return [self]

    device = Device()

    def plan():
        yield Msg("open_run")
        yield Msg("create", name="primary")
        yield Msg("read", det)
        append_action(engine.record, "Ada", "abort", "wrong sample")
        try:
            raise ValueError("as an abort does it")
        finally:
            yield Msg("unstage", device)

    with pytest.raises(ValueError, match="as an abort"):
        engine(plan())
    assert _actions(engine) == ["abort"]


def test_log_of_another_program_or_cut_in_a_line_harms_nothing(tmp_path: Path):
    append_action(tmp_path, "Ada", "start")
    with (tmp_path / "operator.jsonl").open("ab") as file:
        file.write(b'no json\n{"time": 1}\n{"time": 2.0, "who": "B", "action": "pau')
    log = OperatorLog(tmp_path)
    assert [action.action for action in log.take()] == ["start"]
    assert log.take() == []
    with (tmp_path / "operator.jsonl").open("ab") as file:
        file.write(b'se", "detail": ""}\n')
    assert [action.action for action in log.take()] == ["pause"]
    assert OperatorLog(tmp_path).take() == []
