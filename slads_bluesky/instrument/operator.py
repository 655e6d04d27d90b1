"""What operators do becomes documents: the RunEngine emits the record's log of actions into stream ``operator``."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from bluesky.utils import Msg

from ..record.operator_log import OperatorAction, OperatorLog

__all__ = ["STREAM", "OperatorStream"]

Plan = Generator[Msg, Any, Any]
STREAM = "operator"
_MOMENTS = frozenset({"checkpoint", "close_run", "unstage"})
"""Messages before which an Event may be emitted: between points, at the end of a run, and after an abort."""


class OperatorStream:
    """Preprocessor of a RunEngine: ``RE.preprocessors.append(OperatorStream(record))``.

    An action is emitted once, in the run that is open then, or in the next one. Where none is open, or nothing was
    done, a plan passes unchanged.

    Parameters
    ----------
    record : Path
        Directory of the record, see `slads_bluesky.record.operator_log`.
    """

    def __init__(self, record: Path) -> None:
        self._log = OperatorLog(record)
        self._readable = _ActionReadable()  # one: a stream is of the same objects throughout

    def __call__(self, plan: Plan) -> Plan:
        """Return the plan with the actions as events of its runs."""
        runs: list[Any] = []  # keys of those that are open, the last opened last
        bundling = False
        answer: Any = None
        error: Exception | None = None
        while True:
            try:
                message = plan.send(answer) if error is None else plan.throw(error)
            except StopIteration as end:
                return end.value
            answer = error = None
            try:
                if runs and message.command in _MOMENTS:
                    for extra in self._events(runs[-1], bundling):
                        bundling = False
                        yield extra
                answer = yield message
            except GeneratorExit:
                plan.close()
                raise
            except Exception as raised:  # an abort, a failed status: the plan's to handle
                error = raised
            command = message.command
            if command == "open_run" and error is None:
                runs.append(message.run)
            elif command == "close_run" and message.run in runs:
                runs.remove(message.run)
            elif command in ("create", "save", "drop"):
                bundling = command == "create"

    def _events(self, run: Any, bundling: bool) -> Iterator[Msg]:
        """Messages that emit what the log holds and no run does."""
        for action in self._log.take():
            if bundling:  # the plan was aborted in the middle of an event
                bundling = False
                yield Msg("drop", run=run)
            yield Msg("create", None, name=STREAM, run=run)
            self._readable.action = action
            yield Msg("read", self._readable, run=run)
            yield Msg("save", run=run)


class _ActionReadable:
    """A readable: the action that is emitted next."""

    name = "operator"
    parent = None

    action = OperatorAction(0.0, "", "", "")

    def read(self) -> dict[str, Any]:
        """Time, who, action and detail."""
        return {
            f"operator_{key}": {"value": value, "timestamp": self.action.time}
            for key, value in self.action._asdict().items()
        }

    def describe(self) -> dict[str, Any]:
        """Describe the values of `read`."""
        about: dict[str, Any] = {"shape": [], "source": "operator"}
        texts = {f"operator_{key}": {"dtype": "string", **about} for key in ("who", "action", "detail")}
        return {"operator_time": {"dtype": "number", "dtype_numpy": "<f8", "units": "s", **about}, **texts}
