"""What bench commands share: tables, progress, figures, the JSON file."""

import json

import pytest

from slads_bluesky.errors import ConfigError
from slads_bluesky.evaluation.commands.output import bench_output
from slads_bluesky.evaluation.figures import at_most, measured


def test_bench_output_at_the_end_prints_and_writes_the_figures(tmp_path, capsys):
    file = tmp_path / "figures.json"
    with bench_output(file, "Speed") as output:
        output.results["seed"] = 3
        output.table("Times", ("step", "ms"), [["read [old]", 0.123456], ["write", None]])
        output.figures = [at_most("journal", 0.5, 0.3, "ms"), measured("writer", 4)]
    printed = capsys.readouterr().out
    assert "read [old]" in printed  # recorded text is no markup
    assert "0.1235" in printed
    assert [line.split() for line in printed.splitlines() if "journal" in line] == [
        ["│", "journal", "│", "0.5", "ms", "│", "≤", "0.3", "ms", "│", "NO", "│"]
    ]
    written = json.loads(file.read_text())
    assert written["seed"] == 3
    assert written["figures"] == [
        {"name": "journal, ms", "value": 0.5, "goal": "≤ 0.3 ms", "holds": False},
        {"name": "writer", "value": 4, "goal": "", "holds": None},
    ]


def test_bench_output_of_a_failed_command_writes_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), bench_output(tmp_path / "figures.json"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_bench_output_to_an_unwritable_file_raises_before_any_work(tmp_path):
    with pytest.raises(ConfigError, match="cannot write"), bench_output(tmp_path / "none" / "figures.json"):
        pytest.fail("the command was run")


def test_progress_into_a_log_prints_each_stage_once(capsys):
    with bench_output(None) as output:
        for stage, done in (("one", 0.0), ("one", 0.2), ("two", 0.5), ("two", 0.9)):
            output.progress(stage, done)
    assert capsys.readouterr().err.splitlines() == ["one", "two"]
