"""The RE manager of a queue server, asked over 0MQ; every failure is one line.

The requests are those of bluesky-queueserver ("Run Engine Manager 0MQ API": JSON objects with ``method`` and
``params`` over a REQ socket). Its own client for threads, ``ZMQCommSendThreads`` (0.0.25), keeps its lock after a
message that could not be sent, an argument that is no JSON, say: whoever asks next waits for ever.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from typing import Any, TypeVar

import zmq

from ..errors import ConfigError, InstrumentError

__all__ = ["DEFAULT_ADDRESS", "Manager"]

DEFAULT_ADDRESS = "tcp://127.0.0.1:60615"
TIMEOUT_S = 5.0
CLOSE_S = 0.1
"""How long whoever waits for an answer goes on after the connection was closed."""
GROUP = "primary"

T = TypeVar("T", dict[str, Any], list[Any])


class Manager:
    """One RE manager; may be used by several threads, one request at a time.

    Parameters
    ----------
    address : str
        Of its control socket, such as ``tcp://127.0.0.1:60615``.
    user : str
        Name under which items are queued.

    Raises
    ------
    ConfigError
        If the address is not usable.

    Examples
    --------
    >>> manager = Manager("tcp://127.0.0.1:60615", "Ada")
    >>> manager.close()
    """

    def __init__(self, address: str = DEFAULT_ADDRESS, user: str = "operator") -> None:
        if "://" not in address:
            raise ConfigError(f"a queue server is at tcp://host:port, not '{address}'")
        self.address, self.user = address, user
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._context = zmq.Context()
        try:
            self._socket = self._connected()
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise ConfigError(f"queue server {address}: {error}") from None

    def _connected(self) -> zmq.Socket[bytes]:
        made = self._context.socket(zmq.REQ)
        made.linger = 0
        made.connect(self.address)
        return made

    def close(self) -> None:
        """Disconnect; whoever waits for an answer is told so."""
        self._closing.set()
        with self._lock:
            self._context.destroy(linger=0)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one request and return the answer.

        Raises
        ------
        InstrumentError
            If the manager does not answer, or says no: its own sentence then.
        """
        try:
            message = json.dumps({"method": method, "params": parameters}).encode()
        except (TypeError, ValueError) as error:
            raise InstrumentError(f"queue server: {method} cannot be asked for: {error}") from None
        with self._lock:
            answer = self._answer(message)
        if answer.get("success") is False:
            raise InstrumentError(f"queue server: {_first(str(answer.get('msg') or method))}")
        return answer

    def _answer(self, message: bytes) -> dict[str, Any]:
        if self._closing.is_set():
            raise InstrumentError(f"queue server {self.address}: the connection is closed")
        limit = time.monotonic() + TIMEOUT_S
        try:
            self._socket.send(message, zmq.NOBLOCK)
            while not self._socket.poll(int(CLOSE_S * 1e3)):
                if self._closing.is_set():
                    raise InstrumentError(f"queue server {self.address}: the connection is closed")
                if time.monotonic() > limit:
                    raise InstrumentError(f"queue server {self.address} does not answer")
            received = self._socket.recv()
        except BaseException as error:
            # the socket may wait for an answer, and would take that of this request for that of the next one
            self._socket.close()
            if not self._closing.is_set():
                self._socket = self._connected()
            if isinstance(error, zmq.ZMQError):
                raise InstrumentError(f"queue server {self.address} does not answer: {error}") from None
            raise
        try:
            answer = json.loads(received)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise InstrumentError(f"queue server {self.address}: what answers there is no RE manager")
        return answer

    def _part(self, answer: Mapping[str, Any], key: str, kind: type[T]) -> T:
        """Return a part of an answer; InstrumentError if it is not there, or is something else."""
        found = answer.get(key)
        if not isinstance(found, kind):
            raise InstrumentError(f"queue server {self.address}: its answer has no {key}")
        return found

    def status(self) -> dict[str, Any]:
        """Return the manager's status."""
        return self.ask("status")

    def queue(self) -> dict[str, Any]:
        """Return ``items`` that wait, and the ``running_item``."""
        answer = self.ask("queue_get")
        items = [item for item in self._part(answer, "items", list) if isinstance(item, dict)]
        running = answer.get("running_item")
        return {**answer, "items": items, "running_item": running if isinstance(running, dict) else None}

    def plans(self) -> dict[str, Any]:
        """Return the plans that may be queued, with their parameters."""
        found = self._part(self.ask("plans_allowed", user_group=GROUP), "plans_allowed", dict)
        return {name: plan for name, plan in found.items() if isinstance(plan, dict)}

    def call(
        self,
        function: str,
        arguments: Mapping[str, Any],
        timeout_s: float = 60.0,
        *,
        background: bool = True,
        kind: type = object,
    ) -> Any:
        """Call a function in the worker and return what it returns, a `kind`.

        Raises
        ------
        InstrumentError
            If it cannot be called now, raises, takes longer than `timeout_s`, or returns something else.
        """
        item = {"item_type": "function", "name": function, "kwargs": dict(arguments)}
        began = self.ask(
            "function_execute",
            item=item,
            user=self.user,
            user_group=GROUP,
            run_in_background=background,
        )
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            answer = self.ask("task_result", task_uid=began.get("task_uid"))
            if answer.get("status") == "completed":
                result = self._part(answer, "result", dict)
                if not result.get("success"):
                    raise InstrumentError(
                        _last(str(result.get("msg") or result.get("traceback") or function))
                    )
                value = result.get("return_value")
                if not isinstance(value, kind):
                    raise InstrumentError(
                        f"queue server {self.address}: {function} returns no {kind.__name__}"
                    )
                return value
            time.sleep(0.05)
        raise InstrumentError(f"{function} takes longer than {timeout_s:g} s in the queue server's worker")

    def add(self, plan: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Queue a plan; InstrumentError with the manager's reason if it refuses."""
        item = {"item_type": "plan", "name": plan, "kwargs": dict(arguments)}
        return self._part(
            self.ask("queue_item_add", item=item, user=self.user, user_group=GROUP), "item", dict
        )

    def end_run(self, how: str, timeout_s: float = 30.0) -> None:
        """Stop or abort the plan that runs or is paused; one that runs is paused first, as the manager demands.

        Parameters
        ----------
        how : {"stop", "abort", "halt"}
        timeout_s : float
            How long pausing may take.
        """
        if self.status().get("re_state") == "running":
            self.ask("re_pause", option="immediate")
            deadline = time.monotonic() + timeout_s
            while self.status().get("manager_state") != "paused":
                if time.monotonic() > deadline:
                    raise InstrumentError(f"the plan could not be paused within {timeout_s:g} s")
                time.sleep(0.05)
        self.ask(f"re_{how}")


def _first(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[:3])[:400] if lines else text


def _last(text: str) -> str:
    """Return the last line of a traceback, without the class of an error of ours and the manager's own preface."""
    text = text.removeprefix("Error occurred while executing 'Execute function': ")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = lines[-1] if lines else text
    name, _, rest = last.partition(": ")
    return rest if rest and name.rpartition(".")[2].endswith("Error") else last
