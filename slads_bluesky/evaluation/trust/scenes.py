"""One fault at one moment of one map, and the judgement of what was seen."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...analysis.load import load_map
from ...analysis.run_data import RunData
from ...errors import InstrumentError, SladsError
from ...record.runs import find_run, list_runs, map_runs
from ...streams import final_events
from ..benchmarks import record_steps
from ..process import run_module
from .faults import AROUND, Fault, Scene
from .rig import DWELL_S, DrivenSession, Rig

__all__ = ["Seen", "SessionPool", "play", "reference_map"]

POINT = 9
"""Point at which a fault strikes: beyond the initial mask, where a decision depends on all labels before."""
READER = record_steps.__name__
"""Program that reads a run from a catalog in a process of its own."""
EXIT_S = 30.0
"""A session that has ended leaves within so many seconds."""
LONG_S = 3.0
"""Seconds by which the end of a long acquisition is late."""


@dataclass
class Seen:
    """What was seen of one fault at one moment."""

    fault: str
    moment: str
    dark_after_s: float | None = None
    """Seconds from the fault until the beam was blanked; None where that is not promised."""
    ended: str = ""
    """How the run that was struck ended."""
    wrong: list[str] = field(default_factory=list)
    """Promises that did not hold."""

    @property
    def holds(self) -> bool:
        """Whether every promise held."""
        return not self.wrong


class SessionPool:
    """One session at a time, started again when it has gone."""

    def __init__(self, rig: Rig, layer: str = "caproto") -> None:
        self._rig, self._layer, self._n = rig, layer, 0
        self.session: DrivenSession | None = None
        self.starts = 0

    def get(self) -> DrivenSession:
        """Return the running session; another one, on the same record, if it has gone."""
        if self.session is not None and not self.session.alive:
            self.drop()
        if self.session is None:
            self.session = self._rig.session(f"record-{self._n}", layer=self._layer)
            self.starts += 1
        return self.session

    def drop(self, new_record: bool = False) -> None:
        """End the session; the next one begins a record of its own if the old one may be spoilt."""
        if self.session is not None:
            self.session.close()
            self.session = None
        self._n += new_record


def reference_map(rig: Rig, pool: SessionPool) -> RunData:
    """Take the map that nothing disturbs."""
    rig.fresh()
    session = pool.get()
    session.do("map_sample", args=["undisturbed"])
    outcome = session.expect("outcome")
    if outcome["outcome"] != "ended":
        raise InstrumentError(f"the undisturbed map {outcome['outcome']}: {outcome['error']}")
    return load_map([find_run("-1", session.record).documents])


def play(rig: Rig, pool: SessionPool, fault: Fault, moment: str, reference: RunData) -> Seen:
    """Strike a run with a fault, let it end, resume it where it was cut off, and judge the whole.

    Parameters
    ----------
    rig : Rig
    pool : SessionPool
    fault : Fault
    moment : str
        One of `faults.MOMENTS`, or of `faults.AROUND`.
    reference : RunData
        The map of the same agent that nothing disturbed.
    """
    seen = Seen(fault.name, moment)
    try:
        rig.fresh()
        session = pool.get()
        before = {run.uid for run in list_runs(session.record)} if session.record.is_dir() else set()
        session = _strike(rig, session, fault, moment, seen)
        _finish(rig, pool, session, seen)
        _judge(pool.get(), rig, fault, before, reference, seen)
        if fault.catalog:
            _catalog(pool, seen)
    except (SladsError, TimeoutError, OSError) as error:
        seen.wrong.append(f"the scene broke: {error}")
        pool.drop(new_record=True)
        if not rig.microscope.running:
            rig.microscope.stop()
            rig.microscope.start()
    return seen


def _strike(rig: Rig, session: DrivenSession, fault: Fault, moment: str, seen: Seen) -> DrivenSession:
    scene = Scene(rig, session, moment)
    session.do("map_sample", args=[f"{fault.name}, {moment}"], arm=[moment, POINT])
    if moment not in AROUND:
        session.expect("near")
        if fault.long and moment == "acquire":
            rig.put("Sim:Late", LONG_S)
        session.do("go")
    session.expect("at")
    if moment == "acquire":
        _until(lambda: rig.lit, 2.0)
    struck = time.time()
    fault.strike(scene)
    time.sleep(fault.watch_s)
    if fault.dark_s is not None:
        seen.dark_after_s = rig.lit_after(struck, time.time())
        if seen.dark_after_s > fault.dark_s:
            seen.wrong.append(
                f"beam lit for {seen.dark_after_s:.1f} s{' or more' if rig.lit else ''}, not {fault.dark_s:g} s"
            )
    if fault.long and moment == "acquire":
        rig.put("Sim:Late", 0.0)
    fault.then(scene)
    return session


def _finish(rig: Rig, pool: SessionPool, session: DrivenSession, seen: Seen) -> None:
    """Wait for the end of the run; resume it from a pause, or as a new run if it was cut off."""
    outcome = session.hear("outcome")
    for _ in range(3):
        if outcome is None or outcome["outcome"] != "interrupted":
            break
        seen.ended += "paused; "
        if rig.lit:
            seen.wrong.append("the beam is lit while the run is paused")
        session.do("resume")
        outcome = session.hear("outcome")
    seen.ended += "the session ended" if outcome is None else outcome["outcome"]
    if outcome is None and not session.exits(EXIT_S):
        seen.wrong.append(f"the process of the session lives on for {EXIT_S:g} s")
    if outcome is not None and outcome["error"]:
        seen.ended += f" ({outcome['error'][:160]})"
    if rig.lit:
        seen.wrong.append("the beam is lit after the run")
        rig.put("Beam:Blank", 1)
    session = pool.get()
    status = find_run("-1", session.record).exit_status
    if status in ("unfinished", "abort", "fail"):
        rig.put("Sim:Trip", 0)
        session.do("resume_map", args=["-1"])
        again = session.expect("outcome")
        seen.ended += f"; resumed: {again['outcome']}"
        if again["outcome"] != "ended":
            seen.wrong.append(f"resuming {again['outcome']}: {again['error'][:160]}")


def _judge(
    session: DrivenSession, rig: Rig, fault: Fault, before: set[str], reference: RunData, seen: Seen
) -> None:
    chain = [run for run in map_runs(find_run("-1", session.record), session.record) if run.uid not in before]
    if not chain:
        seen.wrong.append("the run is not on record")
        return
    for run in chain:
        seen.wrong += _stop_document(list(run.documents()))
    data = load_map([run.documents for run in chain])
    seen.wrong += _events(chain, rig, data)
    if not fault.loses_vote:
        for name in ("pixels", "labels", "reconstruction"):
            if not np.array_equal(getattr(data, name), getattr(reference, name)):
                seen.wrong.append(f"{name} differ from those of the undisturbed map")
                break
    elif data.n_measured != reference.n_measured:
        seen.wrong.append(f"{data.n_measured} pixels measured, not {reference.n_measured}")


def _catalog(pool: SessionPool, seen: Seen) -> None:
    """Open the catalog in another process, and compare its events with the journal's."""
    session = pool.get()
    run = find_run("-1", session.record)
    expected = len(final_events(run.documents(), ("primary",)))
    pool.drop(new_record=True)
    try:
        found = run_module(READER, "read", str(session.record), run.uid)["shape"][0]
    except InstrumentError as error:
        seen.wrong.append(f"the catalog cannot be read: {error}")
        return
    if found != expected:
        seen.wrong.append(f"the catalog holds {found} events of {expected}")


