"""Cost of one adaptive point against a bare list scan, and what interruptions lose."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import tempfile
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ...progress import Progress, no_progress, part_of
from ...streams import final_events
from ..figures import Figure, at_most, equal, measured

__all__ = ["measure_points", "point_figures"]


def measure_points(
    object_name: str,
    points: int,
    turns: int,
    pauses: int,
    trips: int,
    *,
    sampler: str,
    classifier: str,
    seed: int,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Time adaptive points against a bare list scan of the same points, and count what interruptions lose.

    Parameters
    ----------
    object_name : str
        Simulated object.
    points : int
        Points of each timed run.
    turns : int
        How often adaptive and bare runs alternate.
    pauses, trips : int
        Immediate pauses, and beam trips, at random moments of one run.
    sampler, classifier : str
        As of `simulation.models.prepare_models`.
    seed : int
        Of object, training and interruptions.
    progress : callable, optional
        Called with the stage and the fraction of the work that is done, about.

    Returns
    -------
    dict
        ``channel_access`` and ``soft``: times in ms; ``interrupted``: counts of points.
    """
    from ...devices.sim.process import SimulatedMicroscope
    from ...phantom import make_object
    from ...record import Recorder
    from ...simulation.models import prepare_models
    from ...simulation.run import make_agent

    phantom = make_object(object_name, seed)
    progress("preparing models", 0.0)
    models = prepare_models(
        object_name, sampler=sampler, classifier=classifier, seed=seed, progress=part_of(progress, 0.0, 0.1)
    )
    fraction = min(1.0, points / (phantom.shape[0] * phantom.shape[1]))

    def new_agent() -> Any:
        return make_agent(phantom, models, fraction=fraction, seed=seed)

    found: dict[str, Any] = {"object": object_name, "seed": seed, "points": points, "sampler": sampler,
                             "classifier": classifier}  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch, Recorder(Path(scratch) / "record") as recorder:
        recorder.flush()  # its writer is up
        log = Path(scratch) / "ioc.jsonl"
        with SimulatedMicroscope(object_name, seed=seed, log=log) as simulated:
            from ophyd import EpicsSignal

            from ...devices import EDSDetector, SEMBeam

            prefix = simulated.prefix
            beam = SEMBeam(f"{prefix}Beam:", name="beam")
            eds = EDSDetector(f"{prefix}EDS:mca1", name="eds", classifier=models.classifier, beam=beam)
            reset = EpicsSignal(f"{prefix}Sim:Reset", name="reset", put_complete=True)
            trip = EpicsSignal(f"{prefix}Sim:Trip", name="trip", put_complete=True)
            for signal in (reset, trip):
                signal.wait_for_connection(10)
            reset.set(1).wait(10)
            progress("points over Channel Access", 0.1)
            found["channel_access"] = _timed(beam, eds, new_agent, recorder, turns)
            reset.set(1).wait(10)
            log.write_text("")
            progress("interruptions", 0.6)
            found["interrupted"] = _interrupted(
                beam, eds, new_agent(), new_agent(), trip, log, pauses, trips, seed
            )
        from ...devices.sim.soft import soft_microscope

        progress("points on soft devices", 0.8)
        soft_beam, soft_eds, _ = soft_microscope(phantom, models.classifier)
        found["soft"] = _timed(soft_beam, soft_eds, new_agent, recorder, turns)
    return found


def point_figures(found: dict[str, Any]) -> list[Figure]:
    """Return the figures of a point, from the results of `measure_points`."""
    at, cut = found["channel_access"], found["interrupted"]
    return [
        at_most("adaptive point over Channel Access, median", at["adaptive_ms"]["median"], 8, "ms"),
        at_most("adaptive / bare over Channel Access", at["ratio"], 1.25),
        at_most("adaptive point on soft devices, median", found["soft"]["adaptive_ms"]["median"], 3, "ms"),
        at_most("adaptive / bare on soft devices", found["soft"]["ratio"], 1.25),
        measured("interruptions", cut["pauses"] + cut["trips"]),
        equal("points lost", cut["lost"], 0),
        equal("points twice", cut["doubled"], 0),
        equal("points whose position, spectrum or label are not the IOC's", cut["mismatched"], 0),
        equal("points taken without beam", cut["invalid"], 0),
        equal("the agent knows exactly what is recorded", cut["agent_equals_record"], True),
    ]


def _timed(beam: Any, eds: Any, new_agent: Any, recorder: Any, turns: int) -> dict[str, Any]:
    """Alternate adaptive and bare runs, so that a busy moment of the machine slows both; medians and ratio."""
    from ...plans.adaptive import adaptive_map
    from ...plans.engine import BeamSafeEngine
    from ...plans.ledger import Ledger

    engine: Any = BeamSafeEngine({})
    engine.beams.append(beam)
    ledger = Ledger()
    adaptive: list[float] = []
    bare: list[float] = []
    for _ in range(turns):
        ends: list[float] = []
        pixels: list[int] = []

        def note(name: str, document: dict[str, Any], ends: Any = ends, pixels: Any = pixels) -> None:
            if name == "event" and "scan_pixel" in document["data"]:
                ends.append(time.perf_counter())
                pixels.append(document["data"]["scan_pixel"])

        agent = new_agent()
        tokens = [engine.subscribe(recorder), engine.subscribe(note)]
        engine(adaptive_map(beam, eds, agent, dwell_s=10.0, map_every=0, ledger=ledger))
        recorder.flush()
        for token in tokens:
            engine.unsubscribe(token)
        adaptive += np.diff(ends).tolist()
        bare += _bare(engine, beam, eds, [agent.grid.position(pixel) for pixel in pixels])
    return {
        "bare_ms": _spread(bare),
        "adaptive_ms": _spread(adaptive),
        "ratio": float(np.median(adaptive) / np.median(bare)),
        "ledger": ledger.summary(),
    }


