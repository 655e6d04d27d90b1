"""What an operator may do with a queue: each action is checked, noted in the record's log, and then done."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError, InstrumentError
from ..record.operator_log import append_action
from ..spectra.discovery.steps import PhaseStep
from .manager import Manager

__all__ = ["ACTIONS", "Operator", "forecast_line", "typed_arguments"]

ACTIONS = {
    "open": "environment_open", "close": "environment_close", "start": "queue_start", "pause": "re_pause",
    "resume": "re_resume", "clear": "queue_clear", "stop": "", "abort": "",
}  # fmt: skip
"""What can be done without arguments, and the manager's method for it."""


class Operator:
    """A named person before a queue server.

    Parameters
    ----------
    manager : Manager
    record : Path
        Directory of the record, in which actions are noted.
    """

    def __init__(self, manager: Manager, record: Path) -> None:
        self.manager, self.record = manager, record

    def do(self, action: str, who: str) -> str:
        """Do one of `ACTIONS`; returns a sentence.

        Raises
        ------
        ConfigError
            If there is no such action.
        InstrumentError
            If the manager refuses.
        """
        if action not in ACTIONS:
            raise ConfigError(f"an operator can {', '.join(ACTIONS)}, not '{action}'")
        append_action(self.record, who, action)
        if action in ("stop", "abort"):
            self.manager.end_run(action)
        elif action == "pause":
            self.manager.ask("re_pause", option="immediate")
        else:
            self.manager.ask(ACTIONS[action])
        return _DONE[action]

    def check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Check a map against field, grid, units and dose, on the instrument itself; returns what it will take.

        Parameters
        ----------
        arguments : mapping
            Of `map_sample`.

        Raises
        ------
        InstrumentError
            With what is wrong, or if the environment is not open: nothing can be checked then.
        """
        wanted = {key: value for key, value in arguments.items() if key not in ("sample", "notes")}
        answer = self._call("check_map", wanted)
        return dict(answer) if isinstance(answer, Mapping) else {}

    def check_instrument(self) -> list[dict[str, Any]]:
        """Run the pre-flight check in the worker; a mapping a check, see `CheckResult`.

        Raises
        ------
        InstrumentError
            If the environment is not open, or the manager refuses.
        """
        return [dict(check) for check in self._call("check_instrument", {}, list)]

    def _call(self, function: str, arguments: Mapping[str, Any], kind: type = object) -> Any:
        status = self.manager.status()
        if not status.get("worker_environment_exists"):
            raise InstrumentError(
                "the queue server's environment is not open: open it, so that something can be checked"
            )
        aside = status.get("manager_state") != "idle"
        return self.manager.call(function, arguments, background=aside, kind=kind)

    def add(self, arguments: Mapping[str, Any], who: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Check a map, note it, and queue it; returns the queued item and what it will take."""
        if not str(arguments.get("sample", "")).strip():
            raise ConfigError("a sample needs a name")
        forecast = self.check(arguments)
        append_action(
            self.record, who, "queue", f"map_sample {json.dumps(dict(arguments), ensure_ascii=False)}"
        )
        return self.manager.add("map_sample", arguments), forecast

    def phases(self) -> dict[str, Any]:
        """Phases found so far by the map that runs; see `slads_bluesky.instrument.unknown.PhaseDesk.found`."""
        return dict(self.manager.call("phases_found", {}, kind=dict))

    def phase(self, action: str, label: int, who: str, *, other: int = 0, name: str = "") -> str:
        """Name, merge, split, forbid or allow a phase of the map that runs; the session notes it. Returns a sentence.

        Parameters
        ----------
        action : str
            One of `slads_bluesky.spectra.discovery.steps.ACTIONS`.
        label : int
            Of the phase.
        who : str
            The operator.
        other : int
            Of the phase that it is merged into.
        name : str
            Its name.

        Raises
        ------
        ConfigError
            If there is no such action, or the map cannot do it.
        InstrumentError
            If the worker cannot be asked now, or refuses.
        """
        step = PhaseStep(action, label, other=other, name=name, who=who)
        more: dict[str, Any] = {"name": name} if action == "name" else {}
        if action == "merge":
            more = {"into": other}
        function = f"{action}_phases" if action == "merge" else f"{action}_phase"
        return str(self.manager.call(function, {"label": step.label, "who": who, **more}))

    def remove(self, uid: str, who: str) -> str:
        """Take an item out of the queue."""
        append_action(self.record, who, "remove", uid)
        self.manager.ask("queue_item_remove", uid=uid)
        return "removed from the queue"