def _stop_document(documents: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    """Say what the stop document counts wrongly; a run that was cut off has none."""
    stop = next((doc for name, doc in documents if name == "stop"), None)
    if stop is None:
        return []
    names = {doc["uid"]: doc["name"] for name, doc in documents if name == "descriptor"}
    counted: dict[str, set[int]] = {}
    for name, doc in documents:
        if name == "event":
            counted.setdefault(names[doc["descriptor"]], set()).add(doc["seq_num"])
    wrong = [
        f"the stop document counts {stop['num_events'].get(stream, 0)} events of '{stream}', not {len(numbers)}"
        for stream, numbers in counted.items()
        if stop["num_events"].get(stream, 0) != len(numbers)
    ]
    if stop["exit_status"] != "success" and not stop.get("reason"):
        wrong.append(f"the stop document says '{stop['exit_status']}' without a reason")
    return wrong


def _events(chain: Sequence[Any], rig: Rig, data: RunData) -> list[str]:
    """Say which events are not what the microscope did, by its own log: place, spectrum, beam, presets."""
    log = [json.loads(line) for line in rig.log.read_text().splitlines()]
    valid = {(entry["pixel"], entry["crc32"]) for entry in log if entry["valid"]}
    wrong = []
    for run in chain:
        for _, doc in final_events(run.documents(), ("primary",)):
            found = doc["data"]
            if found["eds_verdict"] != "ok":
                continue
            pixel = int(found["scan_pixel"])
            spectrum = np.asarray(found["eds_spectrum"], "<i4")
            if data.grid.pixel(found["beam_x"], found["beam_y"]) != pixel:
                wrong.append(f"pixel {pixel} is 'ok' though the beam was elsewhere")
            elif (pixel, zlib.crc32(spectrum.tobytes())) not in valid:
                wrong.append(
                    f"pixel {pixel} is 'ok' with a spectrum that the microscope did not take with beam there"
                )
            if not 0.98 * DWELL_S <= found["eds_live_time"] <= 1.02 * DWELL_S:
                wrong.append(
                    f"pixel {pixel} is 'ok' with a live time of {found['eds_live_time']:g} s, not {DWELL_S} s"
                )
    return wrong


def _until(condition: Any, limit_s: float) -> None:
    end = time.monotonic() + limit_s
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
