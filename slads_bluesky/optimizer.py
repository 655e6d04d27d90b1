"""SLADS as an optimizer of bluesky-adaptive 1.0 (blop's protocols), and an optimizer of theirs as an agent of ours.

Both sides are matched by structure alone; bluesky-adaptive need not be installed. In its ``optimize`` plan a
`SladsOptimizer` decides where to measure::

    labels = RunLabels()
    RE.subscribe(labels)
    problem = OptimizationProblem(
        SladsOptimizer(agent), [x, y], [eds], labels.evaluate, acquisition_plan=spot_acquisition(beam, eds)
    )
    RE(optimize(problem, iterations=None))
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .agent import SladsAgent
from .errors import ConfigError, DataError, RecordError
from .files import atomic_write
from .protocols import UNCLASSIFIED, EventKeys
from .streams import StreamRouter

__all__ = ["RunLabels", "SladsOptimizer", "spot_acquisition"]

ID = "_id"
ORDER = "blop_acquisition_order"
"""Start document of an acquisition: the ids of the suggestions in the order of the events."""


class SladsOptimizer:
    """An agent with the methods of ``bluesky_adaptive.protocols``: Optimizer, stop criterion, failures, checkpoint.

    Parameters
    ----------
    agent : SladsAgent
        Decides.
    axes : (str, str)
        Names of the actuators that move the beam along x and along y, in µm.
    path : path, optional
        File for `checkpoint`.
    """

    def __init__(
        self, agent: SladsAgent, axes: tuple[str, str] = ("beam_x", "beam_y"), path: str | Path | None = None
    ) -> None:
        self.agent, self.axes = agent, axes
        self.path = None if path is None else Path(path)
        self._pending: dict[int, None] = {}
        self._taken: dict[int, tuple[int, str]] = {}

    def suggest(self, num_points: int | None = None) -> list[dict[str, Any]]:
        """Suggest pixels that are neither measured nor suggested already.

        Returns
        -------
        list of dict
            ``_id``, the flat index of the pixel, and the position along each axis, µm. Shorter than `num_points`
            where fewer pixels are left; empty where none is.
        """
        wanted = 1 if num_points is None else int(num_points)
        found = [
            s.pixel for s in self.agent.suggest(wanted + len(self._pending)) if s.pixel not in self._pending
        ]
        self._pending.update(dict.fromkeys(found[:wanted]))
        return [self._point(pixel) for pixel in found[:wanted]]

    def register_suggestions(self, suggestions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Give positions of a user's own the ids of their pixels; DataError outside the grid."""
        registered = [{**point, ID: self._pixel({**point, ID: None})} for point in suggestions]
        self._pending.update(dict.fromkeys(point[ID] for point in registered))
        return registered

    def ingest(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Take outcomes: ``label`` and ``verdict`` (by default ``ok``) of pixels, by ``_id`` or by position.

        Raises
        ------
        DataError
            If an outcome has no label, or no pixel of the grid; nothing of the batch is taken then.
        """
        taken = []
        for point in points:
            if "label" not in point:
                raise DataError(f"an outcome without a label: {dict(point)}")
            taken.append((self._pixel(point), int(point["label"]), str(point.get("verdict", "ok"))))
        for pixel, label, verdict in taken:
            self._take(pixel, label, verdict)

    def register_failures(self, suggestions: Sequence[Mapping[str, Any]]) -> None:
        """Count pixels that could not be measured as measured without a vote, so that they are not tried again."""
        for point in suggestions:
            self._take(self._pixel(point), UNCLASSIFIED, "ill")

    def should_stop(self) -> tuple[bool, str | None]:
        """Whether the map is done, and why."""
        reason = self.agent.stop_reason
        return bool(reason), reason or None

    def get_best_points(self) -> list[tuple[Hashable, dict[str, Any], dict[str, Any]]]:
        """Nothing: a map has no best point."""
        return []

    def checkpoint(self) -> None:
        """Write what was measured to the file; ConfigError without one."""
        if self.path is None:
            raise ConfigError("checkpoints need a file: SladsOptimizer(agent, path=…)")
        state = {"agent": self.agent.configuration(), "axes": self.axes, "measured": list(self._measured())}
        with atomic_write(self.path) as partial:
            partial.write_text(json.dumps(state), encoding="utf-8")

    @classmethod
    def restore(cls, path: str | Path, model: Any = None) -> SladsOptimizer:
        """Make the optimizer of a checkpoint; RecordError naming the file if it is not one.

        Parameters
        ----------
        path : path
            Written by `checkpoint`.
        model : optional
            The sampler's model, if it needs one.
        """
        try:
            state = json.loads(Path(path).read_text(encoding="utf-8"))
            agent = SladsAgent.from_configuration(state["agent"], model)
            made = cls(agent, (str(state["axes"][0]), str(state["axes"][1])), path)
            for pixel, label, verdict in state["measured"]:
                made._take(int(pixel), int(label), str(verdict))
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise RecordError(f"{path}: not a checkpoint of this program ({error})") from error
        return made

    def _measured(self) -> list[tuple[int, int, str]]:
        return [(pixel, label, verdict) for pixel, (label, verdict) in self._taken.items()]

    def _take(self, pixel: int, label: int, verdict: str) -> None:
        keys = self.agent.keys
        self.agent.ingest({"data": {keys.pixel: pixel, keys.label: label, keys.verdict: verdict}})
        self._pending.pop(pixel, None)
        self._taken[pixel] = (label, verdict)

    def _point(self, pixel: int) -> dict[str, Any]:
        x, y = self.agent.grid.position(pixel)
        return {ID: pixel, self.axes[0]: x, self.axes[1]: y}

    def _pixel(self, point: Mapping[str, Any]) -> int:
        found = point.get(ID)
        if isinstance(found, int | np.integer) and not isinstance(found, bool):
            return int(found)
        try:
            return self.agent.grid.pixel(float(point[self.axes[0]]), float(point[self.axes[1]]))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise DataError(f"{dict(point)} is no pixel of the grid: {error}") from None


class RunLabels(StreamRouter):
    """Labels and verdicts of the events that an acquisition emitted; `evaluate` is the evaluation function.

    A document callback: subscribe it to the RunEngine. The acquisition's start document names the suggestions in the
    order of its events, as those of ``bluesky_adaptive.plans.default_acquire`` and `spot_acquisition` do.

    Parameters
    ----------
    keys : EventKeys, optional
        Where in an Event to look.
    """

    def __init__(self, keys: EventKeys | None = None) -> None:
        super().__init__()
        self._keys = keys or EventKeys()
        self._runs: dict[str, str] = {}
        self._order: dict[str, list[Hashable]] = {}
        self._rows: dict[str, list[tuple[int, str]]] = {}

    def start(self, doc: Any) -> None:
        """Note the order of the suggestions."""
        if ORDER in doc:
            self._order[doc["uid"]], self._rows[doc["uid"]] = list(doc[ORDER]), []

    def stream_descriptor(self, stream: str, doc: dict[str, Any]) -> None:
        """Note which run the stream is of."""
        if stream == "primary" and doc["run_start"] in self._order:
            self._runs[doc["uid"]] = doc["run_start"]

    def stream_event(self, stream: str, doc: dict[str, Any]) -> None:
        """Keep label and verdict of a point."""
        run, keys, data = self._runs.get(doc["descriptor"]), self._keys, doc["data"]
        if run is not None and keys.label in data:
            self._rows[run].append((int(data[keys.label]), str(data[keys.verdict])))

    def evaluate(self, uid: str, suggestions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Outcomes of a run's suggestions: ``_id``, ``label``, ``verdict``; DataError if an event is missing."""
        order, rows = self._order.pop(uid, None), self._rows.pop(uid, [])
        if order is None or len(rows) != len(order):
            raise DataError(
                f"run {str(uid)[:8]}: {len(rows)} classified events for {len(suggestions)} suggestions"
            )
        return [
            {ID: one, "label": label, "verdict": verdict}
            for one, (label, verdict) in zip(order, rows, strict=True)
        ]


def spot_acquisition(
    beam: Any, eds: Any, *, dwell_s: float = 10.0, timeout_s: float | None = None
) -> Callable[..., Generator[Any, Any, str]]:
    """Make the acquisition plan of an optimization: spots one after the other, the beam blanked between them.

    Parameters
    ----------
    beam, eds : Beam, Detector
    dwell_s : float
        Live time of each spectrum, s.
    timeout_s : float, optional
        How long an acquisition may take.

    Returns
    -------
    callable
        ``plan(suggestions, actuators, sensors, md)``, which returns the uid of its run.
    """
    from bluesky import preprocessors as bpp
    from bluesky.utils import Msg

    from .plans.stubs import leave, measure

    def acquire(
        suggestions: Sequence[Mapping[str, Any]],
        actuators: Sequence[Any],
        sensors: Sequence[Any] | None = None,
        md: Mapping[str, Any] | None = None,
    ) -> Generator[Any, Any, str]:
        x, y = (actuator.name for actuator in actuators)
        about = {**(md or {}), "plan_name": "spot_acquisition", ORDER: [point[ID] for point in suggestions]}

        def points() -> Generator[Any, Any, str]:
            uid: str = yield Msg("open_run", None, **about)
            for point in suggestions:
                yield from measure(beam, eds, (float(point[x]), float(point[y])), timeout=timeout_s)
            yield Msg("close_run", None)
            return uid

        def staged() -> Generator[Any, Any, str]:
            for device in (beam, eds):
                yield Msg("stage", device)
            yield Msg("configure", eds, {"live_time": dwell_s})
            return (yield from points())

        def ended() -> Generator[Any, Any, None]:
            yield from leave(beam, [beam, eds])

        uid: str = yield from bpp.set_run_key_wrapper(bpp.finalize_wrapper(staged(), ended), "spots")
        return uid

    return acquire
