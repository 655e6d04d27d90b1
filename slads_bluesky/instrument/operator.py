"""What operators do becomes documents: the RunEngine emits the record's log of actions into stream ``operator``."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from bluesky.utils import IllegalMessageSequence, Msg
from ophyd.status import Status

from ..plans.events import guard_events
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
        self._waiting: list[OperatorAction] = []  # taken from the log, and in no event yet
        # in events that a resumption may take back, since no checkpoint has come after them
        self._saved: list[OperatorAction] = []

    def __call__(self, plan: Plan) -> Plan:
        """Return the plan with the actions as events of its runs."""
        return guard_events(self._with_actions(plan))

    def _with_actions(self, plan: Plan) -> Plan:
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
            sent = False
            try:
                if runs and message.command in _MOMENTS:
                    bundling = yield from self._emit(runs[-1], bundling)
                sent = True
                answer = yield message
            except GeneratorExit:
                plan.close()
                raise
            except Exception as raised:  # an abort, a failed status: the plan's to handle
                error = raised
                self._take_back()
            command = message.command
            if command == "open_run" and sent:  # it may be open although an interruption came with the answer
                runs.append(message.run)
            elif command == "close_run" and sent and message.run in runs:
                runs.remove(message.run)
            elif command in ("create", "save", "drop"):
                bundling = command == "create"
            elif command == "checkpoint" and error is None:
                self._saved.clear()
                self._readable.rewound = False

    def _emit(self, run: Any, bundling: bool) -> Generator[Msg, Any, bool]:
        """Emit what the log holds and no run does; whether an event of the plan is still open."""
        self._waiting += self._log.take()
        if self._waiting and bundling:  # the plan has ended in the middle of an event
            yield Msg("drop", run=run)
            bundling = False
        while self._waiting:
            try:
                yield Msg("create", None, name=STREAM, run=run)
                # a message, so that a resumption repeats it with the others
                yield Msg("set", self._readable, self._waiting[0], group=STREAM)
                yield Msg("read", self._readable, run=run)
                yield Msg("save", run=run)
            except Exception as error:
                yield Msg("drop", run=run)
                if isinstance(
                    error, IllegalMessageSequence
                ):  # the run was not opened: the next one takes them
                    return bundling
                raise
            self._saved.append(self._waiting.pop(0))
        return bundling

    def _take_back(self) -> None:
        """Let actions be emitted again whose events a resumption may have taken back."""
        if self._readable.rewound:
            self._waiting[:0] = self._saved
            self._saved.clear()


class _ActionReadable:
    """A readable: the action that it was set to, which is emitted next."""

    name = "operator"
    parent = None

    def __init__(self) -> None:
        self._action = OperatorAction(0.0, "", "", "")
        self.rewound = False
        """Whether the RunEngine may have gone back to before an event of this readable."""

    def set(self, action: OperatorAction) -> Status:
        """Take the action that is read next."""
        self._action = action
        done = Status()
        done.set_finished()
        return done

    def pause(self) -> None:
        """Do nothing; the RunEngine calls `resume` of those only that have both."""

    def resume(self) -> None:
        """Note that the RunEngine goes back to its last checkpoint."""
        self.rewound = True

    def read(self) -> dict[str, Any]:
        """Time, who, action and detail."""
        return {
            f"operator_{key}": {"value": value, "timestamp": self._action.time}
            for key, value in self._action._asdict().items()
        }

    def describe(self) -> dict[str, Any]:
        """Describe the values of `read`."""
        about: dict[str, Any] = {"shape": [], "source": "operator"}
        texts = {f"operator_{key}": {"dtype": "string", **about} for key in ("who", "action", "detail")}
        return {"operator_time": {"dtype": "number", "dtype_numpy": "<f8", "units": "s", **about}, **texts}
