"""What a browser asks of the queue server: done off the page's loop, and answered with a sentence."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ..errors import SladsError
from ..queueing.operator import ACTIONS, forecast_line, typed_arguments
from .desk import Desk

__all__ = ["Steering"]

_log = logging.getLogger(__name__)


class Steering:
    """The handlers of one page for its queue server.

    Parameters
    ----------
    desk : Desk
        Without a queue server, nothing is done.
    say : callable
        ``say(text, bad)`` shows a sentence on the page; called in the page's loop.
    later : callable
        Calls a function in the page's loop, from another thread.
    """

    def __init__(
        self, desk: Desk, say: Callable[[str, bool], None], later: Callable[[Callable[[], None]], None]
    ) -> None:
        self._desk, self._say, self._later = desk, say, later
        self.answer: dict[str, Any] | None = None
        """What the last check of a map or of the instrument gave, to be shown whole; None once it is put away."""
        self.handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            "act": self._act, "check": self._check, "add": self._add, "remove": self._remove,
            "doctor": self._doctor, "put_away": self._put_away, "phase": self._phase,
        }  # fmt: skip

    def _act(self, message: dict[str, Any]) -> None:
        action, who = str(message["action"]), _who(message)
        if action in ACTIONS:
            self._aside(lambda queue: queue.operator.do(action, who))

    def _remove(self, message: dict[str, Any]) -> None:
        uid, who = str(message["uid"]), _who(message)
        self._aside(lambda queue: queue.operator.remove(uid, who))

    def _phase(self, message: dict[str, Any]) -> None:
        """Name, merge, split, forbid or allow a phase that the running map has found."""
        who, other, name = _who(message), int(message.get("other") or 0), str(message.get("name") or "")
        action, label = str(message["action"]), int(message["label"])
        self._aside(lambda queue: queue.operator.phase(action, label, who, other=other, name=name))

    def _check(self, message: dict[str, Any]) -> None:
        values = dict(message["values"])

        def check(queue: Any) -> str:
            forecast = queue.operator.check(typed_arguments(values, queue.parameters))
            line = forecast_line(forecast)
            self.answer = {"kind": "map", "title": line, **forecast}
            return line

        self._aside(check)

    def _doctor(self, message: dict[str, Any]) -> None:
        def check(queue: Any) -> str:
            checks = queue.operator.check_instrument()
            failed = sum(not check["passed"] for check in checks)
            title = (
                f"{failed} of {len(checks)} checks failed" if failed else f"all {len(checks)} checks passed"
            )
            self.answer = {"kind": "instrument", "title": title, "checks": checks}
            return title

        self._aside(check)

    def _put_away(self, message: dict[str, Any]) -> None:
        self.answer = None

    def _add(self, message: dict[str, Any]) -> None:
        values, who = dict(message["values"]), _who(message)

        def add(queue: Any) -> str:
            arguments = typed_arguments(values, queue.parameters)
            item, forecast = queue.operator.add(arguments, who)
            return f"queued: {arguments.get('sample') or item.get('name')} ({forecast_line(forecast)})"

        self._aside(add)

    def _aside(self, action: Callable[[Any], str]) -> None:
        """Do something with the queue server off the page's loop, and show what came of it."""
        queue = self._desk.queue
        if queue is None:
            return
        self._say("…", False)

        def work() -> tuple[str, bool]:
            try:
                return action(queue), False
            except SladsError as error:
                return str(error), True
            except Exception as error:  # an answer as no manager gives it
                _log.exception("an action on the queue")
                return f"{type(error).__name__}: {error}", True
            finally:
                queue.refresh()

        def done(future: Future[tuple[str, bool]]) -> None:
            if not future.cancelled():
                text, bad = future.result()
                self._later(lambda: self._say(text, bad))

        self._desk.workers.submit(work).add_done_callback(done)


def _who(message: dict[str, Any]) -> str:
    return str(message.get("who", "")).strip()[:80] or "operator"
