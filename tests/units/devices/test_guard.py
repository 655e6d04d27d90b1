"""Watchdog and lease of the instrument, over real Channel Access, with processes that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest
from waiting import wait_until

from slads_bluesky.devices.sim.process import SimulatedMicroscope
from slads_bluesky.errors import InstrumentError

USER = """
import sys, time
from slads_bluesky.devices import SEMBeam
beam = SEMBeam("{prefix}Beam:", name="beam")
beam.stage()
beam.blanker.set(False).wait(10)
print("lit", flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def real_time():
    """A microscope whose clock is the wall's."""
    os.environ.setdefault("OPHYD_CONTROL_LAYER", "caproto")
    with SimulatedMicroscope("pbsn-32", prefix="GUARD:", time_scale=1.0) as running:
        yield running


@pytest.fixture
def put(real_time):
    from ophyd import EpicsSignal

    made = {}

    def signal_of(name):
        if name not in made:
            made[name] = EpicsSignal(
                f"GUARD:{name}", name=name, put_complete=True, auto_monitor=False, timeout=20
            )
            made[name].wait_for_connection(10)
        return made[name]

    signal_of("Sim:Reset").set(1).wait(10)
    return signal_of


@pytest.fixture
def another(put):
    """Another process that uses the instrument and has lit the beam."""
    process = subprocess.Popen(
        [sys.executable, "-c", USER.format(prefix="GUARD:")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "lit\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture
def beam(put):
    from slads_bluesky.devices import SEMBeam

    made = SEMBeam("GUARD:Beam:", name="beam")
    made.connect(10)
    yield made
    made.guard.release("beam")
    made.stop()


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGSTOP])
def test_watchdog_after_a_client_is_killed_or_stopped_blanks(another, put, way):
    assert not put("Beam:Blank_RBV").get()
    another.send_signal(way)
    wait_until(lambda: put("Beam:Blank_RBV").get(), 10)
    assert put("Beam:WatchdogTripped").get() == 1
    dose = put("Beam:Dose").get()
    put("EDS:mca1.PRTM").set(0.2).wait(10)
    put("EDS:mca1EraseStart").set(1).wait(10)
    assert put("Beam:Dose").get() == dose


def test_watchdog_with_a_living_client_leaves_the_beam(another, put):
    before = put("Beam:Heartbeat").get()
    wait_until(lambda: put("Beam:Heartbeat").get() >= before + 8, 20)
    assert not put("Beam:Blank_RBV").get()
    assert put("Beam:WatchdogTripped").get() == 0


def test_watchdog_without_beats_stops_a_list_that_runs(put):
    n = 400
    put("Scan:X").set([0.5] * n).wait(10)
    put("Scan:Y").set([0.5] * n).wait(10)
    put("Scan:Dwell").set([0.05] * n).wait(10)  # 20 s in all
    put("Beam:Heartbeat").set(1).wait(10)
    put("Scan:Start").set(1).wait(10)
    wait_until(lambda: not put("Scan:Running").get(), 10)
    assert put("Beam:WatchdogTripped").get() == 1
    assert 0 < put("Scan:Index").get() < n
    dose = put("Beam:Dose").get()
    assert 0 < dose < 0.5 * n * 0.05  # 1 nA
    put("EDS:mca1.PRTM").set(0.1).wait(10)
    put("EDS:mca1EraseStart").set(1).wait(10)
    assert put("Beam:Dose").get() == dose


def test_watchdog_without_a_beat_leaves_a_person_alone(put):
    put("Beam:Heartbeat").set(0).wait(10)
    put("Beam:WatchdogTime").set(0.1).wait(10)
    try:
        put("Beam:Blank").set(0).wait(10)
        put("EDS:mca1.PLTM").set(0.5).wait(10)
        put("EDS:mca1EraseStart").set(1).wait(10)  # five times as long as the watchdog waits
        assert not put("Beam:Blank_RBV").get()
    finally:
        put("Beam:WatchdogTime").set(1.0).wait(10)


def test_lease_of_a_living_process_refuses_everybody_else(another, beam):
    with pytest.raises(
        InstrumentError, match=rf"beam: the instrument is in use by process {another.pid} on "
    ):
        beam.stage()
    with pytest.raises(InstrumentError, match="in use by process"):
        beam.set((1.0, 1.0))
    with pytest.raises(InstrumentError, match="in use by process"):
        beam.blanker.set(False)
    beam.stop()  # blanking is always allowed


def test_lease_of_a_killed_process_is_taken_over(another, beam):
    another.kill()
    another.wait()
    beam.stage()
    assert beam.guard.held
    beam.unstage()


def test_lease_without_beats_expires(beam, put):
    put("Beam:LeaseTime").set(0.5).wait(10)
    try:
        put("Beam:Owner").set("elsewhere:1:aaaaaa").wait(10)  # of another machine, where we cannot look
        beam.stage()
        beam.unstage()
        assert put("Beam:Owner").get(as_string=True) == ""
    finally:
        put("Beam:LeaseTime").set(3.0).wait(10)


def test_lease_of_two_owners_at_once_is_given_to_one(put):
    owner, names = put("Beam:Owner"), [f"machine{i}:1:x" for i in range(6)]
    threads = [threading.Thread(target=owner.put, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = owner.get(as_string=True)
    assert first in names
    owner.put("intruder:1:x")
    assert owner.get(as_string=True) == first
    owner.put("")


def test_guard_of_an_instrument_without_the_pvs_is_absent_and_says_so(real_time, caplog):
    from ophyd import EpicsSignal

    from slads_bluesky.devices.guard import InstrumentGuard

    guard = InstrumentGuard("beam", "GUARD:Nothing:", EpicsSignal)
    assert not guard.look(0.2)
    assert "nothing blanks the beam if this process is killed" in caplog.text
    guard.acquire("beam")  # nobody to ask
    guard.lit(True)
    guard.check_free()
    guard.release("beam")


@pytest.fixture
def bse(beam):
    from slads_bluesky.devices import BSEDetector

    detector = BSEDetector("GUARD:BSE:", name="bse", beam=beam)
    detector.wait_for_connection(timeout=10)
    return detector


def scan(bse, put, dwell_s):
    """Begin a frame of 32 × 32 pixels, and wait until the beam is lit for it."""
    bse.configure({"shape": (32, 32), "step_um": (1.0, 1.0), "centre_um": (0.0, 0.0), "dwell_s": dwell_s})
    status = bse.trigger()
    wait_until(lambda: not put("Beam:Blank_RBV").get(), 10)
    return status


def test_frame_with_a_beam_that_another_client_blanks_for_a_moment_is_refused(bse, put):
    status = scan(bse, put, 3e-3)
    put("Beam:Blank").set(1).wait(10)
    put("Beam:Blank").set(0).wait(10)
    with pytest.raises(InstrumentError, match="bse: the beam was blanked by somebody else while"):
        status.wait(20)
    assert put("Beam:Blank_RBV").get()


def test_watchdog_without_beats_blanks_the_beam_in_a_frame(bse, put):
    put("Beam:Heartbeat").set(1).wait(10)
    status = scan(bse, put, 3e-3)
    with pytest.raises(InstrumentError, match="bse: beam current lost"):
        status.wait(20)
    assert put("Beam:WatchdogTripped").get() == 1
    assert 0 < put("Beam:Dose").get() < 0.8 * 3e-3 * 32 * 32
