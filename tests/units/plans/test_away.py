"""A device that goes away in any message of any plan: waited for, or the run ends with one line that names it."""

from __future__ import annotations

import itertools
import logging
import os
import threading
from types import SimpleNamespace

import pytest

from slads_bluesky.devices.flyer import SparseFlyer
from slads_bluesky.devices.sim.process import SimulatedMicroscope
from slads_bluesky.devices.sim.soft import soft_microscope
from slads_bluesky.devices.sim.softlist import SoftListEngine
from slads_bluesky.errors import DeviceAwayError, InstrumentError
from slads_bluesky.grid import ScanGrid
from slads_bluesky.plans import away
from slads_bluesky.plans.adaptive import adaptive_map
from slads_bluesky.plans.budget import DoseBudget
from slads_bluesky.plans.collect import collect_phase
from slads_bluesky.plans.fly import adaptive_lists

COMMANDS = (
    "stage",
    "configure",
    "read",
    "set",
    "trigger",
    "unstage",
    "stop",
    "prepare",
    "kickoff",
    "complete",
)
"""Messages that reach a device."""

OWN = ("scan", "map", "ledger", "lists", "failed", "collect")
"""Readables that a plan owns, which cannot be away."""


class DisconnectedError(Exception):
    """As a control layer raises it: of none of the usual families."""

    __module__ = "caproto.threading.client"


@pytest.fixture(autouse=True)
def short_patience(monkeypatch):
    """Of some tries, by a clock that goes on only when it is looked at: a busy machine makes no difference."""
    looks = itertools.count()
    monkeypatch.setattr(away, "monotonic", lambda: 1e-3 * next(looks))
    for name, seconds in (("AWAY_S", 0.01), ("LEAVE_S", 0.01), ("STAGE_S", 0.01), ("PAUSE_S", 0.005)):
        monkeypatch.setattr(away, name, seconds)


class Faults:
    """Lets the messages to devices from the n-th on fail; one of them, or all."""

    def __init__(self, RE, first: int, *, times: float = 1):
        self.RE, self.n, self.struck = RE, itertools.count(), ""
        self._range = range(first, first + int(min(times, 10**9)))
        for command in COMMANDS:
            RE.register_command(command, self._failing(RE._command_registry[command]))

    def _failing(self, original):
        async def run(msg):
            if getattr(msg.obj, "name", "") in OWN:
                return await original(msg)
            if next(self.n) in self._range:
                self.struck = self.struck or f"{msg.command} {msg.obj.name}"
                raise DisconnectedError(f"{msg.obj.name}: gone\nand a second line")
            return await original(msg)

        return run


def adaptive(soft, make_agent):
    agent = make_agent(2)
    budget = DoseBudget(run_nc=1e3, pixel_nc=1.0)
    return adaptive_map(soft.beam, soft.eds, agent, dwell_s=0.1, baseline=[soft.sem], budget=budget)


def collected(soft, make_agent):
    return collect_phase(soft.beam, soft.eds, "solder", [(0.0, 0.0)], n=1, dwell_s=0.1)


def flown(soft, make_agent):
    flyer = SparseFlyer(SoftListEngine(soft.beam.sem, pixels_per_buffer=8), soft.eds, soft.beam)
    return adaptive_lists(
        flyer, soft.beam, soft.eds, make_agent(16), batch=8, dwell_s=5e-3, baseline=[soft.sem]
    )


@pytest.fixture
def run_with(phantom, classifier, make_agent, new_documents):
    """``run_with(plan, n, times)``: the plan with the n-th message failing; documents, faults, error."""
    from bluesky import RunEngine

    def run(plan, n, times):
        RE, documents = RunEngine({}, context_managers=[]), new_documents()
        beam, eds, sem = soft_microscope(phantom, classifier)
        soft = SimpleNamespace(beam=beam, eds=eds, sem=sem, grid=ScanGrid(phantom.shape))
        faults, error = Faults(RE, n, times=times), None
        try:
            RE(plan(soft, make_agent), documents)
        except Exception as raised:
            error = raised
        assert RE.state == "idle"
        return SimpleNamespace(documents=documents, struck=faults.struck, error=error, soft=soft)

    return run


def measured(documents):
    uids = {doc["uid"] for name, doc in documents if name == "descriptor" and doc["name"] == "primary"}
    pixels = [doc["data"]["scan_pixel"] for name, doc in documents if name == "event" and doc["descriptor"] in uids
              and "scan_pixel" in doc["data"]]  # fmt: skip
    for name, doc in documents:
        if name == "event_page" and doc["descriptor"] in uids:
            pixels += list(doc["data"]["scan_pixel"])
    return sorted(pixels)


