"""A trial's own process: what it gives, what it raises, and that its memory is its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from slads_bluesky.errors import DataError, InstrumentError
from slads_bluesky.evaluation.paper.process import forget_peak, in_own_process
from slads_bluesky.memory import peak_rss_mb
from slads_bluesky.spectra.io.maps import read_map


def test_it_is_another_process_and_gives_what_the_function_gives():
    assert in_own_process(os.getpid) != os.getpid()


def test_a_user_s_error_comes_back_as_it_is(tmp_path):
    with pytest.raises(DataError, match=r"none\.npz"):
        in_own_process(read_map, tmp_path / "none.npz")


def test_a_process_that_dies_is_said_to_have_died():
    with pytest.raises(InstrumentError, match="died"):
        in_own_process(os._exit, 3)


def test_the_peak_of_before_is_forgotten():
    ballast = np.ones(40_000_000)  # 305 MiB
    high = peak_rss_mb()
    del ballast
    forget_peak()
    assert peak_rss_mb() < high - 250


def test_it_ends_with_a_parent_that_was_killed(tmp_path):
    told = tmp_path / "pid"
    script = (
        "import pathlib, sys\n"
        "from slads_bluesky.evaluation.paper.process import in_own_process\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "from sleeper import sleep\n"
        "if __name__ == '__main__':\n"
        "    in_own_process(sleep, sys.argv[1])\n"
    )
    (tmp_path / "sleeper.py").write_text(
        "import os, pathlib, time\n\n\ndef sleep(told):\n"
        "    pathlib.Path(told + '.part').write_text(str(os.getpid()))\n"
        "    os.rename(told + '.part', told)\n    time.sleep(120)\n"
    )
    (tmp_path / "run.py").write_text(script)
    with subprocess.Popen([sys.executable, str(tmp_path / "run.py"), str(told), str(tmp_path)]) as parent:
        _until(told.exists)
        child = int(told.read_text())
        assert Path(f"/proc/{child}").exists()
        parent.send_signal(signal.SIGKILL)
    _until(lambda: not _lives(child))


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
