"""The adaptive map: suggest, move, acquire, record, learn from what was recorded, and again.

The order of a point is that of ARCHITECTURE.md, "The way of one pixel". The agent learns from the Event that was
emitted, so what it knows is what the journal holds, whatever was paused, resumed or repeated in between.
"""

import functools
import importlib.metadata
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any

from bluesky.preprocessors import finalize_wrapper
from bluesky.utils import Msg

from slads_bluesky.errors import ConfigError
from slads_bluesky.protocols import Agent, Suggestion

from .ledger import Ledger
from .readables import MapReadable, ScanPoint
from .stubs import BeamLike, DetectorLike, EventCollector, blank, in_thread, measure, record

__all__ = ["adaptive_map", "start_document"]

VERSIONS_OF = ("slads-bluesky", "bluesky", "ophyd", "event-model", "numpy", "scipy", "numba", "torch")


def adaptive_map(
    beam: BeamLike,
    eds: DetectorLike,
    agent: Agent,
    *,
    baseline: Sequence[Any] = (),
    dwell_s: float | None = 10.0,
    map_every: int | None = None,
    timeout_s: float | None = None,
    ledger: Ledger | None = None,
    md: Mapping[str, Any] | None = None,
) -> Generator[Msg, Any, str]:
    """Map a specimen adaptively: one run, until the agent is done.

    Parameters
    ----------
    beam : BeamLike
        ``set((x, y))`` in µm moves it blanked; its ``blanker`` takes True and False.
    eds : DetectorLike
        Its ``trigger`` acquires and classifies; its keys are those of ``agent.keys``.
    agent : Agent
        Decides where to measure, and when the map is done.
    baseline : sequence of Readable
        Settings of the microscope, read before the first point and after the last into the stream ``baseline``.
    dwell_s : float, optional
        Live time of each spectrum in s, given to ``eds.configure``; None leaves the detector's presets alone.
    map_every : int, optional
        Points between two records of the map in the stream ``map``: None for one at each doubling of the number
        of points, 0 for none but the final one.
    timeout_s : float, optional
        How long any one step may take; by default 30 s and three times the dwell.
    ledger : Ledger, optional
        Takes how long the steps of each point took; its summary becomes the stream ``ledger``.
    md : mapping, optional
        Added to the start document.

    Returns
    -------
    str
        Why the map ended, as in the stop document.

    Raises
    ------
    ConfigError
        If the beam has no blanker, or dwell or map_every are negative.
    """
    if not hasattr(beam, "blanker"):
        raise ConfigError(
            f"{getattr(beam, 'name', beam)} has no blanker: a map needs a beam that can be blanked"
        )
    if dwell_s is not None and not dwell_s > 0:
        raise ConfigError(f"dwell must be positive, not {dwell_s} s")
    if map_every is not None and map_every < 0:
        raise ConfigError(f"map_every must be 0 or more, not {map_every}")
    timeout = timeout_s if timeout_s is not None else 30.0 + 3.0 * (dwell_s or 10.0)
    arguments = {"dwell_s": dwell_s, "map_every": map_every, "timeout_s": timeout_s}
    times = ledger if ledger is not None else Ledger()
    executor = ThreadPoolExecutor(1, thread_name_prefix="slads-decide")
    point, the_map, collector = ScanPoint(agent.grid), MapReadable("map"), EventCollector("primary")
    devices = _unique([beam, eds, *baseline])

    def decide(event: Mapping[str, Any] | None) -> tuple[Suggestion | None, str]:
        began = perf_counter()
        if event is not None:
            agent.ingest(event)
        reason = agent.stop_reason if agent.should_stop() else ""
        chosen = None if reason else next(iter(agent.suggest(1)), None)
        times.add("decide", began)
        return chosen, reason or ("" if chosen else "nothing is left to suggest")

    def draw() -> Generator[Msg, Any, None]:
        the_map.take((yield from in_thread(executor, agent.map_data)))
        yield from record("map", [the_map])
        yield Msg("checkpoint")

    def scan() -> Generator[Msg, Any, str]:
        yield Msg("subscribe", None, collector, "all")
        for device in devices:
            yield Msg("stage", device)
        if dwell_s is not None:
            yield Msg("configure", eds, {"live_time": dwell_s})
        yield Msg("open_run", None, **start_document(beam, eds, agent, arguments, md))
        if baseline:
            yield from record("baseline", baseline)
        yield Msg("checkpoint")
        suggestion, reason = yield from in_thread(executor, lambda: decide(None))
        done = 0
        next_map = (
            map_every if map_every is not None else max(2 * agent.n_measured, agent.grid.n_pixels // 50)
        )
        while suggestion is not None:
            yield Msg("checkpoint")
            yield from measure(
                beam, eds, point.choose(suggestion), [point], timeout=timeout, ledger=times
            )  # fmt: skip
            yield Msg("checkpoint")
            event = collector.take()
            if event is None:  # nobody runs the messages: a dry run, which one point is enough for
                reason = "a dry run"
                break
            suggestion, reason = yield from in_thread(executor, lambda event=event: decide(event))  # type: ignore[misc]
            done += 1
            if suggestion is not None and next_map and (done if map_every else agent.n_measured) >= next_map:
                yield from draw()
                next_map += map_every if map_every else next_map
        if reason != "a dry run":
            yield from draw()
        if baseline:
            yield from record("baseline", baseline)
        yield Msg("close_run", None, exit_status="success", reason=reason)
        return reason

    def clean_up() -> Generator[Msg, Any, None]:
        yield from blank(beam)
        for device in reversed(devices):
            yield Msg("unstage", device)
        executor.shutdown(wait=False)

    ending: str = yield from finalize_wrapper(scan(), clean_up)
    return ending


def start_document(
    beam: Any, eds: Any, agent: Agent, arguments: Mapping[str, Any], md: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Metadata that a replay, a table or a plot needs; JSON only.

    Parameters
    ----------
    beam, eds : devices
        Named in ``motors`` and ``detectors``.
    agent : Agent
        Its grid, configuration, and from that seed and model hashes.
    arguments : mapping
        Arguments of the plan.
    md : mapping, optional
        The user's; wins where keys are the same, except for what a replay needs.
    """
    grid, configuration = agent.grid, agent.configuration()
    (y0, y1), (x0, x1) = grid.extents_um
    fields = [f"{beam.name}_y", f"{beam.name}_x"]
    classifier = getattr(eds, "classifier", None)
    hashes = dict(configuration.get("model_hashes", {}))
    if classifier is not None:
        hashes.setdefault("classifier", classifier.sha256)
    return {
        "plan_name": "adaptive_map",
        "plan_type": "generator",
        "detectors": [eds.name],
        "motors": [beam.name],
        "hints": {"dimensions": [([field], "primary") for field in fields]},
        **(md or {}),
        "plan_args": {
            "beam": beam.name,
            "eds": eds.name,
            "agent": configuration.get("agent", ""),
            **arguments,
        },
        "shape": [int(n) for n in grid.shape],
        "extents": [[y0, y1], [x0, x1]],
        "grid": grid.to_json(),
        "agent": configuration,
        "seed": configuration.get("seed"),
        "model_hashes": hashes,
        "phases": list(getattr(classifier, "phases", ())),
        "versions": versions(),
    }


@functools.cache
def versions() -> dict[str, str]:
    """Versions of the packages that a result may depend on; one that is not installed is left out."""
    found = {}
    for name in VERSIONS_OF:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _unique(devices: Sequence[Any]) -> list[Any]:
    kept: list[Any] = []
    for device in devices:
        if not any(device is other for other in kept):
            kept.append(device)
    return kept
