"""The RE manager of a queue server, asked over 0MQ; every failure is one line."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError, InstrumentError

__all__ = ["DEFAULT_ADDRESS", "Manager"]

DEFAULT_ADDRESS = "tcp://127.0.0.1:60615"
TIMEOUT_S = 5.0
GROUP = "primary"


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
        If the extra ``queue`` is not installed, or the address is not usable.
    """

    def __init__(self, address: str = DEFAULT_ADDRESS, user: str = "operator") -> None:
        try:
            from bluesky_queueserver.manager.comms import ZMQCommSendThreads
        except ImportError:
            raise ConfigError(
                "the queue server's client is missing: pip install 'slads-bluesky[queue]'"
            ) from None
        if "://" not in address:
            raise ConfigError(f"a queue server is at tcp://host:port, not '{address}'")
        self.address, self.user = address, user
        try:
            self._link = ZMQCommSendThreads(
                zmq_server_address=address, timeout_recv=int(TIMEOUT_S * 1e3), raise_exceptions=True
            )
        except Exception as error:  # whatever zmq makes of an address
            raise ConfigError(f"queue server {address}: {error}") from None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Disconnect."""
        self._link.close()

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one request and return the answer.

        Raises
        ------
        InstrumentError
            If the manager does not answer, or says no: its own sentence then.
        """
        with self._lock:
            try:
                answer = self._link.send_message(method=method, params=parameters)
            except Exception as error:  # CommTimeoutError, and what zmq raises
                raise InstrumentError(
                    f"queue server {self.address} does not answer ({type(error).__name__})"
                ) from None
        if answer.get("success") is False:
            raise InstrumentError(f"queue server: {_first(str(answer.get('msg', method)))}")
        return dict(answer)

    def status(self) -> dict[str, Any]:
        """Return the manager's status."""
        return self.ask("status")

    def queue(self) -> dict[str, Any]:
        """Return ``items`` that wait, and the ``running_item``."""
        return self.ask("queue_get")

    def plans(self) -> dict[str, Any]:
        """Return the plans that may be queued, with their parameters."""
        return dict(self.ask("plans_allowed", user_group=GROUP)["plans_allowed"])

    def call(
        self, function: str, arguments: Mapping[str, Any], timeout_s: float = 60.0, *, background: bool = True
    ) -> Any:
        """Call a function in the worker and return what it returns.

        Raises
        ------
        InstrumentError
            If it cannot be called now, raises, or takes longer than `timeout_s`.
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
            answer = self.ask("task_result", task_uid=began["task_uid"])
            if answer.get("status") == "completed":
                result = answer["result"]
                if not result.get("success"):
                    raise InstrumentError(
                        _last(str(result.get("msg") or result.get("traceback") or function))
                    )
                return result.get("return_value")
            time.sleep(0.05)
        raise InstrumentError(f"{function} takes longer than {timeout_s:g} s in the queue server's worker")

    def add(self, plan: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Queue a plan; InstrumentError with the manager's reason if it refuses."""
        item = {"item_type": "plan", "name": plan, "kwargs": dict(arguments)}
        return dict(self.ask("queue_item_add", item=item, user=self.user, user_group=GROUP)["item"])

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
