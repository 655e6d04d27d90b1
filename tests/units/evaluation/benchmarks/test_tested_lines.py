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


def test_measure_tested_lines_counts_the_lines_of_each_module_and_adds_up_pieces(tmp_path, monkeypatch):
    outer = tmp_path / "counts of the tests that this one belongs to"
    outer.mkdir()
    monkeypatch.setenv("SLIPCOVER_ENABLED", "1")
    monkeypatch.setenv("SLIPCOVER_COVERAGE_DIR", str(outer))
    for name, text in (
        ("slads_bluesky/__init__.py", ""),
        ("slads_bluesky/module.py", MODULE),
        ("slads_bluesky/compiled.py", COMPILED),
        ("tests/test_it.py", TEST),
        ("devices/__init__.py", ""),
        ("plans/__init__.py", ""),
        ("pyproject.toml", '[tool.pytest.ini_options]\nfilterwarnings = ["error"]\n'),
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    options = ["-q", "-p", "no:cacheprovider"]
    kept = tmp_path / "kept.json"
    found = measure_tested_lines([*options, "tests/test_it.py"], root=tmp_path, kept=kept)
    assert found["tests"] == 0
    assert outer.is_dir()
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
