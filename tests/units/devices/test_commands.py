"""``slads-bluesky ioc`` and ``bench point`` as a user runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from slads_bluesky.devices.sim.ports import free_port


def _environment(**more):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("EPICS_", "OPHYD_"))}
    return {**kept, "OMP_NUM_THREADS": "1", "COLUMNS": "250", **more}


def _run(*arguments, **more):
    command = [sys.executable, "-m", "slads_bluesky", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=_environment(**more))


def test_ioc_command_started_serves_until_stopped(tmp_path):
    port = str(free_port())
    log = tmp_path / "log.jsonl"
    command = ["ioc", "--object", "pbsn-32", "--port", port, "--time-scale", "0", "--log", str(log)]
    served = subprocess.Popen(
        [sys.executable, "-m", "slads_bluesky", *command],
        stdout=subprocess.PIPE,
        text=True,
        env=_environment(),
    )
    try:
        said = [served.stdout.readline() for _ in range(5)]
        assert f"127.0.0.1:{port}" in said[0]
        address = {"EPICS_CA_ADDR_LIST": f"127.0.0.1:{port}", "EPICS_CA_AUTO_ADDR_LIST": "NO"}
        for line in said[2:]:  # what it says to type is typed
            name, *arguments = line.split()
            tool = name.removeprefix("caproto-")
            done = subprocess.run(
                [sys.executable, "-m", f"caproto.commandline.{tool}", *arguments],
                capture_output=True, text=True, timeout=30, env=_environment(**address),
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
        assert "SEM:EDS:mca1.ELTM" in done.stdout
        assert "SEM:EDS:mca1.ELTM                         [10]" in done.stdout
    finally:
        served.send_signal(signal.SIGINT)
        assert served.wait(20) == 0
        served.stdout.close()
    entry = json.loads(log.read_text())
    assert entry["live_s"] == 10.0
    assert entry["valid"]


def test_ioc_command_list_pvs_lists_names_under_the_prefix():
    done = _run("ioc", "--list-pvs", "--prefix", "X:")
    assert done.returncode == 0
    assert "X:EDS:mca1EraseStart" in done.stdout
    assert "X:Beam:Blank_RBV" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--object", "granite-64"], "unknown object 'granite-64'"),
        (["--object", "nowhere.npy"], "nowhere.npy"),
        (["--object", "pbsn-32", "--log", "/nowhere/log.jsonl"], "cannot write /nowhere/log.jsonl"),
        (["--object", "pbsn-32", "--time-scale", "-1"], "time-scale"),
    ],
)
def test_ioc_command_bad_option_is_one_line_and_exit_2(arguments, said):
    done = _run("ioc", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_bench_point_interrupted_loses_nothing(tmp_path, shared_cache, pbsn_models):
    del pbsn_models  # trained, and in the cache
    figures = tmp_path / "point.json"
    done = _run(
        "bench", "point", "--object", "pbsn-64", "--points", "60", "--turns", "1", "--pauses", "5", "--trips", "2",
        "--classifier", "paper", "--json", str(figures), XDG_CACHE_HOME=str(shared_cache),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(figures.read_text())
    interrupted = found["interrupted"]
    assert (interrupted["pauses"], interrupted["trips"]) == (5, 2)
    assert interrupted["exit_status"] == "success"
    for what in ("lost", "doubled", "mismatched", "invalid"):
        assert interrupted[what] == 0
    assert interrupted["agent_equals_record"]
    assert {"move", "acquire", "classify", "decide", "journal"} <= set(found["channel_access"]["ledger"])
    assert found["soft"]["ratio"] > 0
