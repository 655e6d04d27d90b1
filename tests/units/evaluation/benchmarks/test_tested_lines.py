"""Lines that tests reach, in a checkout of a few lines."""

from __future__ import annotations

import json

import pytest

from slads_bluesky.errors import ConfigError
from slads_bluesky.evaluation.benchmarks.tested_lines import (
    add_up,
    figures_of_lines,
    measure_tested_lines,
)

MODULE = """\
def reached():
    return 1


def other():
    return 2
"""
COMPILED = """\
from numba import njit


@njit
def f(x):
    return x
"""
TEST = """\
def test_it():
    from slads_bluesky.module import reached

    assert reached() == 1
"""


def test_measure_tested_lines_counts_the_lines_of_each_module_and_adds_up_pieces(tmp_path):
    for name, text in (
        ("slads_bluesky/__init__.py", ""),
        ("slads_bluesky/module.py", MODULE),
        ("slads_bluesky/compiled.py", COMPILED),
        ("tests/test_it.py", TEST),
        ("devices/__init__.py", ""),
        ("plans/__init__.py", ""),
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    options = ["-q", "-p", "no:cacheprovider"]
    kept = tmp_path / "kept.json"
    found = measure_tested_lines([*options, "tests/test_it.py"], root=tmp_path, kept=kept)
    assert found["tests"] == 0
    assert found["modules"]["slads_bluesky/module.py"] == (4, 3)
    assert "slads_bluesky/compiled.py" not in found["modules"]
    share, *_ = figures_of_lines(found)
    assert (share.value, share.goal, share.holds) == (75.0, "≥ 90 %", False)
    lines = json.loads(kept.read_text())
    (about,) = (about for name, about in lines["files"].items() if name.endswith("module.py"))
    about["executed_lines"], about["missing_lines"] = [1, 5, 6], [2]
    add_up(lines, kept)
    (about,) = (about for name, about in lines["files"].items() if name.endswith("module.py"))
    assert about["executed_lines"] == [1, 2, 5, 6]


def test_measure_tested_lines_without_tests_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="has no tests"):
        measure_tested_lines([], root=tmp_path)
