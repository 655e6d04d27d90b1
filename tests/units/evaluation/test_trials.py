"""Trials of a long benchmark: kept ones are not made again, an interrupted one goes on, the time left is told."""

import json
from contextlib import suppress

import pytest

from slads_bluesky.cli import main
from slads_bluesky.evaluation.benchmarks.trials import Trial, make_trials
from slads_bluesky.evaluation.paper.store import TrialStore


def _trials(made, stop_at=None):
    def measure(i, report):
        if i == stop_at:
            raise KeyboardInterrupt
        report(0.5)
        made.append(i)
        return {"value": i}

    return [
        Trial(f"trial-{i}", f"number {i}", 1.0 + i, lambda report, i=i: measure(i, report)) for i in range(4)
    ]


def test_an_interrupted_benchmark_goes_on(tmp_path):
    store, made = TrialStore(tmp_path, "code"), []
    with pytest.raises(KeyboardInterrupt):
        make_trials(_trials(made, stop_at=2), store)
    assert made == [0, 1]
    found = make_trials(_trials(made), TrialStore(tmp_path, "code"))
    assert made == [0, 1, 2, 3]
    assert [found[f"trial-{i}"]["value"] for i in range(4)] == [0, 1, 2, 3]
    make_trials(_trials(made), TrialStore(tmp_path, "other code"))
    assert made == [0, 1, 2, 3] * 2


def test_what_is_done_is_told():
    said = []
    make_trials(_trials([]), told=lambda title, left: said.append((title, left)))
    assert [title for title, _ in said] == [f"number {i}" for i in range(4) for _ in range(2)]


def test_the_time_left_is_of_all_trials(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("slads_bluesky.evaluation.benchmarks.trials.time.monotonic", lambda: now[0])

    def measure(report):
        now[0] += 10
        return {}

    said = []
    make_trials(
        [Trial(str(i), str(i), 1.0, measure) for i in range(3)], told=lambda _, left: said.append(left)
    )
    assert said == [None, 20, 10]


def test_the_command_keeps_its_trials(tmp_path, capsys):
    arguments = ["bench", "sampling", "--objects", "pbsn-128", "--samplers", "low-discrepancy"]
    files = ["--keep", str(tmp_path / "kept"), "--json", str(tmp_path / "figures.json")]
    said = []
    for _ in range(2):
        with suppress(SystemExit):
            main([*arguments, *files])
        said.append(capsys.readouterr())
    assert said[0].err.count("object 2 of 3") == 1
    assert said[1].err == ""
    assert said[0].out == said[1].out
    (row,) = json.loads((tmp_path / "figures.json").read_text())["objects"]
    assert row["object"] == "pbsn-128"
    assert len(row["values"]) == 3


def test_an_unknown_part_is_named(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["bench", "sampling", "--objects", "pbsn-128,pbsn-77"])
    assert stop.value.code == 2
    assert "unknown part 'pbsn-77'" in capsys.readouterr().err
