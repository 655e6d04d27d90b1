"""Every script in ``examples/`` runs as its first lines say, and prints what it promises."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples"

PROMISED = {
    "follow_over_zmq.py": "205 points: success",
    "map_a_simulated_specimen.py": "410 of 4096 pixels",
    "sample_an_image.py": "15% of the pixels",
    "train_a_classifier.py": "accepted labels are right",
}
"""A part of what each prints."""

ELSEWHERE = {"vendor_interface.py"}
"""Run by a test of their own (tests/units/plans/test_vendor_interface.py)."""


def test_every_example_has_a_promise():
    assert {path.name for path in FOLDER.glob("*.py")} == set(PROMISED) | ELSEWHERE


@pytest.mark.slow
@pytest.mark.parametrize("name", PROMISED)
def test_example_run_in_an_empty_folder_prints_what_it_promises(name, tmp_path, shared_cache):
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(shared_cache),
        "MPLBACKEND": "agg",
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, FOLDER / name], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert PROMISED[name] in done.stdout
    assert "Traceback" not in done.stderr
