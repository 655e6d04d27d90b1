"""Signals to whole sessions: a script, an IPython at its prompt, a queue server's worker. The beam goes first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
from waiting import wait_until

from slads_bluesky.devices.sim.process import SimulatedMicroscope
from slads_bluesky.record.runs import list_runs

FILE = """
mode: hardware
devices:
  beam: {{class: SEMBeam, prefix: "SESSION:Beam:"}}
  eds: {{class: EDSDetector, prefix: "SESSION:EDS:mca1"}}
  sem:
grid: {{shape: [32, 32]}}
catalog: {{directory: "{record}"}}
display: {{progress: false, live: false}}
"""

OPEN = """
from bluesky import plans as bp
from slads_bluesky.instrument import open_session
session = open_session({file!r})
RE, beam, eds = session.RE, session.beam, session.eds
_ = eds.configure({{"live_time": 30.0}})
"""


@pytest.fixture(scope="module")
def column():
    """A microscope in real time, and its PVs."""
    os.environ.setdefault("OPHYD_CONTROL_LAYER", "caproto")
    with SimulatedMicroscope("pbsn-32", prefix="SESSION:", time_scale=1.0):
        from ophyd import EpicsSignal

        names = {"blanked": "Beam:Blank_RBV", "acquiring": "EDS:mca1.ACQG", "reset": "Sim:Reset"}
        pvs = {
            key: EpicsSignal(f"SESSION:{pv}", name=key, auto_monitor=False, put_complete=True, timeout=20)
            for key, pv in names.items()
        }
        for pv in pvs.values():
            pv.wait_for_connection(10)
        yield SimpleNamespace(**pvs)


@pytest.fixture
def start(column, tmp_path):
    """``start(lines, *command)``: a process that opens a session, then does what the lines say; and its record."""
    (tmp_path / "instrument.yml").write_text(FILE.format(record=tmp_path / "record"))
    column.reset.set(1).wait(10)
    made = []

    def begin(lines, *command):
        code = OPEN.format(file=str(tmp_path / "instrument.yml")) + lines
        environment = {
            **os.environ,
            "XDG_DATA_HOME": str(tmp_path / "data"),
            "IPYTHONDIR": str(tmp_path / "ipython"),
        }
        process = subprocess.Popen(
            [sys.executable, *(command or ("-c", code))], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, env=environment,
        )  # fmt: skip
        made.append(process)
        if command:
            process.stdin.write(code)
            process.stdin.flush()
        return process

    yield begin
    for process in made:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            stream.close()


def statuses(tmp_path):
    return [run.stop and run.stop["exit_status"] for run in list_runs(tmp_path / "record")]


def test_session_script_ended_in_mid_acquisition_blanks_and_closes_its_run(start, column, tmp_path):
    process = start("RE(bp.count([eds]))\n")
    wait_until(lambda: column.acquiring.get() and not column.blanked.get(), 120, process)
    process.send_signal(signal.SIGTERM)
    wait_until(column.blanked.get, 5)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, output
    assert statuses(tmp_path) == ["abort"]


def test_session_idle_with_the_beam_lit_by_hand_blanks_before_it_ends(start, column):
    process = start(
        "beam.blanker.set(False).wait(10)\nprint('lit', flush=True)\nimport time\ntime.sleep(60)\n"
    )
    wait_until(lambda: not column.blanked.get(), 120, process)
    process.send_signal(signal.SIGHUP)
    wait_until(column.blanked.get, 5)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGHUP


def test_session_paused_run_is_closed_before_the_process_ends(start, column, tmp_path):
    lines = "try:\n    RE(bp.count([eds]))\nexcept BaseException:\n    print('paused', flush=True)\n"
    lines += "import time\ntime.sleep(60)\n"
    process = start(lines)
    wait_until(lambda: column.acquiring.get() and not column.blanked.get(), 120, process)
    process.send_signal(signal.SIGINT)
    while "paused\n" not in (line := process.stdout.readline()):
        assert line, "the process ended"
    assert column.blanked.get()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
    assert statuses(tmp_path) == ["abort"]


def test_session_in_ipython_ended_in_mid_acquisition_ends(start, column, tmp_path):
    process = start("RE(bp.count([eds]))\n", "-m", "IPython", "--simple-prompt", "--no-banner")
    wait_until(lambda: column.acquiring.get() and not column.blanked.get(), 120, process)
    process.send_signal(signal.SIGTERM)
    wait_until(column.blanked.get, 5)
    process.stdin.close()
    assert process.wait(timeout=60) in (0, 128 + signal.SIGTERM, -signal.SIGTERM)
    assert statuses(tmp_path) == ["abort"]


def test_session_second_on_the_same_instrument_is_refused(start, column, tmp_path):
    first = start("RE(bp.count([eds], 20))\n")  # a second session may take minutes to start on a busy machine
    wait_until(lambda: column.acquiring.get(), 120, first)
    second = start("RE(bp.count([eds]))\n")
    output, _ = second.communicate(timeout=120)
    assert f"beam: the instrument is in use by process {first.pid} on " in output
    wait_until(column.acquiring.get, 60, first)  # the first one's is undisturbed
