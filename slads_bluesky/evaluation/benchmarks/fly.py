"""Point lists against the hardware's own time: a map in real time, its record, and the same map point by point."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...callbacks.statistics import RunStatistics
from ...memory import peak_rss_mb
from ...progress import Progress, no_progress
from ..figures import Figure, at_least, at_most, equal, measured

__all__ = ["measure_pace", "pace_figures"]

DWELL_S = 1e-3
SETTLE_S = 50e-6
FLAT_PERCENT = 5.0
"""Growth of the memory in three quarters of a map up to which it counts as flat, % of its peak."""


class _Moments:
    """Document callback that keeps how many rows were on record when, and how much memory was in use."""

    def __init__(self) -> None:
        self.rows = 0
        self.memory_mb: list[tuple[int, float]] = []

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        if name == "event_page" and "scan_pixel" in doc["data"]:
            self.rows += len(doc["seq_num"])
            self.memory_mb.append((self.rows, peak_rss_mb()))


def measure_pace(
    object_name: str,
    fraction: float,
    *,
    batch: int | float | str = "auto",
    points: int = 200,
    seed: int = 0,
    verified: bool = True,
    folder: Path | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Map an object in real time over Channel Access, by lists with a record, and in the same way point by point.

    Parameters
    ----------
    object_name : str
    fraction : float
        Part of the pixels.
    batch : int, float or "auto"
        See `plans.batches.batch_size`.
    points : int
        Points of the map point by point, 0 for none.
    seed : int
    verified : bool
        Whether to verify the record afterwards.
    folder : Path, optional
        Where the record is kept; by default it is thrown away.
    progress : callable

    Returns
    -------
    dict
        Times in s, µs and ms as the names say; ``ratio``: wall time of the lists over their dwells and settle times.
    """
    from bluesky import RunEngine

    from ...analysis.load import load_map
    from ...devices.sim.process import SimulatedMicroscope
    from ...phantom import make_object
    from ...plans.adaptive import adaptive_map
    from ...plans.ledger import Ledger
    from ...record import Recorder
    from ...record.resume import rebuild_agent
    from ...record.runs import find_run
    from ...record.verify import verify
    from ...simulation.models import prepare_models
    from ...simulation.run import make_agent, make_flyer

    progress(f"preparing {object_name}", 0.0)
    phantom = make_object(object_name, seed)
    models = prepare_models(object_name, sampler="learned", classifier="likelihood", seed=seed)
    found: dict[str, Any] = {"object": object_name, "fraction": fraction, "batch": batch}
    with (
        tempfile.TemporaryDirectory() as scratch,
        SimulatedMicroscope(object_name, seed, time_scale=1.0) as microscope,
    ):
        from ...devices import EDSDetector, SEMBeam

        beam = SEMBeam(f"{microscope.prefix}Beam:", name="beam")
        eds = EDSDetector(f"{microscope.prefix}EDS:mca1", name="eds", classifier=models.classifier, beam=beam)
        flyer = make_flyer(beam, eds, 1.0)
        directory = folder or Path(scratch) / "record"
        with Recorder(directory) as recorder:
            progress(f"{object_name} by lists", 0.1)
            agent, ledger, moments = (
                make_agent(phantom, models, fraction=fraction, seed=seed),
                Ledger(),
                _Moments(),
            )
            # the first inference and the first list are slower: they are not what is measured
            make_agent(phantom, models, fraction=fraction, seed=seed).sampler.reconstruct()
            statistics = RunStatistics(agent.keys)
            engine: Any = RunEngine({})
            for subscriber in (recorder, statistics, moments):
                engine.subscribe(subscriber)
            engine(
                adaptive_map(
                    beam, eds, agent, dwell_s=DWELL_S, stop_rule=None, flyer=flyer, batch=batch, ledger=ledger,
                    md={"sample": object_name},
                )
            )  # fmt: skip
            n = int(statistics.pixels.size)
            lists, hardware = np.array(ledger.seconds("list")), np.array(ledger.seconds("hardware"))
            found.update(
                n=n,
                lists=len(lists),
                overruns=int(flyer.engine.mapping.overruns.get()),
                wall_s=float(lists.sum()),
                hardware_s=float(hardware.sum()),
                ratio=float(lists.sum() / hardware.sum()),
                overhead_us_a_pixel=float(np.median(ledger.seconds("overhead"))) * 1e6,
                decide_ms=ledger.median_ms("decide"),
                journal_ms=ledger.median_ms("journal"),
                td=float((agent.sampler.reconstruct() != phantom.truth).mean()),
                verdicts=agent.verdicts,
                memory_growth_mb=_growth(moments.memory_mb),
                memory_peak_mb=max((mb for _, mb in moments.memory_mb), default=math.nan),
            )
            if points:
                progress(f"{object_name} point by point", 0.7)
                found.update(_point_by_point(beam, eds, phantom, models, points, seed))
            recorder.flush(600)
        if verified:
            progress("verifying", 0.9)
            data = load_map(find_run("-1", directory))
            result = verify(data, rebuild_agent(data.start, models.sampler), models.classifier)
            found.update(
                recorded=data.n_measured, verify_passed=result.passed, differences=dict(result.counts)
            )
    return found


