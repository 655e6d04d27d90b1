"""Signals in mid-acquisition, over real Channel Access in real time: the beam first, then everything else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
from waiting import wait_until

from slads_bluesky.devices.sim.process import SimulatedMicroscope

MAP = """
import json, sys
from bluesky.utils import RunEngineInterrupted
from slads_bluesky.devices import EDSDetector, SEMBeam
from slads_bluesky.grid import ScanGrid
from slads_bluesky.plans.engine import BeamSafeEngine
from slads_bluesky.plans.raster import list_map

beam = SEMBeam("SIGNALS:Beam:", name="beam")
eds = EDSDetector("SIGNALS:EDS:mca1", name="eds", beam=beam)
RE = BeamSafeEngine({})
RE.beams.append(beam)

def say(name, document):
    print(json.dumps([name, document.get("exit_status"), document.get("reason")]), flush=True)

RE.subscribe(say)
try:
    RE(list_map(beam, eds, ScanGrid((32, 32)), [5, 6], dwell_s=float(sys.argv[1])))
except RunEngineInterrupted:
    print(json.dumps(["paused", RE.state, None]), flush=True)
    if RE.state == "paused":
        sys.stdin.readline()
        RE.resume()
"""


@pytest.fixture(scope="module")
def column():
    """A microscope in real time, and its PVs."""
    os.environ.setdefault("OPHYD_CONTROL_LAYER", "caproto")
    with SimulatedMicroscope("pbsn-32", prefix="SIGNALS:", time_scale=1.0):
        from ophyd import EpicsSignal

        names = {
            "blanked": "Beam:Blank_RBV",
            "acquiring": "EDS:mca1.ACQG",
            "owner": "Beam:Owner",
            "reset": "Sim:Reset",
        }
        pvs = SimpleNamespace(
            **{
                key: EpicsSignal(f"SIGNALS:{pv}", name=key, auto_monitor=False, put_complete=True, timeout=20)
                for key, pv in names.items()
            }
        )
        for pv in vars(pvs).values():
            pv.wait_for_connection(10)
        yield pvs


@pytest.fixture
def running(column):
    """Start a map in a process of its own; it is in mid-acquisition when this returns."""
    made = []

    def start(dwell_s):
        column.reset.set(1).wait(10)
        process = subprocess.Popen(
            [sys.executable, "-c", MAP, str(dwell_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        made.append(process)
        wait_until(lambda: column.acquiring.get() and not column.blanked.get(), 60)
        return process

    yield start
    for process in made:
        process.kill()
        process.communicate()


def documents(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("[")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_engine_ending_signal_in_mid_acquisition_blanks_closes_and_exits(running, column, number):
    process = running(30.0)
    process.send_signal(number)
    wait_until(column.blanked.get, 5)  # and not the 30 s that are left of the dwell
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert documents(output)[-1] == ["stop", "abort", f"{number.name} received"]
    assert column.blanked.get()
    assert column.owner.get(as_string=True) == ""


def test_engine_one_ctrl_c_in_a_long_dwell_blanks_at_once_and_pauses(running, column):
    process = running(6.0)
    process.send_signal(signal.SIGINT)
    wait_until(column.blanked.get, 3)
    line = process.stdout.readline()
    while '"paused"' not in line:
        assert line, "the process ended"
        line = process.stdout.readline()
    assert json.loads(line) == ["paused", "paused", None]
    assert column.blanked.get()
    output, _ = process.communicate("resume\n", timeout=60)
    assert documents(output)[-1] == ["stop", "success", "every pixel is measured"]
    assert [name for name, _, _ in documents(output)].count("event") == 2


def test_engine_killed_in_mid_acquisition_is_blanked_by_the_watchdog(running, column):
    process = running(30.0)
    process.kill()
    wait_until(column.blanked.get, 10)
