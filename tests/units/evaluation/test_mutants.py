"""Small changes to a module: which there are, and that a test which notices one is told from one that does not."""

from __future__ import annotations

import ast
import signal
import subprocess
import sys

import pytest

from slads_bluesky.errors import ConfigError
from slads_bluesky.evaluation.mutants.campaign import TARGETS, measure_mutants
from slads_bluesky.evaluation.mutants.changes import mutants

SOURCE = """
'''A module.'''
__all__ = ["f"]
N: int = 3


def f(x, y=2.0):
    '''A function.'''
    if not x and y >= N:
        raise ValueError(f"{x + 1}")
    for i in range(x):
        y -= i * 2
        if y is None:
            continue
        print(y)
    return y
"""

TRIAL = """
from pathlib import Path
from slads_bluesky.evaluation.mutants.trial import try_mutant
path = Path("slads_bluesky/progress.py")
source = path.read_text()
name = "slads_bluesky.progress"
ends = ("", "\\nno_progress = None\\n", "\\nwhile True: pass\\n")
print([try_mutant(name, path, source + end, [TEST, "-W", "ignore"], 10)[0] for end in ends])
"""


def test_mutants_are_valid_modules_with_one_change_each():
    found = list(mutants(SOURCE))
    assert [str(mutant) for mutant in found] == [
        "4: 3 → 4",
        "7: 2.0 → 4.0",
        "9: not x and y >= N → not x or y >= N",
        "9: not x → x",
        "9: y >= N → y > N",
        "12: y -= i * 2 → y += i * 2",
        "12: i * 2 → i / 2",
        "12: 2 → 3",
        "13: y is None → y is not None",
        "14: continue → break",
        "15: print(y) → pass",
        "16: return y → return None",
    ]
    whole = ast.unparse(ast.parse(SOURCE)).splitlines()
    for mutant in found:
        changed = mutant.source.splitlines()
        assert sum(a != b for a, b in zip(whole, changed, strict=True)) == 1


def test_measure_mutants_refuses_a_module_that_no_tests_are_named_for():
    with pytest.raises(ConfigError, match="no module to change is named 'grid'"):
        measure_mutants(["grid"], 1)


def test_targets_name_modules_and_tests_that_exist(request):
    root = request.config.rootpath
    for target in TARGETS:
        assert all((root / target.folder / f"{module}.py").is_file() for module in target.modules)
        assert all((root / word).is_file() for word in target.tests if word.endswith(".py"))


CUT_OFF = """
import os, signal, time
from slads_bluesky.evaluation.mutants.trial import _end_with_parent
ends, answers = os.pipe()
if os.fork() == 0:
    os.setsid()
    _end_with_parent()
    os.write(answers, b"x")
    time.sleep(30)
    os.write(1, b"alive")
os.read(ends, 1)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_mutant_under_trial_ends_with_a_bench_that_is_killed():
    """The child holds the other end of standard output: it is closed only when the child is gone, too."""
    done = subprocess.run([sys.executable, "-c", CUT_OFF], stdout=subprocess.PIPE, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"")


@pytest.mark.slow
def test_try_mutant_runs_tests_on_the_changed_module_in_a_process_of_its_own(tmp_path, request):
    test = tmp_path / "test_progress.py"
    test.write_text(
        "from slads_bluesky.progress import no_progress\n\ndef test_it():\n    no_progress('x', 0.5)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", TRIAL.replace("TEST", repr(str(test)))], cwd=request.config.rootpath, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "['survived', 'killed', 'timed out']", done.stderr