def _growth(memory: list[tuple[int, float]]) -> float:
    """Memory that was taken between a quarter of the rows and the end, MB."""
    if not memory:
        return math.nan
    quarter = next(mb for rows, mb in memory if rows >= memory[-1][0] / 4)
    return memory[-1][1] - quarter


def _point_by_point(beam: Any, eds: Any, phantom: Any, models: Any, n: int, seed: int) -> dict[str, Any]:
    """Map `n` points one by one, without a record; what the software adds to dwell and settle time."""
    from bluesky import RunEngine

    from ...plans.adaptive import adaptive_map
    from ...simulation.run import make_agent

    agent = make_agent(phantom, models, fraction=min(1.0, n / phantom.truth.size), seed=seed)
    statistics = RunStatistics(agent.keys)
    engine: Any = RunEngine({})
    engine.subscribe(statistics)
    began = time.perf_counter()
    engine(adaptive_map(beam, eds, agent, dwell_s=DWELL_S, stop_rule=None, map_every=0))
    wall = time.perf_counter() - began
    overhead = statistics.point_s - statistics.real_time_s / statistics.pixels.size - SETTLE_S
    return {
        "point_n": int(statistics.pixels.size),
        "point_wall_s": wall,
        "point_overhead_us": float(np.median(overhead)) * 1e6,
    }


def pace_figures(found: dict[str, Any]) -> list[Figure]:
    """Return the figures of one map, from the results of `measure_pace`."""
    what = f"{found['object']} at {found['fraction']:.0%}, batch {found['batch']}"
    out = [
        at_most(f"{what}: wall time over dwells and settle times", found["ratio"], 1.25),
        at_most(f"{what}: software, median a pixel", found["overhead_us_a_pixel"], 150, "µs"),
    ]
    if "point_overhead_us" in found:
        times = found["point_overhead_us"] / max(found["overhead_us_a_pixel"], 1.0)
        out.append(measured(f"{what}: point by point, software a pixel", found["point_overhead_us"], "µs"))
        out.append(at_least(f"{what}: less overhead than point by point, times", times, 20))
    if "verify_passed" in found:
        out.append(equal(f"{what}: rows on record", found["recorded"], found["n"]))
        out.append(equal(f"{what}: replay --verify passed", found["verify_passed"], True))
    out.append(measured(f"{what}: memory taken after the first quarter", found["memory_growth_mb"], "MB"))
    out.append(measured(f"{what}: buffers lost", found["overruns"]))
    return out


def large_figures(found: dict[str, Any]) -> list[Figure]:
    """Return the figures of the large map: time besides the dwell, memory, record."""
    besides = found["wall_s"] - found["n"] * DWELL_S
    return [
        *pace_figures(found),
        at_most(f"{found['object']}: wall time besides the dwell", besides / 60.0, 4.0, "min"),
        at_most(
            f"{found['object']}: memory taken after the first quarter of the points, of its peak",
            100.0 * found["memory_growth_mb"] / found["memory_peak_mb"],
            FLAT_PERCENT,
            "%",
        ),
    ]


Measure = Callable[..., dict[str, Any]]
