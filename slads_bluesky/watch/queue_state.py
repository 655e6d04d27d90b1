"""What the queue server says, kept up to date in a thread: the page never waits for it."""

from __future__ import annotations

import threading
from typing import Any

from ..errors import SladsError
from ..queueing.manager import Manager
from ..queueing.operator import Operator

__all__ = ["QueueState"]

POLL_S = 0.5


class QueueState:
    """Polls a manager.

    Parameters
    ----------
    operator : Operator
        Does what the page asks for.
    """

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.manager: Manager = operator.manager
        self.shown: dict[str, Any] = {"reachable": False, "problem": "connecting …"}
        """Plain values for the page."""
        self.parameters: list[dict[str, Any]] = []
        """Of `map_sample`, by the manager."""
        self._plans_uid = ""
        self._closing = threading.Event()
        self._now = threading.Event()
        self._thread = threading.Thread(target=self._work, name="watch-queue", daemon=True)
        self._thread.start()

    def refresh(self) -> None:
        """Ask again at once."""
        self._now.set()

    def close(self) -> None:
        """End."""
        self._closing.set()
        self._now.set()
        self.manager.close()  # which lets go of an answer that does not come
        self._thread.join(10)

    def _work(self) -> None:
        while not self._closing.is_set():
            try:
                self.shown = self._asked()
            except SladsError as error:
                self.shown = {"reachable": False, "problem": str(error), "form": self.shown.get("form", [])}
            except Exception as error:  # an answer as no manager gives it
                self.shown = {"reachable": False, "problem": f"{type(error).__name__}: {error}"}
            self._now.wait(POLL_S)
            self._now.clear()

    def _asked(self) -> dict[str, Any]:
        status = self.manager.status()
        queue = self.manager.queue()
        if status.get("plans_allowed_uid") != self._plans_uid or not self.parameters:
            self._plans_uid = str(status.get("plans_allowed_uid"))
            plans = self.manager.plans()
            self.parameters = list((plans.get("map_sample") or {}).get("parameters", []))
        return {
            "reachable": True,
            "problem": "",
            "manager": str(status.get("manager_state", "")).replace("_", " "),
            "environment": bool(status.get("worker_environment_exists")),
            "engine": str(status.get("re_state") or ""),
            "running": _item(queue.get("running_item")),
            "items": [_item(item) for item in queue.get("items", [])],
            "form": [_field(parameter) for parameter in self.parameters],
        }


def _item(item: dict[str, Any] | None) -> dict[str, Any] | None:
    if not item:
        return None
    arguments = dict(item.get("kwargs") or {})
    named = list(item.get("args") or [])
    sample = arguments.pop("sample", named[0] if named else "")
    about = ", ".join(f"{key} {value}" for key, value in arguments.items() if key != "notes")
    return {
        "uid": str(item.get("item_uid", "")), "plan": str(item.get("name", "")), "sample": str(sample),
        "about": about, "user": str(item.get("user", "")),
    }  # fmt: skip


def _field(parameter: dict[str, Any]) -> dict[str, Any]:
    kind = str((parameter.get("annotation") or {}).get("type", "str"))
    default = str(parameter.get("default", ""))
    return {
        "name": str(parameter.get("name", "")),
        "default": "" if default in ("None", "''") else default,
        "about": str(parameter.get("description", "")),
        "min": str(parameter.get("min", "")),
        "max": str(parameter.get("max", "")),
        "number": "int" in kind or "float" in kind,
    }
