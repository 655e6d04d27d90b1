"""A virtual screen (Xvfb) for tests that open windows."""

import importlib.util
import os
import shutil
import subprocess

import pytest


@pytest.fixture(scope="module")
def screen():
    """Environment of a process that has a screen; skipped where there is neither a virtual one nor Tk."""
    if shutil.which("Xvfb") is None or importlib.util.find_spec("_tkinter") is None:
        pytest.skip("no virtual screen (Xvfb) or no Tk here")
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", "1400x900x24", "-noreset", "-nolisten", "tcp"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        number = server.stdout.readline().strip()
        assert number, "Xvfb did not start"
        yield {**os.environ, "DISPLAY": f":{number}", "MPLBACKEND": "tkagg", "OMP_NUM_THREADS": "1"}
        server.terminate()