_DONE = {
    "open": "the environment is being opened", "close": "the environment is being closed",
    "start": "the queue is running", "pause": "pausing; the beam is blanked", "resume": "resumed",
    "stop": "the map is stopped; what was measured is kept", "abort": "the map is aborted",
    "clear": "the queue is empty",
}  # fmt: skip


def typed_arguments(texts: Mapping[str, str], parameters: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Turn the texts of a form into the arguments of a plan, by the limits that the manager gives for it.

    Parameters
    ----------
    texts : mapping
        What was typed, by parameter; empty: the plan's default.
    parameters : list of mapping
        ``parameters`` of the plan in the manager's answer: ``name``, ``annotation``, ``min``, ``max``.

    Raises
    ------
    ConfigError
        Naming the parameter, if it is not known, no number, or out of its limits.

    Examples
    --------
    >>> rows = {"name": "rows", "annotation": {"type": "int"}, "min": "1", "max": "4096"}
    >>> typed_arguments({"rows": "64"}, [rows])
    {'rows': 64}
    >>> typed_arguments({"rows": "0"}, [rows])
    Traceback (most recent call last):
    ...
    slads_bluesky.errors.ConfigError: rows must be 1 … 4096, not 0
    """
    known = {str(parameter["name"]): parameter for parameter in parameters}
    found: dict[str, Any] = {}
    for name, typed in texts.items():
        text = typed.strip()
        if not text:
            continue
        if name not in known:
            raise ConfigError(f"map_sample has no '{name}'; it takes {', '.join(known)}")
        about = known[name]
        kind = str((about.get("annotation") or {}).get("type", "str"))
        if "int" in kind or "float" in kind:
            found[name] = _number(name, text, kind, about)
        else:
            found[name] = text
    return found


def _number(name: str, text: str, kind: str, about: Mapping[str, Any]) -> float | int:
    whole = "float" not in kind
    try:
        value: float | int = int(text) if whole else float(text)
    except ValueError:
        raise ConfigError(f"{name} must be a {'whole ' if whole else ''}number, not '{text}'") from None
    low, high = (float(about[key]) if about.get(key) not in (None, "") else None for key in ("min", "max"))
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        limits = f"{low:g} … {high:g}" if low is not None and high is not None else f"at least {low:g}"
        raise ConfigError(f"{name} must be {limits}, not {text}")
    return value


def forecast_line(answer: Mapping[str, Any]) -> str:
    """Say in a line what a map will take, by the answer of `check_map`.

    Examples
    --------
    >>> forecast_line({"n_points": 614, "wall_s": {"value": 3700.0}, "dose_nc": {"value": 1228.0}})
    'fits: 614 points, 62 min, 1228 nC'
    """
    parts = [f"{answer['n_points']} points"] if "n_points" in answer else []
    duration = _value(answer.get("wall_s"))
    dwelt = _value(answer.get("beam_s"))
    if duration is not None:
        parts.append(_duration(duration))
    elif dwelt is not None:
        parts.append(f"{_duration(dwelt)} of beam")
    dose = _value(answer.get("dose_nc"))
    if dose is not None:
        parts.append(f"{dose:.4g} nC")
    return "fits: " + ", ".join(parts) if parts else "fits"


def _value(given: Any) -> float | None:
    value = given.get("value") if isinstance(given, Mapping) else given
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.3g} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