@pytest.mark.parametrize("plan", [adaptive, collected, flown])
def test_device_away_in_any_message_is_asked_again_and_nothing_is_lost(plan, run_with, caplog):
    caplog.set_level(logging.CRITICAL, "bluesky")
    whole = run_with(plan, 10**6, 1)
    assert whole.error is None
    struck = []
    for n in itertools.count():
        found = run_with(plan, n, 1)
        if not found.struck:
            break
        struck.append(found.struck)
        assert found.error is None, f"{found.struck}: {found.error!r}"
        assert found.documents.stop["exit_status"] == "success", found.struck
        assert found.documents.stop["num_events"].get("failed", 0) == 0, found.struck
        assert measured(found.documents) == measured(whole.documents), found.struck
        assert found.soft.beam.blanker.get(), found.struck
    assert {text.split()[0] for text in struck} >= {"stage", "configure", "read", "set", "unstage"}
    assert "\nand a second line" not in "".join(record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("plan", [adaptive, flown])
def test_device_away_for_good_ends_the_run_with_one_line_that_names_it(plan, run_with, caplog):
    caplog.set_level(logging.CRITICAL, "bluesky")
    for n in itertools.count():
        found = run_with(plan, n, 1e9)
        if not found.struck:
            break
        if found.error is None:  # at the very end there is nothing left to lose
            assert found.struck.startswith("unstage")
            continue
        assert isinstance(found.error, InstrumentError), f"{found.struck}: {found.error!r}"
        assert "\n" not in str(found.error)
        assert "gone" in str(found.error)
        if found.documents:
            stop = found.documents.stop
            assert stop["exit_status"] in ("fail", "success"), found.struck
            assert stop["exit_status"] == "success" or ": gone" in stop["reason"], stop["reason"]


def test_until_answered_refuses_at_once_what_waiting_does_not_cure():
    tried = []

    def part():
        tried.append(1)
        yield from ()
        raise InstrumentError("1020 channels instead of 2040")

    with pytest.raises(InstrumentError, match="1020 channels"):
        list(away.until_answered(part, 60.0))
    assert tried == [1]


def test_until_answered_gives_up_after_its_patience(monkeypatch):
    times = iter([0.0, 4.9, 5.2])
    monkeypatch.setattr(away, "monotonic", lambda: next(times))

    def part():
        yield from ()
        raise DeviceAwayError("beam: no answer within 5 s")

    with pytest.raises(DeviceAwayError):
        list(away.until_answered(part, 5.0))
    assert next(times, None) is None


@pytest.fixture(scope="module")
def mortal(classifier):
    """A microscope that can be killed and restarted, with its devices."""
    os.environ.setdefault("OPHYD_CONTROL_LAYER", "caproto")
    from slads_bluesky.devices import EDSDetector, Microscope, SEMBeam

    with SimulatedMicroscope("pbsn-64", prefix="AROUND:") as microscope:
        beam, sem = SEMBeam("AROUND:Beam:", name="beam"), Microscope("AROUND:Beam:", name="sem")
        eds = EDSDetector("AROUND:EDS:mca1", name="eds", beam=beam, classifier=classifier)
        yield SimpleNamespace(microscope=microscope, beam=beam, eds=eds, sem=sem)


@pytest.mark.parametrize("moment", ["stage", "baseline", "close_run"])
def test_ioc_restarted_around_the_points_loses_nothing(
    mortal, moment, make_agent, RE, documents, monkeypatch
):
    for name in ("AWAY_S", "STAGE_S", "LEAVE_S"):  # a busy machine starts an IOC in seconds
        monkeypatch.setattr(away, name, 60.0)
    threads: list[threading.Thread] = []

    def restart():
        mortal.microscope._process.kill()
        mortal.microscope._process.wait()
        mortal.microscope.stop()
        mortal.microscope.start()

    def hook(msg):
        struck = msg.kwargs.get("name") == "baseline" if moment == "baseline" else msg.command == moment
        if struck and (moment != "stage" or msg.obj is mortal.eds) and not threads:
            threads.append(threading.Thread(target=restart))
            threads[0].start()
            while mortal.beam.x.connected:  # so that the message meets a device that is away
                threads[0].join(0.01)

    RE.msg_hook = hook
    RE(adaptive_map(mortal.beam, mortal.eds, make_agent(3), dwell_s=0.1, baseline=[mortal.sem]), documents)
    threads[0].join()
    assert documents.stop["exit_status"] == "success"
    assert len(documents.events()) == 3
    assert all(event["data"]["eds_live_time"] <= 0.1 for event in documents.events())
    assert mortal.beam.blanker.get()
