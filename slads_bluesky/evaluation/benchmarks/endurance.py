"""A long map over Channel Access: whether memory, file handles, threads and time per point stay as they were."""

from __future__ import annotations

import os
import tempfile
import time
from array import array
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ConfigError
from ...progress import Progress, no_progress, part_of
from ..figures import Figure, at_most, equal, measured

__all__ = ["endurance_figures", "flatness", "measure_endurance"]

SAMPLES = 500
"""How often the processes are looked at."""
START = 0.02
"""Part of the points in the initial mask, so that nearly all of the first tenth is decided as the last one is."""
MAPS = 50
"""How often the map is recorded."""
SHARE = 0.1
"""Part of the points at the beginning, and at the end, that are compared."""
FLAT, FLAT_TIME = 0.05, 0.10
"""Growth from the first to the last tenth that counts as none: of counts and memory, and of time."""


def measure_endurance(
    points: int,
    object_name: str,
    *,
    seed: int = 0,
    folder: Path | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Map so many points over Channel Access with a record, and look at the processes now and then.

    Parameters
    ----------
    points : int
        At most the pixels of the object.
    object_name : str
        Simulated object.
    seed : int
        Of object and training.
    folder : Path, optional
        Where the record is kept while it lasts; by default the system's temporary files.
    progress : callable, optional
        Called with the stage and the fraction of the points that is done.

    Returns
    -------
    dict
        ``points``, ``wall_s``; ``session``, ``ioc``, ``writer``: samples of ``rss_mb``, ``handles``, ``threads``,
        ``cpu_s`` after so many ``after`` points; ``point_ms``: medians of the first and the last tenth.

    Raises
    ------
    ConfigError
        If the object has fewer pixels.
    """
    from ...devices.sim.process import SimulatedMicroscope
    from ...phantom import make_object
    from ...record import Recorder
    from ...simulation.models import prepare_models
    from ...simulation.run import make_agent

    phantom = make_object(object_name, seed)
    if points > phantom.truth.size:
        raise ConfigError(f"{object_name} has {phantom.truth.size} pixels, not {points}")
    models = prepare_models(
        object_name, seed=seed, classifier="likelihood", progress=part_of(progress, 0.0, 0.01)
    )
    agent = make_agent(
        phantom,
        models,
        fraction=points / phantom.truth.size,
        initial=START * points / phantom.truth.size,
        seed=seed,
    )
    with (
        tempfile.TemporaryDirectory(
            prefix="slads-endurance-", dir=folder, ignore_cleanup_errors=True
        ) as scratch,
        Recorder(Path(scratch) / "record") as recorder,
        SimulatedMicroscope(object_name, seed) as simulated,
    ):
        assert simulated.pid is not None
        watch = _Watch(points, {"session": "self", "ioc": str(simulated.pid), "writer": str(recorder.writer_pid)},
                       progress)  # fmt: skip
        _map(simulated.prefix, models.classifier, agent, recorder, watch)
        recorder.flush(timeout=600)
    return {"points": points, "object": object_name, "seed": seed, **watch.result()}


def _map(prefix: str, classifier: Any, agent: Any, recorder: Any, watch: _Watch) -> None:
    from bluesky import RunEngine

    from ...devices import EDSDetector, SEMBeam
    from ...plans.adaptive import adaptive_map

    beam = SEMBeam(f"{prefix}Beam:", name="beam")
    eds = EDSDetector(f"{prefix}EDS:mca1", name="eds", classifier=classifier, beam=beam)
    engine: Any = RunEngine({}, context_managers=[])
    engine.subscribe(recorder)
    engine.subscribe(watch)
    engine(adaptive_map(beam, eds, agent, map_every=max(1, watch.points // MAPS)))


class _Watch:
    """Document callback that notes the time of every point, and looks at processes at some of them."""

    def __init__(self, points: int, processes: dict[str, str], progress: Progress) -> None:
        self.points, self._progress = points, progress
        self._roots = {name: Path("/proc") / pid for name, pid in processes.items()}
        self._every = max(1, points // SAMPLES)
        self._times = array("d")
        self._after: list[int] = []
        self._found: dict[str, list[tuple[float, int, int, float]]] = {name: [] for name in processes}

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        if name != "event" or "scan_pixel" not in doc["data"]:
            return
        self._times.append(time.perf_counter())
        n = len(self._times)
        if n % self._every == 0:
            self._after.append(n)
            for process, root in self._roots.items():
                self._found[process].append(_look(root))
            self._progress("mapping over Channel Access", 0.01 + 0.99 * min(1.0, n / self.points))

    def result(self) -> dict[str, Any]:
        """What was noted."""
        steps = 1e3 * np.diff(self._times)
        tenth = max(1, round(SHARE * steps.size))
        keys = ("rss_mb", "handles", "threads", "cpu_s")
        return {
            "wall_s": self._times[-1] - self._times[0],
            "after": self._after,
            **{
                name: {key: [sample[i] for sample in found] for i, key in enumerate(keys)}
                for name, found in self._found.items()
            },
            "point_ms": {
                "median": float(np.median(steps)),
                "first": float(np.median(steps[:tenth])),
                "last": float(np.median(steps[-tenth:])),
            },
        }


def _look(root: Path) -> tuple[float, int, int, float]:
    """Resident memory in MiB, file handles, threads and processor time in s of a process."""
    fields = dict(line.split(":", 1) for line in (root / "status").read_text().splitlines() if ":" in line)
    rss = int(fields["VmRSS"].split()[0]) / 1024
    user, system = (root / "stat").read_text().rpartition(")")[2].split()[11:13]
    cpu = (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return rss, sum(1 for _ in (root / "fd").iterdir()), int(fields["Threads"]), cpu


def flatness(values: Sequence[float]) -> float:
    """Return by how much the median of the last tenth exceeds that of the first, as a part of the first.

    Examples
    --------
    >>> round(flatness([100.0] * 90 + [105.0] * 10), 6)
    0.05
    """
    tenth = max(1, round(SHARE * len(values)))
    first, last = float(np.median(values[:tenth])), float(np.median(values[-tenth:]))
    return last / first - 1.0


def growth_of_means(values: Sequence[float]) -> float:
    """Return by how much the mean of the last tenth exceeds that of the first, as a part of it; 0 where that is 0.

    For times that a clock of 10 ms counts, whose median is a multiple of that.
    """
    tenth = max(1, round(SHARE * len(values)))
    first, last = float(np.mean(values[:tenth])), float(np.mean(values[-tenth:]))
    return last / first - 1.0 if first > 0 else 0.0


def endurance_figures(found: dict[str, Any]) -> list[Figure]:
    """Return the figures of the issue on trust, from the results of `measure_endurance`."""
    figures = [equal("points", len(found["after"]) and found["points"], found["points"])]
    for process in ("session", "ioc", "writer"):
        samples = found[process]
        figures.append(
            at_most(f"{process}: growth of memory", 100 * flatness(samples["rss_mb"]), 100 * FLAT, "%")
        )
        figures.append(measured(f"{process}: memory at the end", samples["rss_mb"][-1], "MB"))
        for key, name in (("handles", "file handles"), ("threads", "threads")):
            growth = 100 * flatness(samples[key])
            figures.append(at_most(f"{process}: growth of {name}", growth, 100 * FLAT, "%"))
        cpu = [after - before for before, after in pairwise(samples["cpu_s"])]
        figures.append(
            at_most(
                f"{process}: growth of processor time per point",
                100 * growth_of_means(cpu),
                100 * FLAT_TIME,
                "%",
            )
        )
    times = found["point_ms"]
    growth = 100 * (times["last"] / times["first"] - 1.0)
    figures.append(measured("time per point, median", times["median"], "ms"))
    figures.append(at_most("growth of the time per point", growth, 100 * FLAT_TIME, "%"))
    return figures
