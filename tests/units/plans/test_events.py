"""What a plan does after an interruption is not refused for an event that was open, or was not."""

import contextlib
import threading

import pytest
from bluesky import RunEngine
from bluesky import plan_stubs as bps
from bluesky import preprocessors as bpp
from bluesky.utils import IllegalMessageSequence, Msg, RunEngineInterrupted, TransitionError
from ophyd.sim import det

from slads_bluesky.plans.events import guard_events


class Pauses:
    """Message hook: asks for a pause at the message to which it counts down."""

    def __init__(self, engine):
        self.engine, self.left = engine, 0
        engine.msg_hook = self

    def __call__(self, _):
        self.left -= 1
        if self.left == 0:
            threading.Thread(target=self.ask).start()

    def ask(self):
        with contextlib.suppress(TransitionError):
            self.engine.request_pause()


@pytest.fixture
def engine():
    RE = RunEngine({}, context_managers=[])
    RE.documents = []
    RE.subscribe(lambda name, doc: RE.documents.append((name, doc)))
    return RE


def _plan(cleaned):
    """Two points, and a cleanup that records an event before it closes the run."""

    def points():
        yield from bps.open_run()
        for _ in range(2):
            yield from bps.checkpoint()
            yield from bps.trigger_and_read([det])
            yield from bps.sleep(0.02)
            yield from bps.sleep(0.02)

    def cleanup():
        yield from bps.create("failed")
        yield from bps.read(det)
        yield from bps.save()
        yield from bps.checkpoint()
        cleaned.append("beam blanked")
        yield from bps.close_run("abort")

    return bpp.finalize_wrapper(points(), cleanup())


@pytest.mark.parametrize("again", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("first", range(2, 9))
def test_cleanup_is_done_wherever_a_resumed_plan_is_aborted(engine, first, again):
    cleaned = []
    pauses = Pauses(engine)
    pauses.left = first
    with pytest.raises(RunEngineInterrupted):
        engine(guard_events(_plan(cleaned)))
    pauses.left = again
    with contextlib.suppress(RunEngineInterrupted):
        engine.resume()
    if engine.state == "paused":
        engine.abort()
    assert cleaned == ["beam blanked"]
    assert engine.documents[-1][0] == "stop"
    assert engine.documents[-1][1]["num_events"]["failed"] == 1


def test_pause_after_an_error_that_was_handled_repeats_nothing_that_was_refused(engine):
    pauses = Pauses(engine)

    def plan():
        yield from bps.open_run()
        yield from bps.checkpoint()
        with contextlib.suppress(ValueError):
            yield Msg("refuse")
        yield from bps.create("failed")
        yield from bps.read(det)
        yield from bps.save()
        pauses.left = 1
        yield from bps.sleep(0.05)
        yield from bps.sleep(0.05)
        yield from bps.close_run()

    async def refuse(_):
        raise ValueError("as a device does")

    engine.register_command("refuse", refuse)
    with pytest.raises(RunEngineInterrupted):
        engine(guard_events(plan()))
    engine.resume()
    assert engine.documents[-1][1]["exit_status"] == "success"


def test_wrong_order_of_messages_is_refused_as_ever(engine):
    def plan():
        yield Msg("open_run")
        yield Msg("drop")

    with pytest.raises(IllegalMessageSequence, match="before that bundle can be dropped"):
        engine(guard_events(plan()))
