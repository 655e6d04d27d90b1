"""What operators do becomes events of the run that is open, once, and never in the middle of another event."""

import contextlib
import threading
from collections import Counter
from pathlib import Path

import pytest
from bluesky import RunEngine
from bluesky import plan_stubs as bps
from bluesky import plans as bp
from bluesky import preprocessors as bpp
from bluesky.utils import Msg, RunEngineInterrupted, TransitionError
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


class Interruption:
    """Asks a RunEngine to pause while it does the n-th message after an operator's action in mid-run."""

    def __init__(self, engine, n):
        self.engine, self.left, self.asked = engine, n, False
        engine.msg_hook = self.look

    def act(self):
        append_action(self.engine.record, "Ada", "pause")
        self.acted = True

    acted = False

    def look(self, msg):
        if not self.acted or self.asked:
            return
        self.left -= 1
        if self.left == 0:
            self.asked = True
            self.message = msg
            asking = threading.Thread(target=self.ask)
            asking.start()

    def ask(self):
        with contextlib.suppress(TransitionError):
            self.engine.request_pause()


def _plan(interruption, cleaned):
    """Three points, each one after a checkpoint, and a cleanup that has to be done to its end."""

    @bpp.run_decorator()
    def points():
        for point in range(3):
            yield from bps.checkpoint()
            if point == 1:
                interruption.act()
            yield from bps.sleep(0.0)
            yield from bps.checkpoint()
            yield from bps.trigger_and_read([det])
        yield from bps.sleep(0.3)  # a pause that was asked for at the last message finds a run

    def cleanup():
        yield from bps.null()
        cleaned.append("beam blanked")
        yield from bps.null()
        cleaned.append("put away")

    return bpp.finalize_wrapper(points(), cleanup())


@pytest.mark.parametrize("ending", ["resume", "stop", "abort", "resume and abort"])
@pytest.mark.parametrize("n", range(1, 13))
def test_interruption_at_any_message_loses_no_action_and_breaks_no_cleanup(engine, n, ending):
    cleaned = []
    interruption = Interruption(engine, n)
    with pytest.raises(RunEngineInterrupted):
        engine(_plan(interruption, cleaned))
    expected = ["pause"]
    if "resume" in ending:
        append_action(engine.record, "Ada", "resume")
        expected.append("resume")
        if "and" in ending:
            interruption.left, interruption.asked = 2, False
        with pytest.raises(RunEngineInterrupted) if "and" in ending else contextlib.nullcontext():
            engine.resume()
    if ending != "resume":
        how = ending.rpartition(" ")[2]
        append_action(engine.record, "Ada", how)
        expected.append(how)
        getattr(engine, how)()
    stop = engine.documents[-1][1]
    assert stop["exit_status"] == ("abort" if "abort" in ending else "success")
    assert cleaned == ["beam blanked", "put away"]
    found = _actions(engine)
    assert list(dict.fromkeys(found)) == expected  # in this order; what was rewound stands twice
    assert found == expected or "resume" in ending
    last = {}
    streams = {doc["uid"]: doc["name"] for name, doc in engine.documents if name == "descriptor"}
    for name, doc in engine.documents:
        if name == "event" and streams[doc["descriptor"]] == "operator":
            last[doc["seq_num"]] = doc["data"]["operator_action"]
    assert (
        list(dict.fromkeys(last[number] for number in sorted(last))) == expected
    )  # superseded by their like


def test_run_that_is_refused_keeps_its_error_and_its_cleanup_and_leaves_the_actions_to_the_next(engine):
    cleaned = []

    class Device:
        name, parent = "stage", None

        def stage(self):
            return [self]

        def unstage(self):
            cleaned.append("unstaged")
            return [self]

    device = Device()

    def check(md):
        if "sample" not in md:
            raise ValueError("no sample")

    engine.md_validator = check

    def plan(**md):
        yield Msg("stage", device)
        try:
            yield Msg("open_run", **md)
            yield Msg("close_run")
        finally:
            yield Msg("unstage", device)
            yield Msg("null")
            cleaned.append("all")

    append_action(engine.record, "Ada", "start")
    with pytest.raises(ValueError, match="no sample"):
        engine(plan())
    assert cleaned == ["unstaged", "all"]
    assert not engine.documents
    engine(plan(sample="tin"))
    assert _actions(engine) == ["start"]


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