def _bare(engine: Any, beam: Any, eds: Any, positions: list[tuple[float, float]]) -> list[float]:
    """Time the shortest plan that gives the same spectra: move (it blanks), unblank, trigger, read."""
    import bluesky.plan_stubs as bps
    import bluesky.preprocessors as bpp

    times = [time.perf_counter()]

    @bpp.stage_decorator([beam, eds])  # type: ignore[untyped-decorator]
    @bpp.run_decorator()  # type: ignore[untyped-decorator]
    def scan() -> Any:
        yield from bps.configure(eds, {"live_time": 10.0, "real_time": 0.0, "counts": 0})
        for position in positions:
            yield from bps.mv(beam, position)
            yield from bps.mv(beam.blanker, False)
            yield from bps.trigger_and_read([eds, beam])
            times.append(time.perf_counter())

    engine(scan())
    found: list[float] = np.diff(times)[1:].tolist()
    return found


def _interrupted(
    beam: Any, eds: Any, agent: Any, fresh: Any, trip: Any, log: Path, pauses: int, trips: int, seed: int
) -> dict[str, Any]:
    """Run under pauses and trips, and compare the record with the IOC's log and with the agent."""
    from bluesky.utils import RunEngineInterrupted

    from ...plans.adaptive import adaptive_map
    from ...plans.engine import BeamSafeEngine
    from ...plans.suspend import beam_suspenders

    engine: Any = BeamSafeEngine({})
    engine.beams.append(beam)
    rng = np.random.default_rng([seed, 20])
    messages = 14 * (agent.n_wanted or 0)  # a point takes 16: every moment lies within the map
    moments = rng.choice(np.arange(50, messages), pauses + trips, replace=False).tolist()
    at = dict(zip(moments, ["pause"] * pauses + ["trip"] * trips, strict=True))
    counter, done = itertools.count(), {"pause": 0, "trip": 0}

    def pause() -> None:
        engine.request_pause()

    def trip_beam() -> None:
        trip.set(1).wait(10)
        while not beam.blanker.get():  # it stays off until the map is suspended
            time.sleep(0.01)
        trip.set(0).wait(10)

    def hook(_: Any) -> None:
        what = at.get(next(counter))
        if what is not None:
            done[what] += 1
            threading.Thread(target=pause if what == "pause" else trip_beam, daemon=True).start()

    engine.msg_hook = hook
    documents: list[tuple[str, dict[str, Any]]] = []
    engine.subscribe(lambda name, document: documents.append((name, document)))
    watching = beam_suspenders(beam, minimum_na=0.5)
    with contextlib.redirect_stdout(io.StringIO()):
        plan = adaptive_map(beam, eds, agent, map_every=0, suspenders=watching, timeout_s=30.0)
        try:
            engine(plan)
        except RunEngineInterrupted:
            while engine.state == "paused":
                with contextlib.suppress(RunEngineInterrupted):
                    engine.resume()
    kept = final_events(documents, ("primary", "failed"))
    primary = [doc for stream, doc in kept if stream == "primary"]
    truth = {(e["pixel"], e["crc32"]): e["valid"] for e in map(json.loads, log.read_text().splitlines())}
    mismatched = invalid = 0
    for doc in primary:
        data = doc["data"]
        spectrum = np.asarray(data["eds_spectrum"], "<i4")
        pixel = agent.grid.pixel(data["beam_x"], data["beam_y"])
        label = eds.classifier.classify(spectrum)
        good = pixel == data["scan_pixel"] and (pixel, zlib.crc32(spectrum.tobytes())) in truth
        good = good and (label.label, label.verdict) == (data["eds_label"], data["eds_verdict"])
        mismatched += not good
        invalid += not truth.get((pixel, zlib.crc32(spectrum.tobytes())), True)
    for doc in sorted((doc for _, doc in kept), key=lambda doc: doc["time"]):
        fresh.ingest(doc)
    seen = [doc["data"]["scan_pixel"] for _, doc in kept]
    return {
        "events": len(kept),
        "failed": len(kept) - len(primary),
        "pauses": done["pause"],
        "trips": done["trip"],
        "lost": int(agent.n_measured - len(set(seen))),
        "doubled": len(seen) - len(set(seen)),
        "mismatched": mismatched,
        "invalid": invalid,
        "agent_equals_record": bool(np.array_equal(agent.sampler.measured, fresh.sampler.measured)),
        "exit_status": documents[-1][1]["exit_status"],
    }


def _spread(seconds: list[float]) -> dict[str, float]:
    milliseconds = np.array(seconds) * 1e3
    return {"median": float(np.median(milliseconds)), "p99": float(np.percentile(milliseconds, 99))}
