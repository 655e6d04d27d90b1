"""``slads-bluesky bench point``: what one adaptive point costs, and whether anything is lost under interruptions."""

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
from typing import Annotated, Any

import numpy as np
import typer

from ...files import check_writable, write_json

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add ``point`` to `app`."""
    app.command()(point)


def point(
    object_name: Annotated[str, typer.Option("--object", help="Simulated object.")] = "pbsn-128",
    points: Annotated[int, typer.Option(min=50, help="Points of each timed run.")] = 1000,
    turns: Annotated[int, typer.Option(min=1, help="How often adaptive and bare runs take turns.")] = 2,
    pauses: Annotated[int, typer.Option(min=0, help="Immediate pauses at random moments.")] = 20,
    trips: Annotated[int, typer.Option(min=0, help="Trips of the beam at random moments.")] = 5,
    sampler: Annotated[str, typer.Option(help="slads or learned.")] = "slads",
    classifier: Annotated[str, typer.Option(help="likelihood or paper.")] = "likelihood",
    seed: Annotated[int, typer.Option(help="Seed of object, training and interruptions.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures there as well.")] = None,
) -> None:
    """Time adaptive points against a bare list scan of the same points, and count what interruptions lose."""
    from rich.console import Console
    from rich.table import Table

    from ...devices.sim.process import SimulatedMicroscope
    from ...phantom import make_object
    from ...record import Recorder
    from ...simulation.models import prepare_models
    from ...simulation.run import make_agent

    check_writable(json_file)
    console = Console(highlight=False)
    phantom = make_object(object_name, seed)
    models = prepare_models(object_name, sampler=sampler, classifier=classifier, seed=seed)
    fraction = min(1.0, points / (phantom.shape[0] * phantom.shape[1]))

    def new_agent() -> Any:
        return make_agent(phantom, models, fraction=fraction, seed=seed)

    figures: dict[str, Any] = {"object": object_name, "seed": seed, "points": points, "sampler": sampler,
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
            figures["channel_access"] = _timed(beam, eds, new_agent, recorder, turns)
            reset.set(1).wait(10)
            log.write_text("")
            figures["interrupted"] = _interrupted(
                beam, eds, new_agent(), new_agent(), trip, log, pauses, trips, seed
            )
        from ...devices.sim.soft import soft_microscope

        soft_beam, soft_eds, _ = soft_microscope(phantom, models.classifier)
        figures["soft"] = _timed(soft_beam, soft_eds, new_agent, recorder, turns)

    table = Table("one point, ms", "median", "p99", title=f"{object_name}, {points} points, zero dwell")
    for kind, name in (("channel_access", "over Channel Access"), ("soft", "soft devices")):
        of = figures[kind]
        table.add_row(f"{name}: bare list scan", *(f"{of['bare_ms'][key]:.2f}" for key in ("median", "p99")))
        table.add_row(
            f"{name}: adaptive, all in", *(f"{of['adaptive_ms'][key]:.2f}" for key in ("median", "p99"))
        )
        table.add_row("   adaptive / bare", f"{of['ratio']:.2f}", "", end_section=True)
    console.print(table)
    ledger = Table("step, ms", "Channel Access: median", "p99", "soft: median", "p99", title="ledger")
    for step, of in figures["channel_access"]["ledger"].items():
        soft = figures["soft"]["ledger"].get(step, {})
        ledger.add_row(step, *(f"{part.get(key, float('nan')):.3f}" for part in (of, soft)
                               for key in ("median_ms", "p99_ms")))  # fmt: skip
    console.print(ledger)
    found = figures["interrupted"]
    console.print(
        f"{found['events']} points under {found['pauses']} pauses and {found['trips']} beam trips: "
        f"{found['lost']} lost, {found['doubled']} doubled, {found['mismatched']} whose position, spectrum or label "
        f"are not the IOC's, {found['invalid']} taken without beam; the agent knows "
        f"{'exactly' if found['agent_equals_record'] else 'NOT'} what is recorded"
    )
    write_json(json_file, figures)


def _timed(beam: Any, eds: Any, new_agent: Any, recorder: Any, turns: int) -> dict[str, Any]:
    """Run adaptive and bare in turns, so that a busy moment of the machine strikes both; medians and ratio."""
    from bluesky import RunEngine

    from ...plans.adaptive import adaptive_map
    from ...plans.ledger import Ledger

    engine: Any = RunEngine({}, context_managers=[])
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
    """Time the least that gives the same spectra with bluesky's stubs: move (it blanks), unblank, trigger, read."""
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
    from bluesky import RunEngine
    from bluesky.utils import RunEngineInterrupted

    from ...plans.adaptive import adaptive_map
    from ...plans.suspend import beam_suspenders

    engine: Any = RunEngine({}, context_managers=[])
    rng = np.random.default_rng([seed, 20])
    messages = 14 * (agent.n_wanted or 0)  # a point takes 16: every moment lies within the map
    moments = rng.choice(np.arange(50, messages), pauses + trips, replace=False).tolist()
    at = dict(zip(moments, ["pause"] * pauses + ["trip"] * trips, strict=True))
    counter, done = itertools.count(), {"pause": 0, "trip": 0}

    def pause() -> None:
        engine.request_pause()

    def fall_off() -> None:
        trip.set(1).wait(10)
        while not beam.blanker.get():  # it stays off until the map is suspended
            time.sleep(0.01)
        trip.set(0).wait(10)

    def hook(_: Any) -> None:
        what = at.get(next(counter))
        if what is not None:
            done[what] += 1
            threading.Thread(target=pause if what == "pause" else fall_off, daemon=True).start()

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
    streams = {doc["uid"]: doc["name"] for name, doc in documents if name == "descriptor"}
    kept: dict[tuple[str, int], dict[str, Any]] = {}
    for name, doc in documents:  # of a repeated seq_num the last, as the catalog has it
        if name == "event" and streams[doc["descriptor"]] in ("primary", "failed"):
            kept[streams[doc["descriptor"]], doc["seq_num"]] = doc
    primary = [doc for (stream, _), doc in kept.items() if stream == "primary"]
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
    for doc in sorted(kept.values(), key=lambda doc: doc["time"]):
        fresh.ingest(doc)
    seen = [doc["data"]["scan_pixel"] for doc in kept.values()]
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
