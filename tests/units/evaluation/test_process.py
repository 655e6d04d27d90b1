"""Functions and modules in processes of their own: results, errors, memory."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from slads_bluesky.errors import DataError, InstrumentError
from slads_bluesky.evaluation.process import forget_peak, in_own_process, run_module
from slads_bluesky.memory import peak_rss_mb
from slads_bluesky.spectra.io.maps import read_map


def test_in_own_process_returns_the_result_of_another_process():
    assert in_own_process(os.getpid) != os.getpid()


def test_in_own_process_with_a_user_s_error_raises_it(tmp_path):
    with pytest.raises(DataError, match=r"none\.npz"):
        in_own_process(read_map, tmp_path / "none.npz")


def test_in_own_process_that_dies_raises_instrument_error():
    with pytest.raises(InstrumentError, match="died"):
        in_own_process(os._exit, 3)


def test_forget_peak_after_a_large_array_lowers_the_peak():
    ballast = np.ones(40_000_000)  # 305 MiB
    high = peak_rss_mb()
    del ballast
    forget_peak()
    assert peak_rss_mb() < high - 250


def test_in_own_process_with_a_killed_parent_ends(tmp_path):
    file = tmp_path / "pid"
    script = (
        "import pathlib, sys\n"
        "from slads_bluesky.evaluation.process import in_own_process\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "from sleeper import sleep\n"
        "if __name__ == '__main__':\n"
        "    in_own_process(sleep, sys.argv[1])\n"
    )
    (tmp_path / "sleeper.py").write_text(
        "import os, pathlib, time\n\n\ndef sleep(file):\n"
        "    pathlib.Path(file + '.part').write_text(str(os.getpid()))\n"
        "    os.rename(file + '.part', file)\n    time.sleep(120)\n"
    )
    (tmp_path / "run.py").write_text(script)
    with subprocess.Popen([sys.executable, str(tmp_path / "run.py"), str(file), str(tmp_path)]) as parent:
        _until(file.exists)
        child = int(file.read_text())
        assert Path(f"/proc/{child}").exists()
        parent.send_signal(signal.SIGKILL)
    _until(lambda: not _lives(child))


def test_run_module_that_fails_raises_naming_the_module():
    with pytest.raises(InstrumentError, match=r"record_steps: .*not enough values"):
        run_module("slads_bluesky.evaluation.benchmarks.record_steps", "read")


def _lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _until(true, limit_s=60.0):
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)
