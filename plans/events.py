"""Events that an interruption leaves open: what a plan does after it is not refused for them."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any

from bluesky.utils import IllegalMessageSequence, Msg

__all__ = ["guard_events"]

Plan = Generator[Msg, Any, Any]


def guard_events(plan: Plan) -> Plan:
    """Preprocessor: after an error, let no event that is open or closed against expectation break the plan's cleanup.

    A RunEngine that resumes goes back to its last checkpoint and repeats messages on its own. Where it is stopped or
    aborted then, or a status fails, the plan learns of it at the message at which it stood before, and cannot know
    whether an event is open: the ``drop`` of a plan that was in the middle of an event is refused where the RunEngine
    has not come to it again, and the ``create`` of one that was not is refused where the RunEngine is in the middle
    of an earlier one. What is refused is thrown into the cleanup, which then does not blank the beam.

    Parameters
    ----------
    plan : generator of Msg

    Returns
    -------
    generator of Msg
        The same messages; from an error to the next checkpoint, a ``drop`` that is not needed passes, and one is put
        before each ``create`` and ``checkpoint`` where it is needed. A ``checkpoint`` follows one that was refused,
        since a resumption would repeat it.

    Examples
    --------
    >>> from bluesky import RunEngine
    >>> RE = RunEngine({}, context_managers=[])
    >>> RE.preprocessors.append(guard_events)
    """
    answer: Any = None
    error: Exception | None = None
    unsure = False
    while True:
        try:
            message = plan.send(answer) if error is None else plan.throw(error)
        except StopIteration as end:
            return end.value
        answer = error = None
        try:
            if unsure and message.command in ("create", "checkpoint"):
                yield from _drop(message.run)
            if unsure and message.command == "drop":
                yield from _drop(message.run)
            else:
                answer = yield message
                unsure = unsure and message.command != "checkpoint"
        except GeneratorExit:
            plan.close()
            raise
        except Exception as raised:  # an abort, a failed status: the plan's to handle
            error = raised
            unsure = True


def _drop(run: Any) -> Plan:
    try:
        yield Msg("drop", run=run)
    except IllegalMessageSequence:
        with contextlib.suppress(IllegalMessageSequence):  # an event of another run is open
            yield Msg("checkpoint")
