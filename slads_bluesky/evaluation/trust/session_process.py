"""The session that `trust` strikes: ``python -m slads_bluesky.evaluation.trust.session_process instrument.yml``.

A session as a user has it, from its own instrument.yml, driven by lines of JSON on standard input instead of a
person. It reports on standard output, and says when a run reaches a moment that it was asked to wait for.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import IO, Any

from .faults import AROUND

__all__ = ["Moments", "main"]

MESSAGES = {"stage": "stage", "trigger": "acquire", "wait_for": "decide", "close_run": "close"}
"""Messages that are a moment by themselves."""

HOLD_S = 0.05
"""How long a moment that would be over in a millisecond is held, so that a fault can strike in it."""


class Link:
    """Lines of JSON to and from the process that drives this one."""

    def __init__(self, into: IO[str], out: IO[str]) -> None:
        self._in, self._out, self._lock = into, out, threading.Lock()

    def say(self, **facts: Any) -> None:
        """Report some facts."""
        with self._lock:
            self._out.write(json.dumps(facts) + "\n")
            self._out.flush()

    def hear(self) -> dict[str, Any]:
        """Wait for a command; at the end of the input, ``quit``."""
        line = self._in.readline()
        return json.loads(line) if line.strip() else {"do": "quit"}


class Moments:
    """A message hook of the RunEngine that reports one moment of one point, and waits at the move to that point.

    Parameters
    ----------
    link : Link
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._wanted: tuple[str, int] | None = None
        self._n = 0

    def arm(self, moment: str, point: int) -> None:
        """Report a moment of the `point`-th point (``settle``, ``acquire``, ``read``, ``decide``) or of the run."""
        self._wanted, self._n = (moment, point), 0

    def __call__(self, msg: Any) -> None:
        """Look at one message."""
        if self._wanted is None:
            return
        moment, point = self._wanted
        name = _moment_of(msg)
        if name == "settle":
            self._n += 1
            if self._n == point and moment not in AROUND:
                self._link.say(near=moment, point=point)
                self._link.hear()  # whatever drives this has set the scene
        if name != moment or (moment not in AROUND and self._n != point):
            return
        self._wanted = None
        self._link.say(at=moment, point=point, time=time.time())
        if moment not in ("settle", "acquire"):
            time.sleep(HOLD_S)


def _moment_of(msg: Any) -> str:
    """Name of the moment at which a message stands; empty for others."""
    if msg.command == "create":
        return {"baseline": "baseline", "primary": "read"}.get(msg.kwargs.get("name"), "")
    if msg.command == "set" and hasattr(msg.obj, "blanker"):
        return "settle"
    return MESSAGES.get(msg.command, "")


def main(arguments: list[str]) -> None:
    """Open the session of a file and do what is asked for until the input ends."""
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # where it hangs, if it does
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a session prints is for its log
    link = Link(sys.stdin, out)
    from ...instrument import open_session
    from ...plans.queue import queue_plans

    session: Any = open_session(arguments[0])
    plans = queue_plans(session)._asdict()
    moments = Moments(link)
    session.RE.msg_hook = moments
    link.say(ready=True, writer=session.recorder.writer_pid, state=session.RE.state)
    for command in _commands(link):
        if "arm" in command:
            moments.arm(*command["arm"])
        link.say(**_outcome(session, plans, command))
    session.close()


def _commands(link: Link) -> Iterator[Mapping[str, Any]]:
    while True:
        try:
            command = link.hear()
        except KeyboardInterrupt:  # at the prompt it does nothing
            continue
        if command["do"] == "quit":
            return
        yield command


def _outcome(session: Any, plans: Mapping[str, Any], command: Mapping[str, Any]) -> dict[str, Any]:
    """Run a plan, or resume or abort the one that is paused; report how it ended."""
    from bluesky.utils import RunEngineInterrupted

    outcome, error = "ended", ""
    try:
        if command["do"] in ("resume", "abort"):
            getattr(session.RE, command["do"])()
        else:
            session.RE(plans[command["do"]](*command.get("args", ()), **command.get("kwargs", {})))
    except RunEngineInterrupted:
        outcome = "interrupted"
    except Exception as problem:
        outcome, error = "raised", f"{type(problem).__name__}: {problem}"
    return {"outcome": outcome, "state": session.RE.state, "error": error, "time": time.time()}


if __name__ == "__main__":
    main(sys.argv[1:])
