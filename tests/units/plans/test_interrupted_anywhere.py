"""A map with operators before it, paused at any of its messages, and then stopped, aborted or resumed."""

from __future__ import annotations

import contextlib
import threading

import pytest
from bluesky.utils import RunEngineInterrupted, TransitionError

from slads_bluesky.instrument.operator import OperatorStream
from slads_bluesky.plans.adaptive import adaptive_map
from slads_bluesky.plans.engine import BeamSafeEngine
from slads_bluesky.record.operator_log import append_action

POINTS = 5
LAST = 130
"""More messages than the map has."""
ENDINGS, AGAIN = ("stop", "abort", "resume"), (0, 1, 2, 8)


class Pause:
    """Message hook: an operator notes a pause and asks for it at one message, as the page of `watch` does."""

    def __init__(self, engine, record, at):
        self.engine, self.record, self.left = engine, record, at
        engine.msg_hook = self

    def __call__(self, _):
        self.left -= 1
        if self.left == 0:
            append_action(self.record, "Ada", "pause")
            threading.Thread(target=self.ask).start()

    def ask(self):
        with contextlib.suppress(TransitionError):  # the plan has ended meanwhile
            self.engine.request_pause()


def _run(soft, agent, record, documents, at, again, ending):
    """Pause at one message, and end or go on; `again`: after the resumption, pause so many messages later."""
    engine = BeamSafeEngine({}, context_managers=[])
    engine.beams = [soft.beam]
    engine.preprocessors.append(OperatorStream(record))
    engine.subscribe(documents)
    pause = Pause(engine, record, at)
    plan = adaptive_map(soft.beam, soft.eds, agent, baseline=[soft.sem])
    expected = ["pause"]
    with contextlib.suppress(RunEngineInterrupted):
        engine(plan)
    if engine.state == "paused" and again:
        assert soft.beam.blanker.get()
        expected.append("pause")
        pause.left = again
        with contextlib.suppress(RunEngineInterrupted):
            engine.resume()
    if engine.state == "paused":
        assert soft.beam.blanker.get()
        append_action(record, "Ada", ending)
        expected.append(ending)
        getattr(engine, ending)()
    return expected


# every message once, with the endings and the second pauses in turn
CASES = [(at, ENDINGS[at % 3], AGAIN[at // 3 % 4]) for at in range(1, LAST)]


@pytest.mark.parametrize(("at", "ending", "again"), CASES)
def test_map_interrupted_at_any_message_ends_as_it_was_told(
    soft, make_agent, documents, tmp_path, at, ending, again
):
    expected = _run(soft, make_agent(POINTS), tmp_path, documents, at, again, ending)
    assert soft.beam.blanker.get()
    if not documents:
        return  # it was ended before there was a run
    stop, points = documents.stop, documents.events()
    assert stop["num_events"].get("primary", 0) == len(points)
    if stop["reason"] == "enough":  # resumed, or interrupted when the run was closed already
        assert stop["exit_status"] == "success"
        assert [event["data"]["scan_pixel"] for event in points] == make_agent(POINTS)._order[:POINTS]
        n_closed = 1
    else:
        assert ending != "resume"
        assert stop["exit_status"] == ("abort" if ending == "abort" else "success")
        n_closed = 0
    uid = documents.descriptor("primary")["uid"] if points else ""
    taken = [doc for name, doc in documents if name == "event" and doc["descriptor"] == uid]
    assert len(taken) == len(points)  # no spectrum that is recorded is taken once more
    found = [event["data"]["operator_action"] for event in documents.events("operator")] if documents else []
    assert found == expected[: len(found)]
    assert len(found) >= len(expected) - 2 * n_closed
