"""``bench coverage``: what it gives to pytest, and how it ends."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from slads_bluesky.cli import app
from slads_bluesky.evaluation.benchmarks import tested_lines

FOUND = {"lines": 100, "reached": 95, "modules": {"plans/run.py": (100, 95)}}


@pytest.mark.parametrize(
    ("given", "status", "arguments"),
    [
        ([], 0, ["-q", "-n", "2", "--dist", "loadfile"]),
        (["-n", "0", "tests/laws"], 0, ["tests/laws", "-q", "-n", "0"]),
        (["--", "-n", "3", "--dist", "loadfile"], 1, ["-n", "3", "--dist", "loadfile"]),
    ],
)
def test_bench_coverage_gives_pytest_its_arguments_and_ends_with_its_status(
    monkeypatch, given, status, arguments
):
    asked = []
    monkeypatch.setattr(
        tested_lines, "measure_tested_lines", lambda of, kept: asked.append(of) or {**FOUND, "tests": status}
    )
    done = CliRunner().invoke(app, ["bench", "coverage", *given])
    assert (done.exit_code, asked) == (status, [arguments])
    assert "95" in done.output
